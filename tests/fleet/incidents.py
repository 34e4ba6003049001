"""What happens to firewalls, and which alerts must come of it: one function an incident.

Durations are real. What a scenario says nothing about must stay silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import dashboard
from simulation import Chain, Host, Simulation, Source, Tables, a_filter, a_nat, clone

INCIDENTS: list[Callable[[Simulation], None]] = []
EVERY_15_SECONDS: set[str] = set()
EVERY_5_MINUTES: set[str] = set()  # what takes a week

HOUR, DAY = 60, 1440

CHANGED, EMPTIED, OPENED = "IptablesRulesetChanged", "IptablesFirewallEmptied", "IptablesPolicyOpened"
DIFFERS, MISSING = "IptablesRulesetDiffers", "IptablesFirewallMissing"
FAILING, STALE, GONE = "IptablesCollectionFailing", "IptablesCountersStale", "IptablesMetricsGone"
HIGH, STOPPED, APPEARED = "IptablesDropRateHigh", "IptablesDropsStopped", "IptablesTablesAppeared"


DROPPED_BY_A = '{__name__="instance:iptables_dropped_packets:rate5m",job="node",instance="a"}'
A = '{job="node",instance="a"}'


def incident(scenario: Callable[[Simulation], None]) -> Callable[[Simulation], None]:
    INCIDENTS.append(scenario)
    return scenario


def fast(scenario: Callable[[Simulation], None]) -> Callable[[Simulation], None]:
    EVERY_15_SECONDS.add(scenario.__name__)
    return incident(scenario)


def slow(scenario: Callable[[Simulation], None]) -> Callable[[Simulation], None]:
    EVERY_5_MINUTES.add(scenario.__name__)
    return incident(scenario)


def packaged(tables: Tables | None = None) -> list[Source]:
    """Both families and backends, as the package collects; the rules are those of nft."""
    rules = tables or {"filter": a_filter()}
    return [
        Source({}, "ipv4", "legacy"),
        Source(rules, "ipv4", "nft"),
        Source({}, "ipv6", "legacy"),
        Source(clone({"filter": rules["filter"]}), "ipv6", "nft"),
    ]


def healthy_fleet(f: Simulation) -> list[Host]:
    """Hosts with all that a fleet may have."""
    web = [f.host(f"web-{n}", *packaged()) for n in range(3)]
    docker = f.host("docker", Source({"filter": a_filter(), "nat": a_nat()}), job="docker")
    docker.sources[0].unshown["nft"] = 2
    router = f.host("router", job="router")
    router.netns = "blue"
    return [*web, docker, router]


@incident
def a_day_without_incident(f: Simulation) -> None:
    healthy_fleet(f)
    f.run(26 * HOUR)
    f.fired(set())


def two_hours_without_incident(f: Simulation) -> None:
    healthy_fleet(f)
    f.run(2 * HOUR)
    f.fired(set())


# --- the firewall is lost -----------------------------------------------------------------------


@incident
def filter_is_flushed_beside_nat(f: Simulation) -> None:
    host = f.host("a", Source({"filter": a_filter(), "nat": a_nat()}))
    f.run(HOUR)
    for chain in host.tables["filter"].values():
        chain.rules.clear()
    f.run(9)
    f.firing({(EMPTIED, "a"), (CHANGED, "a")})
    f.run(3 * HOUR)
    f.firing({(EMPTIED, "a")})
    host.up = False  # for good, as far as anybody knows
    f.run(15)
    f.firing(set())
    host.up = True
    f.run(7)
    f.firing({(EMPTIED, "a")})
    host.tables["filter"] = a_filter()
    f.run(30)
    f.firing(set())


@incident
def table_filter_is_deleted_and_nat_left(f: Simulation) -> None:
    host = f.host("a", *packaged({"filter": a_filter(), "nat": a_nat()}))
    f.run(HOUR)
    del host.sources[1].tables["filter"]
    f.run(9)
    f.firing({(EMPTIED, "a"), (OPENED, "a"), (CHANGED, "a")})


@incident
def a_drop_policy_goes_with_its_table(f: Simulation) -> None:
    """There was no rule at all: the policy was the firewall."""
    host = f.host("a", Source({"filter": {"INPUT": Chain("DROP")}, "nat": a_nat()}))
    f.run(HOUR)
    del host.tables["filter"]
    f.run(9)
    f.firing({(OPENED, "a"), (CHANGED, "a")})


@incident
def ruleset_is_flushed_and_a_source_fails(f: Simulation) -> None:
    host = f.host("a", *packaged())
    other = f.host("b", *packaged())
    f.run(HOUR)
    host.sources[2].fails = other.sources[2].fails = True
    host.sources[1].tables.clear()
    host.sources[3].tables.clear()
    f.run(9)
    f.firing({(EMPTIED, "a"), (OPENED, "a"), (CHANGED, "a")})
    f.run(11)
    f.firing({(EMPTIED, "a"), (OPENED, "a"), (FAILING, "a"), (FAILING, "b")})


@incident
def rules_move_from_legacy_to_nft(f: Simulation) -> None:
    host = f.host("a", *packaged())
    legacy, nft = host.sources[0], host.sources[1]
    legacy.tables, nft.tables = nft.tables, legacy.tables
    f.run(HOUR)
    legacy.tables, nft.tables = nft.tables, legacy.tables
    f.run(3 * HOUR)
    f.fired({(CHANGED, "a")})


@incident
def one_family_was_never_loaded_on_one_of_five(f: Simulation) -> None:
    hosts = [f.host(name, *packaged()) for name in "abcde"]
    hosts[0].sources[3].tables.clear()
    hosts[1].sources[1].tables["filter"] = {"INPUT": Chain("ACCEPT"), "OUTPUT": Chain("ACCEPT")}
    f.run(HOUR)
    f.fired({(MISSING, "a"), (MISSING, "b"), (DIFFERS, "b")})


@incident
def a_policy_is_opened(f: Simulation) -> None:
    host = f.host("a")
    f.run(HOUR)
    host.tables["filter"]["INPUT"].policy = "ACCEPT"
    f.run(9)
    f.firing({(OPENED, "a"), (CHANGED, "a")})
    f.run(35 * HOUR)
    f.firing({(OPENED, "a")})
    host.sources[0].fails = True
    f.run(2 * HOUR)
    f.firing({(OPENED, "a"), (FAILING, "a")})
    host.sources[0].fails = False
    host.tables["filter"]["INPUT"].policy = "DROP"
    f.run(5)
    f.firing({(CHANGED, "a"), (FAILING, "a")})


@incident
def the_file_goes(f: Simulation) -> None:
    host = f.host("a", *packaged())
    broken = f.host("b")
    f.run(HOUR)
    host.served = set()
    broken.served, broken.textfile_error = set(), True
    f.run(9)
    f.firing({(GONE, "a"), (GONE, "b"), ("IptablesTextfileError", "b")})
    f.run(35 * HOUR)
    f.firing({(GONE, "a"), (GONE, "b"), ("IptablesTextfileError", "b")})
    host.served = broken.served = None
    broken.textfile_error = False
    f.run(2)
    f.firing(set())


@slow
def losses_are_told_for_a_week(f: Simulation) -> None:
    flushed, opened, gone = f.host("flushed"), f.host("opened"), f.host("gone")
    f.run(6 * HOUR)
    for chain in flushed.tables["filter"].values():
        chain.rules.clear()
    opened.tables["filter"]["INPUT"].policy = "ACCEPT"
    gone.served = set()
    f.run(6 * DAY)
    f.firing({(EMPTIED, "flushed"), (OPENED, "opened"), (GONE, "gone")})
    f.run(2 * DAY)
    f.firing(set())


@incident
def nothing_is_scraped_for_five_hours(f: Simulation) -> None:
    """A network that is cut; the loss before it is remembered."""
    host = f.host("a")
    f.run(HOUR)
    host.tables["filter"]["INPUT"].policy = "ACCEPT"
    f.run(30)
    f.firing({(OPENED, "a")})
    f.hosts.clear()
    f.run(5 * HOUR)
    f.add(host)
    f.run(10)
    f.firing({(OPENED, "a")})


@incident
def everything_is_let_in_in_front(f: Simulation) -> None:
    """iptables -I INPUT -j ACCEPT: the rules that drop stand behind it and get nothing any more. On
    another host they are deleted."""
    host, other = f.host("a"), f.host("b", job="other")
    other.tables["filter"]["INPUT"].policy = other.tables["filter"]["FORWARD"].policy = "ACCEPT"
    f.run(DAY)
    del other.tables["filter"]["INPUT"].rules["-p udp -m udp --dport 9 -j DROP"]
    chain = host.tables["filter"]["INPUT"]
    chain.rules = {"-j ACCEPT": 200, **dict.fromkeys(chain.rules, 0)}
    chain.default_rate = 0
    f.run(HOUR)
    f.fired({(CHANGED, "a"), (STOPPED, "a"), (CHANGED, "b"), (STOPPED, "b")})
    f.firing({(STOPPED, "a"), (STOPPED, "b")})


# --- counters that fall -------------------------------------------------------------------------


def _drops(f: Simulation) -> Host:
    host = f.host("a")
    host.tables["filter"]["KUBE-FIREWALL"] = Chain("-", {"-s 192.0.2.0/24 -j DROP": 0})
    f.run(HOUR)
    host.tables["filter"]["KUBE-FIREWALL"].rules["-s 192.0.2.0/24 -j DROP"] = 800
    return host


def _zeroed(f: Simulation, ticks: int) -> None:
    host = _drops(f)
    for tick in range(4 * 30):
        if tick % ticks == 0:
            host.sources[0].zero("KUBE-FIREWALL")
        f.tick()
    dropped = 'instance:iptables_dropped_packets:rate5m{instance="a"}'
    f.ask(f"{dropped} > bool 400 and {dropped} < 900", {'{job="node",instance="a"}': 1})
    f.fired({(HIGH, "a")})


@fast
def a_counter_is_zeroed_every_two_minutes(f: Simulation) -> None:
    _zeroed(f, 8)


@fast
def a_counter_is_zeroed_every_30_seconds(f: Simulation) -> None:
    _zeroed(f, 2)


@fast
def saved_counters_are_put_back(f: Simulation) -> None:
    """iptables-restore -c, from 5,000,000 to 4,000,000, of a rule and of a policy."""
    host = f.host("a")
    rule = ("rule", "filter", "INPUT", "-p udp -m udp --dport 9 -j DROP")
    policy = ("default", "filter", "INPUT", "DROP")
    for key in (rule, policy):
        host.sources[0].counters[key] = 5_000_000
    f.run(2 * HOUR)
    for key in (rule, policy):
        host.sources[0].counters[key] = 4_000_000
    f.run(20)
    f.ask("max_over_time(instance:iptables_dropped_packets:rate5m[20m]) > 2", {})
    f.ask("round(instance:iptables_dropped_packets:rate5m, 0.01)", {A: 1.5})
    f.fired(set())


@incident
def a_rule_of_a_sum_goes(f: Simulation) -> None:
    """--sum-by table,chain,target, or identical rules: the sum falls to a third, not to 0."""
    host = f.host("a")
    key = ("rule", "filter", "INPUT", "")
    host.tables["filter"]["INPUT"].rules[""] = 1
    host.sources[0].counters[key] = 3_000_000
    f.run(HOUR)
    host.sources[0].counters[key] = 1_000_000
    f.run(20)
    f.ask(
        'max_over_time(instance_target:iptables_rule_packets:rate5m{target=""}[70m])',
        {'{job="node",instance="a",table="filter"}': 1},
    )
    f.fired(set())


# --- what is not the firewall's fault -----------------------------------------------------------


@incident
def a_target_gets_another_label(f: Simulation) -> None:
    """node_exporter's pod gets a new name on three hosts, two get a label more."""
    hosts = healthy_fleet(f)
    for host in hosts[:3]:
        host.labels["pod"] = "node-exporter-1"
    f.run(HOUR)
    for host in hosts[:3]:
        host.labels["pod"] = "node-exporter-2"
    for host in hosts[3:]:
        host.labels["rack"] = "r7"
    f.run(HOUR)
    f.fired(set())


@incident
def rules_change_while_the_host_is_away(f: Simulation) -> None:
    """For 14 minutes; another host, whose rules stay, boots with tables that come late."""
    changed, same = f.host("changed"), f.host("same", job="other")
    f.run(HOUR)
    changed.up = same.up = False
    f.run(14)
    changed.up = same.up = True
    changed.tables["filter"]["INPUT"].rules["-j LOG"] = 0
    tables = dict(same.tables)
    same.tables.clear()
    f.run(2)
    same.tables.update(tables)
    f.run(3)
    f.firing({(CHANGED, "changed")})
    f.run(6)
    f.firing(set())
    f.run(30)
    f.fired({(CHANGED, "changed"), (CHANGED, "same")})
    f.fired(set(), 29)


@incident
def containers_and_bans_come_and_go_all_day(f: Simulation) -> None:
    """With a hash that leaves out what daemons write: --hash."""
    docker = f.host("docker", Source({"filter": a_filter(), "nat": a_nat()}), job="docker")
    kube = f.host("kube", Source({"filter": a_filter(), "nat": a_nat()}), job="kube")
    docker.hash_covers = "INPUT|OUTPUT"
    kube.hash_covers = "(?!KUBE-)"
    bans = docker.tables["filter"]["f2b-sshd"] = Chain("-", {"-j RETURN": 1})
    service = kube.tables["nat"]["KUBE-SERVICES"] = Chain("-", {"-j KUBE-NODEPORTS": 1})
    for minute in range(DAY // 4):
        docker.tables["nat"]["DOCKER"].rules = {
            f"-p tcp -m tcp --dport {8000 + n} -j DNAT --to-destination 172.17.0.2:80": 1
            for n in range(minute % 5)
        }
        docker.tables["filter"]["FORWARD"].rules = {
            f"-o br-{n} -j DOCKER": 1 for n in range(minute % 3)
        }
        bans.rules = {f"-s 192.0.2.{n}/32 -j REJECT": 0.1 for n in range(minute % 7)}
        docker.sources[0].unshown["nft"] = minute % 4 // 2
        service.rules = {f"-d 10.0.0.{n}/32 -j KUBE-SVC": 1 for n in range(minute % 6)}
        kube.sources[0].zero("KUBE-SERVICES")
        f.tick()
    f.fired({(APPEARED, "docker")})


@incident
def runs_fail_now_and_then(f: Simulation) -> None:
    """Below a third of them, and no two days are alike."""
    host, other = f.host("a"), f.host("b", *packaged())
    f.run(15)
    for minute in range(3 * HOUR):
        host.sources[0].fails = minute % 4 == 0
        other.sources[0].fails = minute % 30 < 5
        f.tick()
    f.fired(set())


@incident
def most_runs_fail(f: Simulation) -> None:
    half, nearly_all, family = f.host("half"), f.host("nearly all"), f.host("family", *packaged())
    f.run(30)
    for minute in range(HOUR):
        half.sources[0].fails = minute % 2 == 0
        nearly_all.sources[0].fails = minute % 16 != 0
        family.sources[2].fails = True
        f.tick()
    expected = {(FAILING, "half"), (FAILING, "nearly all"), (FAILING, "family")}
    f.firing(expected)
    f.fired(expected)
    for host in (half, nearly_all, family):
        for source in host.sources:
            source.fails = False
    f.run(15)
    f.firing(set())


@incident
def one_of_two_files_goes(f: Simulation) -> None:
    two_files = (Source({"filter": a_filter()}, "ipv4"), Source({"filter": a_filter()}, "ipv6"))
    host = f.host("a", *two_files)
    f.run(30)
    host.served = {0}
    f.run(HOUR)
    f.firing({(GONE, "a")})
    f.fired({(GONE, "a")})


@incident
def other_options_make_other_labels(f: Simulation) -> None:
    """A host is given --family, another --family and --backend; one gives them up."""
    plain, family, back = f.host("plain"), f.host("family"), f.host("back", *packaged())
    family.sources = [Source(family.tables, "ipv4"), Source({"filter": a_filter()}, "ipv6")]
    f.run(30)
    plain.sources = packaged(plain.tables)
    family.sources = packaged(family.tables)
    back.sources = [Source(back.sources[1].tables)]
    f.run(HOUR)
    f.fired(set())


@incident
def clocks_are_wrong(f: Simulation) -> None:
    fast, slow, stopped = f.host("fast"), f.host("slow"), f.host("stopped")
    fast.clock, slow.clock, stopped.clock = 600, -600, 600
    never = f.host("never ran")
    never.run(0)
    never.page, never.timer, never.written = {}, False, 0
    f.run(30)
    stopped.timer = False
    f.run(6)
    f.firing({(STALE, "never ran")})
    f.run(4)
    f.firing({(STALE, "never ran"), (STALE, "stopped")})
    stopped.timer = True
    f.run(2)
    f.firing({(STALE, "never ran")})


@incident
def one_job_has_hosts_of_many_kinds(f: Simulation) -> None:
    for n in range(6):
        f.host(f"web-{n}")
    for n in range(4):
        f.host(f"other-{n}").tables["filter"]["INPUT"].rules[f"--dport {n} -j ACCEPT"] = 1
    f.run(2 * HOUR)
    f.fired(set())


@incident
def few_of_many_differ(f: Simulation) -> None:
    """One of three; two of twenty; not three of twenty, and not one of two."""
    for job, size, odd in (("three", 3, 1), ("twenty", 20, 2), ("many", 20, 3), ("two", 2, 1)):
        for n in range(size):
            host = f.host(f"{job}-{n}", job=job)
            if n < odd:
                host.tables["filter"]["INPUT"].rules["-p tcp -j ACCEPT"] = 1
    f.run(HOUR)
    f.fired({(DIFFERS, "three-0"), (DIFFERS, "twenty-0"), (DIFFERS, "twenty-1")})


@incident
def two_clusters_have_hosts_of_the_same_name(f: Simulation) -> None:
    one, two = f.host("a", cluster="one"), f.host("a", cluster="two")
    f.run(HOUR)
    for chain in one.tables["filter"].values():
        chain.rules.clear()
    two.served = set()
    f.run(9)
    f.ask(
        'group by (alertname, cluster) (ALERTS{alertstate="firing"})',
        {
            f'{{alertname="{EMPTIED}",cluster="one"}}': 1,
            f'{{alertname="{CHANGED}",cluster="one"}}': 1,
            f'{{alertname="{GONE}",cluster="two"}}': 1,
        },
    )


@incident
def one_of_two_namespaces_is_flushed(f: Simulation) -> None:
    """Each by a run of its own with --netns: they are hosts of their own, but for node_exporter."""
    for netns in ("red", "blue"):
        f.host("a").netns = netns
    f.run(HOUR)
    for chain in f.hosts[0].tables["filter"].values():
        chain.rules.clear()
    f.run(9)
    f.ask(
        'group by (alertname, netns) (ALERTS{alertstate="firing"})',
        {f'{{alertname="{alert}",netns="red"}}': 1 for alert in (EMPTIED, CHANGED)},
    )


@incident
def some_hosts_have_no_iptables_on_purpose(f: Simulation) -> None:
    none, nft, go = f.host("none", *packaged()), f.host("nft", *packaged()), f.host("go")
    none.sources[1].tables.clear()
    none.sources[3].tables.clear()
    nft.sources[1].tables.clear()
    nft.sources[3].tables.clear()
    nft.sources[1].unshown["nft"] = 3
    go.is_ours = False
    for n in range(3):
        f.host(f"with-{n}", *packaged(), job="others")
    f.run(6 * HOUR)
    f.fired(set())


@incident
def a_table_appears_that_nobody_counts(f: Simulation) -> None:
    host, always = f.host("a"), f.host("docker", job="docker")
    always.sources[0].unshown["nft"] = 2
    f.run(2 * HOUR)
    host.sources[0].unshown["nft"] = 1
    f.run(23 * HOUR)
    f.firing({(APPEARED, "a")})
    f.run(2 * HOUR)
    f.firing(set())
    f.fired({(APPEARED, "a")})


@slow
def a_table_comes_and_goes_for_days(f: Simulation) -> None:
    """With the containers of a host: told once."""
    host = f.host("a")
    for tick in range(3 * 288):
        host.sources[0].unshown["nft"] = tick // 6 % 2
        f.tick()
    f.fired({(APPEARED, "a")})
    f.fired(set(), DAY)


@incident
def filter_is_flushed_beside_an_nft_table(f: Simulation) -> None:
    """Docker's or fail2ban's own table is no firewall."""
    host = f.host("a")
    host.sources[0].unshown["nft"] = 1
    f.run(HOUR)
    for chain in host.tables["filter"].values():
        chain.rules.clear()
    f.run(9)
    f.firing({(EMPTIED, "a"), (CHANGED, "a")})


@incident
def rules_look_like_others(f: Simulation) -> None:
    host = f.host("a")
    host.tables["filter"] = {
        "f2b": Chain("-", {}),
        "INPUT": Chain(
            "DROP",
            {
                "-m comment --comment -j -j DROP": 1,
                "-m comment --comment -j": 2,
                "-m comment --comment -g -m conntrack --ctstate NEW": 4,
                "-p tcp -j DROPLOG": 8,
                '-j LOG --log-prefix "x -j DROP "': 16,
                '-m comment --comment "not \\" -j DROP at all" -g f2b': 32,
                '-i a"b -p udp -j REJECT --reject-with icmp-port-unreachable': 64,
                "-p udp": 128,
                '-m comment --comment "two\nlines" -j DROP': 256,
            },
            default_rate=512,
        ),
    }
    f.run(30)
    labels = '{job="node",instance="a",table="filter"'
    f.ask(
        "instance_target:iptables_rule_packets:rate5m",
        {
            f'{{__name__="instance_target:iptables_rule_packets:rate5m",{labels[1:]}{target}}}': rate
            for target, rate in {
                ',target="DROP"': 1 + 256,
                ',target="DROPLOG"': 8,
                ',target="LOG"': 16,
                ',target="REJECT"': 64,
                "": 2 + 4 + 128,
            }.items()
        },
    )
    f.ask("instance:iptables_dropped_packets:rate5m", {DROPPED_BY_A: 1 + 256 + 64 + 512})
    # The dashboard reads them alike.
    promql = dict(dashboard.queries(dashboard.load()))["Rules that drop most"]
    for variable, value in (("__rate_interval", "5m"), ("host", "a"), (r"[a-z]\w*", ".*")):
        promql = re.sub(rf"\${variable}\b", value, promql)
    f.ask(f"sum({promql})", {"{}": 1 + 256 + 64})


@incident
def nothing_has_happened(f: Simulation) -> None:
    """The same rules again; flushed and restored within a second; a reboot; a timer that stops for
    less than five minutes; Prometheus started anew."""
    again, boot, timer = f.host("again"), f.host("boot", *packaged(), job="b"), f.host("timer")
    f.run(2 * HOUR)
    again.sources[0].counters.clear()
    boot.up = False
    timer.timer = False
    f.run(4)
    boot.up = timer.timer = True
    for source in boot.sources:
        source.counters.clear()
    f.run(30)
    hosts, f.hosts = f.hosts, []
    f.run(3)
    f.hosts = hosts
    f.run(HOUR)
    f.fired(set())


# --- the other alerts ---------------------------------------------------------------------------


@incident
def a_burst_is_dropped(f: Simulation) -> None:
    """A hundred times the drops (a), three times (b), many times but few (c), by a policy (d)."""
    a, b, c, d = (f.host(name, job=name) for name in "abcd")
    rule = "-p udp -m udp --dport 9 -j DROP"
    b.tables["filter"]["INPUT"].rules[rule] = 100
    c.tables["filter"]["INPUT"].rules[rule] = c.tables["filter"]["INPUT"].default_rate = 0.1
    f.run(2 * HOUR)
    a.tables["filter"]["INPUT"].rules[rule] = 100
    b.tables["filter"]["INPUT"].rules[rule] = 300
    c.tables["filter"]["INPUT"].rules[rule] = 8
    d.tables["filter"]["INPUT"].default_rate = 100
    f.run(10)
    f.firing({(HIGH, "a"), (HIGH, "d")})
    a.tables["filter"]["INPUT"].rules[rule] = 1
    d.tables["filter"]["INPUT"].default_rate = 1
    f.run(10)
    f.firing(set())
    f.fired({(HIGH, "a"), (HIGH, "d")})


@incident
def tables_come_and_go(f: Simulation) -> None:
    comes, goes, new = (f.host(name, *packaged(), job=name) for name in ("comes", "goes", "new"))
    f.hosts.remove(new)
    goes.sources[1].tables["raw"] = {"PREROUTING": Chain("ACCEPT")}
    f.run(HOUR)
    f.add(new)
    comes.sources[1].tables["nat"] = a_nat()
    del goes.sources[1].tables["raw"]
    f.run(5)
    f.firing({(CHANGED, "comes"), (CHANGED, "goes")})
    f.run(7)
    f.firing(set())
    f.run(HOUR)
    f.fired({(CHANGED, "comes"), (CHANGED, "goes")})


@incident
def not_all_is_shown(f: Simulation) -> None:
    host = f.host("a", *packaged())
    f.run(30)
    host.sources[1].unshown["incompatible"] = 1
    host.sources[1].more = {"iptables_unreadable_rules": 2, "iptables_series_omitted": 7}
    f.run(14)
    f.firing(set())
    f.run(3)
    expected = {"IptablesTableIncompatible", "IptablesRulesUnreadable", "IptablesSeriesOmitted"}
    f.firing({(alert, "a") for alert in expected})
    host.sources[1].unshown.clear()
    host.sources[1].more.clear()
    f.run(2)
    f.firing(set())

