"""The recording rules and alerts.

Three things hold for all of them:

- Series are matched on the labels of their identity alone. What else a target has may change.
- An alert reads what the program says. Where it needs the past, that is recorded in its own group, a
  few series a host, so that no alert waits for a dear group, and none takes what was not evaluated for
  something that is not there.
- What was there is remembered as the time at which it was last seen, which keeps itself:
  `x or last_over_time(self[outage]) > time() - memory`.
"""

from __future__ import annotations

from dataclasses import dataclass

from settings import Settings


@dataclass
class Record:
    name: str
    expr: str


@dataclass
class Alert:
    name: str
    expr: str
    summary: str  # constant, so that one notification tells of many hosts
    description: str


@dataclass
class Group:
    name: str
    rules: list[Record | Alert]
    comment: str = ""


BUILD_INFO_SEEN = "source:iptables_exporter_build_info:last_seen"
SUCCESS_SEEN = "source:iptables_scrape_success:last_seen"
FILTER_SEEN = "source:iptables_filter_rules:last_seen"
DROP_POLICY_SEEN = "chain:iptables_drop_policy:last_seen"
HASH = "table:iptables_ruleset_hash:last"
MAJORITY = "group:iptables_ruleset_hash:majority"
HASHES = "group:iptables_ruleset_hash:count"
HOST_FAMILIES = "family:iptables_scrape_success:min"
WITH_FAMILY = "group:iptables_scrape_success:count"
WITH_FILTER = "group:iptables_filter_rules:count"
UNSHOWN = "instance:iptables_unshown_tables:max"
RULES = "instance:iptables_rules:sum"
DROPPED = "instance:iptables_dropped_packets:rate5m"
DROPPED_MOST = "instance:iptables_dropped_packets:p95_1d"
DROPPED_LEAST = "instance:iptables_dropped_packets:p05_1d"

# The target in a rule's text: the word after the first -j or -g outside of quotes that is not an
# option itself (a comment may be "-j"; no chain's name begins with a dash or an exclamation mark).
TARGET = r'(?s)(?:(?:[^" ][^ ]*|"(?:[^"\\]|\\.)*") )*?-[jg] ([^ !-][^ ]*).*'

_HOST = "{{ with $labels.netns }}Namespace {{ . }} of {{ end }}{{ $labels.instance }}"
_FAMILY = "{{ with $labels.family }} {{ . }}{{ end }}"
_BACKEND = "{{ with $labels.backend }} ({{ . }}){{ end }}"


def groups(s: Settings) -> list[Group]:
    return [collecting(s), firewall(s), fleet(s), packets(s), bytes_(s), drops(s), days(s)]


def remembered(s: Settings, name: str, labels: str, what: str) -> Record:
    """When `what` was last there, by these labels."""
    return Record(
        name,
        f"group by ({labels}) ({what}) * time()\n"
        f"or last_over_time({name}[{s.period('outage')}]) > time() - {s.seconds('memory')}",
    )


def guarded_rate(selected: list[tuple[str, bool]], window: str) -> str:
    """The rate of counters, which are sums or not, without what is no traffic.

    A sum falls when one of its rules goes or is zeroed, and `iptables-restore -c` sets any counter
    back: rate() takes all that remains for new traffic. A counter that was zeroed is 0 at first; one
    that never falls below half was set back. A sum may be zeroed in part, so any fall of it counts.
    """
    parts = []
    for one, is_sum in selected:
        fell = f"resets({one}[{window}]) > 0"
        if not is_sum:
            fell += (
                f" and min_over_time({one}[{window}]) > 0.5 * max_over_time({one}[{window}])"
            )
            fell = f"({fell})"
        parts.append(f"rate({one}[{window}])\nunless {fell}")
    return "\nor\n".join(parts)


def guarded_rule_rate(s: Settings, what: str, window: str, *matchers: str) -> str:
    name = f"iptables_rule_{what}_total"
    return guarded_rate(
        [
            (s.series(name, *matchers, 'rule!=""'), False),
            (s.series(name, *matchers, 'rule=""'), True),
        ],
        window,
    )


def with_target(expr: str, label: str = "target") -> str:
    """With the target as a label: the rule's own, or the one that --sum-by brought along."""
    if label != "target":
        expr = f'label_replace(\n{indented(expr)},\n  "{label}", "$1", "target", "(.+)"\n)'
    return f'label_replace(\n{indented(expr)},\n  "{label}", "$1", "rule", `{TARGET}`)'


def indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.split("\n"))


# --- is the firewall watched at all? ------------------------------------------------------------


def collecting(s: Settings) -> Group:
    build_info = s.series("iptables_exporter_build_info")
    success = s.series("iptables_scrape_success")
    last_success = s.series("iptables_last_success_timestamp_seconds")
    mtime = s.series("node_textfile_mtime_seconds", f'file=~"{s.textfile}"')
    incompatible = s.series("iptables_unshown_tables", 'reason="incompatible"')
    stale = s.period("stale")
    there = "iptables_exporter_build_info"

    def seen(*matchers: str) -> str:
        return f"{BUILD_INFO_SEEN}{{{','.join(matchers)}}}"

    no_family, family = 'family=""', 'family!=""'
    no_backend, backend = 'backend=""', 'backend!=""'
    return Group(
        "collecting",
        [
            remembered(s, BUILD_INFO_SEEN, s.source, build_info),
            Alert(
                "IptablesCollectionFailing",
                f"max by ({s.source}) (1 - avg_over_time({success}[{s.period('failing')}]))"
                f" > {s.limits['failed_runs']}",
                "iptables counters cannot be collected",
                f"{_HOST}:{_FAMILY} iptables-save{_BACKEND} failed in {{{{ $value | humanizePercentage"
                f" }}}} of the runs of {s.spoken('failing')}. Its counters are missing, and nobody"
                " watches this firewall.",
            ),
            # By the host's own clock, whatever that says: the time has not moved.
            Alert(
                "IptablesCountersStale",
                f"min by ({s.host}) (\n"
                f"  max by ({s.source}) ({last_success})\n"
                f"  == max by ({s.source}) ({last_success} offset {stale})\n"
                f"  unless on ({s.source}) {success} == 0\n"
                f"  or\n"
                f"  max by ({s.target}, file) ({mtime})\n"
                f"  == max by ({s.target}, file) ({mtime} offset {stale})\n"
                f"  unless on ({s.target}) {last_success}\n"
                f")",
                "iptables counters are stale",
                f"{_HOST} serves iptables counters of {{{{ $value | humanizeTimestamp }}}} (by its own"
                " clock): iptables_exporter does not run any more, or cannot write.",
            ),
            # Other options make other labels: where the host has sources whose labels have other
            # names, the old ones are not missed.
            Alert(
                "IptablesMetricsGone",
                f"min by ({s.host}) (\n"
                f"  {seen(no_family, no_backend)}\n"
                f"  unless on ({s.host}) {build_info}\n"
                f"  or\n"
                f"  {seen(family, no_backend)}\n"
                f"  unless on ({s.family}) {build_info}\n"
                f"  unless on ({s.host}) {s.series(there, no_family)}\n"
                f"  or\n"
                f"  {seen(no_family, backend)}\n"
                f"  unless on ({s.host}, backend) {build_info}\n"
                f"  unless on ({s.host}) {s.series(there, no_backend)}\n"
                f"  or\n"
                f"  {seen(family, backend)}\n"
                f"  unless on ({s.source}) {build_info}\n"
                f"  unless on ({s.host}) {s.series(there, no_family)}\n"
                f"  unless on ({s.host}) {s.series(there, no_backend)}\n"
                f")\n"
                f"and on ({s.target}) {s.series('up')} == 1",
                "iptables metrics are gone",
                f"{_HOST} had iptables metrics until {{{{ $value | humanizeTimestamp }}}}; node_exporter is"
                " up and serves none, or not those of all families and backends.",
            ),
            Alert(
                "IptablesTextfileError",
                f"max by ({s.target}) ({s.series('node_textfile_scrape_error')}) == 1\n"
                f"and on ({s.target}) {BUILD_INFO_SEEN}",
                "node_exporter cannot read a textfile",
                f"node_exporter on {_HOST} drops at least one file of its textfile directory. If that is"
                " the file of iptables_exporter, IptablesMetricsGone fires too.",
            ),
            Alert(
                "IptablesSeriesOmitted",
                f"max by ({s.host}) ({s.series('iptables_series_omitted')}) > 0",
                "rules are left out of the metrics",
                f"{_HOST} has {{{{ $value }}}} rule series more than --max-series allows.",
            ),
            Alert(
                "IptablesTableIncompatible",
                f"max by ({s.family}) ({incompatible}) > 0",
                "iptables cannot show a table",
                f"{_HOST}: {{{{ $value }}}}{_FAMILY} table(s) of iptables hold what iptables-save cannot"
                " print. Their rules filter, and are not counted.",
            ),
            Alert(
                "IptablesRulesUnreadable",
                f"max by ({s.family}) ({s.series('iptables_unreadable_rules')}) > 0",
                "iptables cannot read a rule whole",
                f"{_HOST}: iptables-save printed {{{{ $value }}}}{_FAMILY} rule(s) and said that it could"
                " not read them whole. They do more, or other things, than their label says.",
            ),
        ],
        "A few series a host.",
    )


# --- is it the firewall that was there? ---------------------------------------------------------


def firewall(s: Settings) -> Group:
    success = s.series("iptables_scrape_success")
    filter_rules = s.series("iptables_rules", f'table=~"{s.filter_tables}"')
    drop_policies = s.series("iptables_default_packets_total", 'policy="DROP"')
    hash_ = s.series("iptables_ruleset_hash")
    table, chain = f"{s.source}, table", f"{s.source}, table, chain"
    changed = s.period("changed")
    # What failing runs do not show is as it was; what nobody scrapes is not known.
    recently = f"and on ({s.source}) present_over_time({success}[{s.period('recent')}])"
    # Before what is told now, and longer than a reboot takes: what was away that long is new.
    before = f"[{s.period('reboot')}] offset {changed}"
    long_before = f"[{s.period('reboot')}] offset {s.period('changed', 2)}"
    return Group(
        "firewall",
        [
            remembered(s, SUCCESS_SEEN, s.source, f"{success} == 1"),
            remembered(s, FILTER_SEEN, s.source, f"{filter_rules} > 0"),
            remembered(s, DROP_POLICY_SEEN, chain, drop_policies),
            # While a host is away or its runs fail, a table is what it was.
            Record(
                HASH,
                f"max by ({table}) ({hash_})\n"
                f"or last_over_time({HASH}[{s.period('outage')}])\n"
                f"  unless on ({s.source}) {success} == 1\n"
                f"  and on ({s.source}) {SUCCESS_SEEN}",
            ),
            # A source that has succeeded since it last showed a rule. Moving from one backend to the
            # other empties the first on purpose.
            Alert(
                "IptablesFirewallEmptied",
                f"max by ({s.family}) (\n"
                f"  {FILTER_SEEN} < on ({s.source}) {SUCCESS_SEEN}\n"
                f"  {recently}\n"
                f")\n"
                f"unless on ({s.family}) {FILTER_SEEN} == time()",
                "the firewall has no rules any more",
                f"{_HOST} had{_FAMILY} rules in its filter table until {{{{ $value | humanizeTimestamp }}}},"
                " and collecting works and shows none now.",
            ),
            Alert(
                "IptablesPolicyOpened",
                f"max by ({s.family}, table, chain) (\n"
                f"  {DROP_POLICY_SEEN} < on ({s.source}) group_left {SUCCESS_SEEN}\n"
                f"  {recently}\n"
                f")\n"
                f"unless on ({s.family}, table, chain) {DROP_POLICY_SEEN} == time()",
                "a policy does not drop any more",
                f"{_HOST}: the policy of{_FAMILY} {{{{ $labels.table }}}}/{{{{ $labels.chain }}}} was DROP"
                " until {{ $value | humanizeTimestamp }}. Now it is ACCEPT, or went with its table.",
            ),
            Alert(
                "IptablesRulesetChanged",
                f"changes({HASH}[{changed}]) > 0\n"
                f"or\n"
                f"  {HASH}\n"
                f"  unless on ({table}) last_over_time({HASH}{before})\n"
                f"  and on ({s.source}) last_over_time({SUCCESS_SEEN}{long_before})\n"
                f"or\n"
                f"  {HASH} offset {changed}\n"
                f"  unless on ({table}) {HASH}\n"
                f"  and on ({s.source}) {SUCCESS_SEEN} == time()",
                "the firewall was changed",
                f"{_HOST}: the{_FAMILY} table {{{{ $labels.table }}}}{_BACKEND} is not what it was"
                f" {s.spoken('changed')} ago: rules, chains or policies were changed, or the table came"
                " or went.",
            ),
        ],
        "A few series a host; policies and hashes by chain and table.",
    )


def max_unshown(s: Settings) -> str:
    """The host's own, so every source of a family has the same."""
    series = s.series("iptables_unshown_tables", 'reason!="incompatible"')
    return f"max by ({s.family}, reason) ({series})"


# --- is it the firewall that others have? -------------------------------------------------------


def fleet(s: Settings) -> Group:
    success = s.series("iptables_scrape_success")
    rules = s.series("iptables_rules")
    filter_rules = s.series("iptables_rules", f'table=~"{s.filter_tables}"')
    last_success = s.series("iptables_last_success_timestamp_seconds")
    alike = f"{s.group}, family, backend, table"
    hash_ = f"max by ({s.source}, table) ({s.series('iptables_ruleset_hash')})"
    grouped = f"{s.group}, family"
    unshown = max_unshown(s)

    def nearly(whole: str) -> str:
        """All of a group but the few that may differ."""
        return f"{whole} - clamp_min(floor({s.limits['dissent']} * {whole}), 1)"

    return Group(
        "fleet",
        [
            Record(HASHES, f"count by ({alike}) (\n{indented(hash_)}\n)"),
            # The hash that nearly all hosts of a group have: it is the median then.
            Record(
                MAJORITY,
                f"quantile by ({alike}) (\n  0.5,\n{indented(hash_)}\n)\n"
                f"and\n"
                f'  max by ({alike}) (\n    count_values by ({alike}) (\n      "hash",\n'
                f"{indented(hash_, 6)}\n    )\n  )\n"
                f"  >= {nearly(HASHES)}\n"
                f"and {HASHES} >= {s.limits['group']}",
            ),
            Alert(
                "IptablesRulesetDiffers",
                f"{hash_}\n!= on ({alike}) group_left\n{MAJORITY}",
                "the firewall differs from that of nearly all others",
                f"Nearly all hosts of {{{{ $labels.job }}}} have the same{_FAMILY} table {{{{ $labels.table"
                f" }}}}{_BACKEND}; {_HOST} has another.",
            ),
            # Where collecting works. The Go exporter has a success and no iptables_rules; what it
            # never had is not missed.
            Record(
                HOST_FAMILIES,
                f"min by ({s.family}) ({success}) == 1\n"
                f"and on ({s.host}) ({last_success} or {rules})",
            ),
            Record(WITH_FAMILY, f"count by ({grouped}) ({HOST_FAMILIES})"),
            Record(
                WITH_FILTER,
                f"count by ({grouped}) (\n  group by ({s.family}) ({filter_rules} > 0)\n)",
            ),
            Alert(
                "IptablesFirewallMissing",
                f"{HOST_FAMILIES}\n"
                f"unless on ({s.family}) {filter_rules} > 0\n"
                f"and on ({grouped})\n"
                f"  {WITH_FILTER} >= {nearly(WITH_FAMILY)}\n"
                f"and on ({grouped})\n"
                f"  {WITH_FAMILY} >= {s.limits['group']}",
                "there is no firewall where nearly all others have one",
                f"Nearly all hosts of {{{{ $labels.job }}}} have{_FAMILY} rules in their filter table;"
                f" {_HOST} has none.",
            ),
            # More than at some time today, and more than ever yesterday: what comes and goes with
            # a daemon is told once.
            Alert(
                "IptablesTablesAppeared",
                f"{unshown} > min_over_time({UNSHOWN}[{s.period('day')}])\n"
                f"unless\n"
                f"  {unshown} <= max_over_time({UNSHOWN}[{s.period('day')}] offset {s.period('day')})",
                "tables have appeared that nobody counts",
                f"{_HOST} has {{{{ $value }}}}{_FAMILY} table(s) that filter and are not in the metrics"
                " ({{ $labels.reason }}), more than a day ago.",
            ),
        ],
        "What hosts have in common: once over all hosts, by table.",
    )


# --- rates --------------------------------------------------------------------------------------


def _rates(s: Settings, what: str) -> list[Record | Alert]:
    window = s.period("rate")
    rate = guarded_rule_rate(s, what, window)
    targets = f"{s.source}, table, target"
    by_target = f"instance_target:iptables_rule_{what}:rate5m"
    by_policy = f"instance_policy:iptables_default_{what}:rate5m"
    policies = s.series(f"iptables_default_{what}_total")
    chains = s.series("iptables_rules")
    return [
        # A jump to a chain is left out: the chain's own rules count, and chains are many.
        Record(
            by_target,
            f"sum by ({targets}) (\n{indented(with_target(rate))}\n)\n"
            f"unless on ({targets})\n"
            f'  label_replace({chains}, "target", "$1", "chain", "(.+)")',
        ),
        Record(
            f"target:iptables_rule_{what}:rate5m",
            f"sum by ({s.group}, family, backend, table, target) ({by_target})",
        ),
        Record(
            by_policy,
            f"sum by ({s.source}, table, policy) (\n"
            f"{indented(guarded_rate([(policies, False)], window))}\n)",
        ),
        Record(
            f"policy:iptables_default_{what}:rate5m",
            f"sum by ({s.group}, family, backend, table, policy) ({by_policy})",
        ),
    ]


def packets(s: Settings) -> Group:
    return Group("packets", _rates(s, "packets"), "The dear ones: two looks at every rule series.")


def bytes_(s: Settings) -> Group:
    return Group("bytes", _rates(s, "bytes"), "As dear; no alert reads them.")


def drops(s: Settings) -> Group:
    success = s.series("iptables_scrape_success")
    return Group(
        "drops",
        [
            Record(
                DROPPED,
                f"sum by ({s.host}) (\n"
                f'  instance_target:iptables_rule_packets:rate5m{{target=~"{s.drop_targets}"}}\n'
                f"  or\n"
                f'  instance_policy:iptables_default_packets:rate5m{{policy="DROP"}}\n'
                f")\n"
                f"or\n"
                f"  0 * group by ({s.host}) (instance_target:iptables_rule_packets:rate5m)",
            ),
            Record(RULES, f"sum by ({s.host}) ({s.series('iptables_rules')})"),
            Alert(
                "IptablesDropRateHigh",
                f"{DROPPED} > {s.limits['dropped']}\n"
                f"and\n"
                f"{DROPPED} > {s.limits['burst']} * last_over_time({DROPPED_MOST}[{s.period('day_step', 2)}])",
                "far more packets are dropped than before",
                f"{_HOST} drops or rejects {{{{ $value | humanize }}}} packets a second, more than"
                f" {s.limits['burst']} times as many as in 95% of the past day.",
            ),
            Alert(
                "IptablesDropsStopped",
                f"{DROPPED} == 0\n"
                f"and max_over_time({DROPPED_LEAST}[{s.period('day')}]) > {s.limits['steady']}",
                "packets were dropped all day long, and none are now",
                f"{_HOST} dropped packets all day long and has stopped to: something in front lets them"
                " pass, or they do not come any more.",
            ),
        ],
        "A few series a host.",
    )


def days(s: Settings) -> Group:
    day = f"{DROPPED}[{s.period('day')}:{s.period('day_step')}]"
    return Group(
        "days",
        [
            # Up to a step ago, so that a burst is not what is usual at once.
            Record(
                DROPPED_MOST,
                f"quantile_over_time(0.95, {day} offset {s.period('day_step')})",
            ),
            # Half a day at least, or nothing is known about all day.
            Record(
                DROPPED_LEAST,
                f"quantile_over_time(0.05, {day})\n"
                f"and count_over_time({day}) >= {s.steps_in_half_a_day}",
            ),
            Record(UNSHOWN, max_unshown(s)),
        ],
        "What is usual; seldom, for it looks at days.",
    )
