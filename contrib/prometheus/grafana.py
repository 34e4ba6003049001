"""The dashboard, from the fleet down to the rule.

What asks all hosts reads recordings, or a few series a host, now; the series of rules are asked of one
chosen host alone, so that the page opens on a fleet of any size.
"""

from __future__ import annotations

import rules
from rules import guarded_rule_rate, indented, with_target
from settings import Settings

WIDTH = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RANGE = "$__rate_interval"


class Dashboard:
    def __init__(self, s: Settings) -> None:
        self.s = s
        self.panels: list[dict] = []
        self._x = self._y = self._height = 0
        # Group labels have a variable each; a label that is absent matches ".*".
        self.group_matchers = [f'{label}=~"${label}"' for label in s.group_labels]
        own = ["netns", "family", "backend"]
        self.host_matchers = [
            *self.group_matchers, 'instance="$host"', *(f'{label}=~"${label}"' for label in own),
        ]  # fmt: skip

    def fleet(self, name: str, *matchers: str) -> str:
        return self._chosen(name, [*self.group_matchers, *matchers])

    def host(self, name: str, *matchers: str) -> str:
        return self._chosen(name, [*self.host_matchers, *matchers])

    def _chosen(self, name: str, matchers: list[str]) -> str:
        if ":" in name or name == "ALERTS":  # what is recorded is chosen already
            return f"{name}{{{','.join(matchers)}}}"
        return self.s.series(name, *matchers)

    # --- where panels are put, and what they look like

    def row(self, title: str) -> None:
        self._next_line()
        self._place({"type": "row", "title": title, "collapsed": False, "panels": []}, WIDTH, 1)

    def stat(self, title: str, description: str, promql: str, *, bad: float | None = 1) -> None:
        steps: list[dict] = [{"color": "green", "value": None}]
        if bad is not None:
            steps.append({"color": "red", "value": bad})
        self._panel(
            "stat", title, description, [self._now(promql)], 4, 4,
            defaults={"thresholds": {"mode": "absolute", "steps": steps}, "noValue": "0"},
            options={
                "colorMode": "value", "graphMode": "none", "textMode": "value",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        )  # fmt: skip

    def graph(
        self, title: str, description: str, promql: str, legend: str, unit: str = "pps",
        width: int = 12,
    ) -> None:  # fmt: skip
        target = {**self._query(promql), "range": True, "legendFormat": legend}
        self._panel(
            "timeseries", title, description, [target], width, 8,
            defaults={"unit": unit, "custom": {"fillOpacity": 0, "showPoints": "never"}},
            options={
                "legend": {
                    "displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": [],
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        )  # fmt: skip

    def table(
        self, title: str, description: str, promql: str, *, value: str | None = None,
        unit: str = "", width: int = 12, hide: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """A row each sample. `value` names its column, which is left out without a name."""
        hidden = ["Time", "__name__", *hide, *([] if value else ["Value"])]
        override = {
            "matcher": {"id": "byName", "options": "instance"},
            "properties": [
                {
                    "id": "links",
                    "value": [
                        {
                            "title": "This host",
                            "url": "/d/iptables-exporter?${__url_time_range}"
                            "&var-datasource=${datasource}&var-host=${__value.raw}",
                        }
                    ],
                }
            ],
        }
        self._panel(
            "table", title, description, [{**self._now(promql), "format": "table"}], width, 8,
            defaults={"unit": unit} if unit else {},
            overrides=[override],
            options={"showHeader": True, "sortBy": [{"displayName": value, "desc": True}]}
            if value else {"showHeader": True},
            transformations=[
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": dict.fromkeys(hidden, True),
                        "renameByName": {"Value": value} if value else {},
                    },
                }
            ],
        )  # fmt: skip

    def _now(self, promql: str) -> dict:
        return {**self._query(promql), "instant": True}

    def _query(self, promql: str) -> dict:
        return {"datasource": DATASOURCE, "refId": "A", "expr": promql}

    def _panel(
        self, kind: str, title: str, description: str, targets: list[dict], width: int, height: int,
        *, defaults: dict, options: dict, overrides: list[dict] | None = None,
        transformations: list[dict] | None = None,
    ) -> None:  # fmt: skip
        panel = {
            "type": kind,
            "title": title,
            "description": description,
            "datasource": DATASOURCE,
            "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
            "options": options,
        }
        if transformations:
            panel["transformations"] = transformations
        self._place(panel, width, height)

    def _place(self, panel: dict, width: int, height: int) -> None:
        if self._x + width > WIDTH:
            self._next_line()
        place = {"x": self._x, "y": self._y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, **panel, "gridPos": place})
        self._x += width
        self._height = max(self._height, height)

    def _next_line(self) -> None:
        self._x, self._y, self._height = 0, self._y + self._height, 0


def dashboard(s: Settings) -> dict:
    d = Dashboard(s)
    _incident(d)
    _changes(d)
    _traffic(d)
    _inventory(d)
    _one_host(d)
    return {
        "uid": "iptables-exporter",
        "title": "iptables",
        "description": "Firewalls of a fleet, from iptables_exporter by way of node_exporter's"
        " textfile collector. Written by contrib/prometheus/generate.",
        "tags": ["iptables", "firewall"],
        "id": None,
        "version": 1,
        "schemaVersion": 38,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "5m",
        "time": {"from": "now-6h", "to": "now"},
        "links": [],
        "annotations": {"list": [_changed_annotation(d)]},
        "templating": {"list": _variables(d)},
        "panels": d.panels,
    }


def _incident(d: Dashboard) -> None:
    s = d.s
    build_info, success = d.fleet("iptables_exporter_build_info"), d.fleet("iptables_scrape_success")
    last = d.fleet("iptables_last_success_timestamp_seconds")
    d.row("Is something wrong?")
    d.stat("Hosts", "With a namespace of its own, each counts.",
           f"count(group by ({s.host}) ({build_info}))", bad=None)  # fmt: skip
    d.stat("Failing", "Hosts on which the last run failed, for one family and backend at least.",
           f"count(group by ({s.host}) ({success} == 0))")  # fmt: skip
    d.stat("Stale", f"Hosts whose counters have not changed for {s.spoken('stale')}.",
           f"count(group by ({s.host}) (\n  max by ({s.source}) ({last})\n"
           f"  == max by ({s.source}) ({last} offset {s.period('stale')})\n"
           f"  unless on ({s.source}) {success} == 0\n))")  # fmt: skip
    d.stat("Without a firewall", "Hosts without a rule in their filter table, for one family at least.",
           f"count(group by ({s.host}) (\n  {d.fleet(rules.HOST_FAMILIES)}\n"
           f"  unless on ({s.family}) {d.fleet('iptables_rules', _filter(s))} > 0\n))")  # fmt: skip
    d.stat("Differ", "Hosts unlike nearly all others of their group.",
           f"count(group by ({s.host}) (\n{indented(_differs(d))}\n))")  # fmt: skip
    d.stat("Not all shown", "Hosts with tables that iptables cannot show, rules that it could not read"
           " whole, or series left out by --max-series.",
           f"count(group by ({s.host}) (\n"
           f"  {d.fleet('iptables_unshown_tables', 'reason=' + _quoted('incompatible'))} > 0\n"
           f"  or {d.fleet('iptables_unreadable_rules')} > 0\n"
           f"  or {d.fleet('iptables_series_omitted')} > 0\n))")  # fmt: skip
    d.table("What fires", "By alert; contrib/prometheus/runbooks.md says what to do.",
            f"count by (alertname, severity) ({_firing(d)})", value="alerts", width=8)  # fmt: skip
    d.table("Where", "A hundred at most.",
            f"topk(100, group by (alertname, severity, {s.family}, table, chain) ({_firing(d)}))",
            width=16)  # fmt: skip


def _changes(d: Dashboard) -> None:
    s = d.s
    table = f"{s.source}, table"
    hash_ = d.fleet(rules.HASH)
    counters, policies = d.host("iptables_rule_packets_total"), d.host("iptables_default_packets_total")
    rule = f"{table}, chain, rule, target, comment"
    policy = f"{table}, chain, policy"

    success = d.host("iptables_scrape_success")

    def difference(labels: str, series: str) -> str:
        """Of now and then: 1 is new, 0 has gone. Of sources that were known both times."""
        then = f"{series} offset $since"
        return (
            f"group by ({labels}) ({series})\n"
            f"unless on ({labels}) {then}\n"
            f"and on ({s.source}) {success} offset $since == 1\n"
            f"or\n"
            f"0 * group by ({labels}) ({then})\n"
            f"unless on ({labels}) {series}\n"
            f"and on ({s.source}) {success} == 1"
        )

    d.row("What was changed since $since")
    d.table("Tables changed", "A hundred at most, of all hosts: changed, come or gone.",
            f"topk(100, group by ({table}) (\n"
            f"  {hash_} != on ({table}) {hash_} offset $since\n"
            f"  or {hash_} unless on ({table}) {hash_} offset $since\n"
            f"  or {hash_} offset $since unless on ({table}) {hash_}\n))", width=8)  # fmt: skip
    d.table("Rules changed on $host", "1 is new, 0 has gone. A rule that was altered is both.",
            difference(rule, counters), value="is there", width=16,
            hide=("cluster", "job", "instance"))  # fmt: skip
    d.table("Policies changed on $host", "1 is new, 0 has gone.",
            difference(policy, policies), value="is there", width=8,
            hide=("cluster", "job", "instance"))  # fmt: skip
    d.table("Hosts that differ", "From nearly all others of their group, by table. A hundred at most.",
            f"topk(100, group by ({table}) (\n{indented(_differs(d))}\n))", width=8)  # fmt: skip
    d.table("Hosts without a firewall", "No rule in the filter table of this family. A hundred at most.",
            f"topk(100, group by ({s.family}) (\n  {d.fleet(rules.HOST_FAMILIES)}\n"
            f"  unless on ({s.family}) {d.fleet('iptables_rules', _filter(s))} > 0\n))",
            width=8)  # fmt: skip


def _traffic(d: Dashboard) -> None:
    s = d.s
    dropped = d.fleet(rules.DROPPED)
    d.row("Traffic of the fleet")
    d.graph("Dropped and rejected", "By rules and policies, by group.",
            f"sum by ({s.group}) ({dropped})", _legend(*s.group_labels, "netns"))  # fmt: skip
    d.table("Hosts that drop most", "Twenty; a name leads to the host's own rules, below.",
            f"topk(20, {dropped} > 0)", value="dropped", unit="pps")  # fmt: skip
    d.graph("Packets by target", "The twenty that do most now, over all hosts.",
            f"topk(20, sum by (table, target) ("
            f"{d.fleet('target:iptables_rule_packets:rate5m')}))", "{{table}} {{target}}")  # fmt: skip
    d.graph("Packets by policy", "What no rule decided.",
            f"sum by (table, policy) ({d.fleet('policy:iptables_default_packets:rate5m')})",
            "{{table}} {{policy}}")  # fmt: skip


def _inventory(d: Dashboard) -> None:
    s = d.s
    d.row("What there is")
    info, build = d.fleet("iptables_info"), d.fleet("iptables_exporter_build_info")
    d.table("Versions of iptables", "Hosts by version and kind.",
            f"count by (version, variant) (group by ({s.host}, version, variant) ({info}))",
            value="hosts", width=6)  # fmt: skip
    d.table("Versions of the exporter", "Hosts by version.",
            f"count by (version) (group by ({s.host}, version) ({build}))",
            value="hosts", width=6)  # fmt: skip
    d.table("Tables that nobody counts", "Hosts by family and reason: tables of nft's own, or of a"
            " backend that is not collected.",
            f"count by (family, reason) (max by ({s.family}, reason)"
            f" ({d.fleet('iptables_unshown_tables')}) > 0)", value="hosts", width=6)  # fmt: skip
    d.table("Legacy reads", "Hosts by protection: 0 if a change during the read would not have been"
            " noticed, and counters may be 0 for a moment.",
            f'count_values("protected", min by ({s.host})'
            f' ({d.fleet("iptables_legacy_reads_protected")}))',
            value="hosts", width=6)  # fmt: skip
    d.table("Policies", "Hosts by policy.",
            f"count by (family, table, chain, policy) (group by ({s.family}, table, chain, policy)"
            f" ({d.fleet('iptables_default_packets_total')}))", value="hosts")  # fmt: skip
    d.table("Hosts with most rules", "Twenty.",
            f"topk(20, {d.fleet(rules.RULES)})", value="rules")  # fmt: skip


def _one_host(d: Dashboard) -> None:
    s = d.s
    chosen = ('table=~"$table"', 'chain=~"$chain"')
    host_matchers = (*d.host_matchers, *chosen)
    legend = _legend("netns", "family", "table", "chain", "rule", "target", "comment")

    def rate(what: str) -> str:
        return guarded_rule_rate(s, what, RANGE, *host_matchers)

    d.row("Rules of $host")
    d.graph("Rules with most packets", "Ten. Counters that were set back are left out while it shows.",
            f"topk(10,\n{indented(rate('packets'))}\n)", legend)  # fmt: skip
    d.graph("Rules with most bytes", "Ten.", f"topk(10,\n{indented(rate('bytes'))}\n)", legend,
            unit="Bps")  # fmt: skip
    d.graph("Rules that drop most", "Ten, by target; what a policy drops is below.",
            f"topk(10,\n{indented(_dropping(s, rate('packets')))}\n)", legend)  # fmt: skip
    d.graph("Packets by policy of $host", "What no rule decided.",
            "sum by (netns, family, table, chain, policy) (\n"
            + indented(rules.guarded_rate([(d.host("iptables_default_packets_total", *chosen), False)],
                                          RANGE))
            + "\n)", _legend("netns", "family", "table", "chain", "policy"))  # fmt: skip
    d.graph("Number of rules", "The marks are changes of the ruleset.",
            f"sum by (netns, family, backend, table) ({d.host('iptables_rules', *chosen)})",
            _legend("netns", "family", "backend", "table"), unit="short", width=8)  # fmt: skip
    d.graph("Time that collecting takes", "Near --timeout, runs fail.",
            f"max by (netns, family, backend) ({d.host('iptables_scrape_duration_seconds')})",
            _legend("netns", "family", "backend"), unit="s", width=8)  # fmt: skip
    d.graph("Age of the counters", "By Prometheus's clock.",
            f"max by (netns, family, backend)"
            f" (time() - {d.host('iptables_last_success_timestamp_seconds')})",
            _legend("netns", "family", "backend"), unit="s", width=8)  # fmt: skip
    counters = d.host("iptables_rule_packets_total", *chosen)
    d.table("Dead rules", "No packet for $since: candidates for deletion. Five hundred at most.",
            f"topk(500,\n  increase({counters}[$since:10m]) == 0\n  and {counters} offset $since\n)",
            width=24, hide=("cluster", "job", "instance"))  # fmt: skip


def _filter(s: Settings) -> str:
    return f'table=~"{s.filter_tables}"'


def _firing(d: Dashboard) -> str:
    return d.fleet("ALERTS", 'alertname=~"Iptables.*"', 'alertstate="firing"')


def _differs(d: Dashboard) -> str:
    s = d.s
    return (
        f"max by ({s.source}, table) ({d.fleet('iptables_ruleset_hash')})\n"
        f"!= on ({s.group}, family, backend, table) group_left\n{rules.MAJORITY}"
    )


def _dropping(s: Settings, rate: str) -> str:
    """Those whose target drops, read off as the recordings do. A label that was made cannot be
    selected; it can be matched."""
    drops = f'"drops", "yes", "to", "{s.drop_targets}"'
    return (
        f"label_replace(\n{indented(with_target(rate, 'to'))},\n  {drops}\n)\n"
        f'and on (drops) label_replace(vector(1), "drops", "yes", "", "")'
    )


def _legend(*labels: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _changed_annotation(d: Dashboard) -> dict:
    promql = f"changes({d.host('iptables_ruleset_hash', 'table=~' + _quoted('$table'))}[2m]) > 0"
    looks = {
        "step": "60s",
        "titleFormat": "{{instance}}: the firewall was changed",
        "textFormat": "{{netns}} {{family}} {{backend}} {{table}}",
        "tagKeys": "instance,table",
    }
    return {
        "name": "Ruleset changed",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "orange",
        "expr": promql,  # up to Grafana 11.5
        **looks,
        "target": {**d._query(promql), "range": True, "interval": "60s", **looks},
    }


def _variables(d: Dashboard) -> list[dict]:
    """Each of the queries sees those before it."""
    s = d.s
    source = "iptables_exporter_build_info"
    found: list[dict] = [
        {
            "name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus",
            "refresh": 1, "multi": False, "includeAll": False, "hide": 0,
        }
    ]  # fmt: skip
    earlier: list[str] = []
    for label in s.group_labels:
        found.append(_query_variable(label, label, s.series(source, *earlier)))
        earlier.append(f'{label}=~"${label}"')
    found.append(_query_variable("host", "instance", s.series(source, *earlier), all_=False))
    earlier.append('instance="$host"')
    for label in ("netns", "family", "backend"):
        found.append(_query_variable(label, label, s.series(source, *earlier)))
    for label in ("table", "chain"):
        found.append(_query_variable(label, label, s.series("iptables_rules", *d.host_matchers)))
    periods = ["30m", "1h", "6h", "1d", "7d"]
    found.append(
        {
            "name": "since", "label": "since", "type": "custom", "query": ",".join(periods),
            "multi": False, "includeAll": False, "hide": 0,
            "current": {"text": "1h", "value": "1h", "selected": True},
            "options": [
                {"text": one, "value": one, "selected": one == "1h"} for one in periods
            ],
        }
    )  # fmt: skip
    return found


def _query_variable(name: str, label: str, series: str, *, all_: bool = True) -> dict:
    definition = f"label_values({series}, {label})"
    variable = {
        "name": name, "label": name, "type": "query", "datasource": DATASOURCE,
        "definition": definition, "query": {"query": definition, "refId": name},
        "refresh": 1, "sort": 1, "multi": all_, "includeAll": all_, "hide": 0,
    }  # fmt: skip
    if all_:
        variable |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return variable
