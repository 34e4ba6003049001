"""Is the firewall watched at all? And what changed, is hidden, switched off, dropped or full."""

from __future__ import annotations

from simulation import Chain, Host, Source
from stories import (
    AWAY, AWAY_AT, DAY, HOUR, MINUTES, NEW_RULE, NFT4, NIGHTS, QUARTERS, WORM, a_filter, a_nat,
    changed, packaged, page, plain, saved, story, ticket, told,
)  # fmt: skip

PROM = "/run/iptables.prom"


def down(host: Host) -> None:
    host.up = lambda minute: False


def up(host: Host) -> None:
    host.up = lambda minute: True


# --- collecting ---------------------------------------------------------------------------------

story(
    MINUTES, "every second run fails", plain(), 90,
    (30, lambda h: setattr(h.sources[0], "fails", lambda minute: minute % 2 == 0)),
    (60, lambda h: setattr(h.sources[0], "fails", lambda minute: False)),
    tells=[ticket("CollectionFailing", 30, 62)],
)  # fmt: skip
story(
    MINUTES, "one of four sources fails", packaged(), 60,
    (30, lambda h: setattr(h.sources[2], "fails", lambda minute: True)),
    tells=[ticket("CollectionFailing", 30, family="ipv6", backend="legacy")],
)  # fmt: skip
story(
    MINUTES, "the timer is masked, and the host's clock is wrong", plain(), 90,
    (0, lambda h: setattr(h, "clock", -86400 * 400)),
    (30, lambda h: setattr(h, "timer", False)), (60, lambda h: setattr(h, "timer", True)),
    tells=[ticket("CountersStale", 30, 60, file=PROM)],
)  # fmt: skip
story(
    MINUTES, "the timer is masked, and the host boots: /run is empty", packaged(), 120,
    (30, lambda h: (setattr(h, "timer", False), down(h))),
    (34, lambda h: (up(h), h.gone.add("iptables.prom"))),
    (90, lambda h: (setattr(h, "timer", True), h.gone.clear())),
    tells=[ticket("MetricsGone", 34, 90, file=PROM)],
)  # fmt: skip
story(
    MINUTES, "a file cannot be read", plain(), 90,
    (30, lambda h: (setattr(h, "broken", True), h.gone.add("iptables.prom"))),
    (60, lambda h: (setattr(h, "broken", False), h.gone.clear())),
    tells=[ticket("TextfileError", 30, 60), ticket("MetricsGone", 30, 60, file=PROM)],
)  # fmt: skip
two_files = Host(Source({"filter": a_filter()}, "ipv4"), Source({"filter": a_filter()}, "ipv6"))
two_files.sources[1].file = "iptables6.prom"
story(
    MINUTES, "one of two files goes", two_files, 60,
    (30, lambda h: h.gone.add("iptables6.prom")),
    tells=[ticket("MetricsGone", 30, file="/run/iptables6.prom")],
)  # fmt: skip
story(
    MINUTES, "the page of what is saved goes", saved(plain()), 60,
    (30, lambda h: h.gone.add("iptables_saved.prom")),
    tells=[
        ticket("MetricsGone", 30, file="/run/iptables_saved.prom"), ticket("SavedUnknown", 30),
    ],
)  # fmt: skip
story(
    MINUTES, "reads of legacy tables are not protected any more", packaged(), 90,
    (0, lambda h: h.sources[0].gauges.update(iptables_legacy_reads_protected=1)),
    (30, lambda h: h.sources[0].gauges.update(iptables_legacy_reads_protected=0)),
    (60, lambda h: h.sources[0].gauges.update(iptables_legacy_reads_protected=1)),
    tells=[ticket("ReadsUnprotected", 30, 60, family="ipv4")],
)  # fmt: skip
story(
    MINUTES, "a rule cannot be read whole", packaged(), 90,
    (30, lambda h: h.sources[1].gauges.update(iptables_unreadable_rules=2)),
    (60, lambda h: h.sources[1].gauges.clear()),
    tells=[ticket("RulesUnreadable", 30, 60, family="ipv4")],
)  # fmt: skip
for label in ("backend", "chain", "family", "netns", "policy", "table"):
    renamed = packaged()
    renamed.labels[label] = "mainnet"
    renamed.netns = "red" if label == "netns" else ""
    story(
        MINUTES, f"the target has a label {label}", renamed, 30,
        tells=[ticket("LabelsRenamed", 0)],
    )  # fmt: skip

# --- hidden, and switched off --------------------------------------------------------------------

story(
    MINUTES, "nft writes a meter into filter: nobody sees it any more", packaged(), 120,
    (30, lambda h: h.sources[1].hidden.add("filter")), (90, lambda h: h.sources[1].hidden.clear()),
    tells=[
        ticket("TableIncompatible", 30, 90, family="ipv4"), changed(30, **NFT4), changed(90, **NFT4),
    ],
)  # fmt: skip
story(
    MINUTES, "nft's filter is hidden, and that of legacy has no rules", packaged(), 80,
    (0, lambda h: h.sources[0].tables.update(filter={"INPUT": Chain("ACCEPT")})),
    (30, lambda h: h.sources[1].hidden.add("filter")),
    tells=[ticket("TableIncompatible", 30, family="ipv4"), changed(30, **NFT4)],
)  # fmt: skip
story(
    MINUTES, "a table is switched off", packaged(), 90,
    (30, lambda h: h.sources[1].gauges.update(iptables_dormant_tables=1)),
    (60, lambda h: h.sources[1].gauges.clear()),
    tells=[page("TableDormant", 30, 60, family="ipv4")],
)  # fmt: skip
story(
    MINUTES, "a table appears that nobody counts", packaged(), 190,
    (120, lambda h: [source.unshown.update(nft=1) for source in h.sources[:2]]),
    tells=[told("info", "TablesAppeared", 120, 175, 2, 10, family="ipv4", reason="nft")],
)  # fmt: skip

# --- changes ------------------------------------------------------------------------------------

story(
    MINUTES, "tables come and go", plain(), 150,
    (60, lambda h: h.tables.update(nat=a_nat())), (120, lambda h: h.tables.pop("nat")),
    tells=[changed(60, "nat"), changed(120, "nat")],
)  # fmt: skip
story(
    MINUTES, "rules move from legacy to nft", packaged(), 90,
    (0, lambda h: h.sources[0].tables.update(filter=h.sources[1].tables.pop("filter"))),
    (60, lambda h: h.sources[1].tables.update(filter=h.sources[0].tables.pop("filter"))),
    tells=[changed(60, **NFT4), changed(60, family="ipv4", backend="legacy")],
)  # fmt: skip
story(
    MINUTES, "rules change while the host is away", plain(), 110,
    (60, down), (74, lambda h: (up(h), h.input.rules.update({NEW_RULE: 1}))),
    tells=[changed(74)],
)  # fmt: skip
for begin, end in AWAY_AT:
    story(
        AWAY, f"rules change while Prometheus is away: {end - begin} minutes", plain("nat"), 540,
        (begin + 2, lambda h: h.input.rules.update({NEW_RULE: 1})),
        tells=[changed(end)],
    )  # fmt: skip
story(
    AWAY, "a policy is opened before Prometheus is away for five hours", plain(), 540,
    (170, lambda h: setattr(h.input, "policy", "ACCEPT")),
    tells=[
        changed(170), page("PolicyOpened", 170, 199, table="filter", chain="INPUT"),
        page("PolicyOpened", 500, table="filter", chain="INPUT"),
    ],
)  # fmt: skip
story(AWAY, "nothing happens while Prometheus is away", saved(packaged()), 540)

# --- drops --------------------------------------------------------------------------------------

HIGH = "DropRateHigh"


def dropping(rate: float):
    return lambda host: host.input.rules.update({WORM: rate})


story(
    MINUTES, "a hundred times as much is dropped", plain(), 140, (90, dropping(100)), (110, dropping(1)),
    tells=[told("info", HIGH, 90, 110, 8, 6)],
)  # fmt: skip
story(
    MINUTES, "a policy drops a hundred times as much, in a network namespace", plain(netns="red"), 140,
    (90, lambda h: setattr(h.input, "default_rate", 100)), (110, lambda h: setattr(h.input, "default_rate", 1)),
    tells=[told("info", HIGH, 90, 110, 8, 6, netns="red")],
)  # fmt: skip
story(MINUTES, "three times as much is dropped", plain(), 120, (0, dropping(100)), (90, dropping(300)))
story(MINUTES, "many times as much is dropped, but little", plain(), 120, (0, dropping(0.1)), (90, dropping(9)))
story(MINUTES, "nothing is dropped any more", plain(), 90, (60, dropping(0)),
      (60, lambda h: setattr(h.input, "default_rate", 0)))  # fmt: skip
story(
    NIGHTS, "a scan each night", plain(), 50 * HOUR,
    *((22 * HOUR + night * DAY, dropping(60)) for night in (0, 1)),
    *((22 * HOUR + 40 + night * DAY, dropping(1)) for night in (0, 1)),
    tells=[told("info", HIGH, 22 * HOUR, 22 * HOUR + 28, 12, 20)],
)  # fmt: skip
DROPPED = "instance:iptables_dropped_packets:rate5m{$me}"


def zeroed(every: float, *chains: str):
    def each_tick(host: Host, minute: float) -> None:
        if minute >= 60 and minute % every == 0:
            host.sources[0].zero(*chains)

    return lambda host: setattr(host, "each_tick", each_tick)


for every in (0.5, 2):
    story(
        QUARTERS, f"a counter is zeroed every {every} minutes while much is dropped", plain(), 90,
        (0, zeroed(every, "INPUT")), (60, dropping(800)),
        tells=[told("info", HIGH, 60, 88)],
        asks=[(75, f"sum({DROPPED}) > bool 350 < bool 900", {"{}": 1})],
    )  # fmt: skip


def uneven(host: Host) -> None:
    zero = host.each_tick
    host.each_tick = lambda host, minute: (zero(host, minute), dropping(240 + minute * 7 % 4)(host))


story(
    MINUTES, "counters are read and zeroed each minute, as are scrapes", plain(), 130,
    (0, zeroed(1, "INPUT", "FORWARD", "OUTPUT")), (0, uneven),
    asks=[(120, DROPPED, {}), (55, f"sum({DROPPED}) > bool 200", {"{}": 1})],
)  # fmt: skip


def set_back(host: Host, packets: int) -> None:
    for kind, what in (("rule", WORM), ("default", "DROP")):
        host.sources[0].counters[kind, "filter", "INPUT", what] = packets


story(
    QUARTERS, "saved counters are put back, from five million to four", plain(), 90,
    (1, lambda h: set_back(h, 5_000_000)), (70, lambda h: set_back(h, 4_000_000)),
    asks=[
        (89, f"max_over_time({DROPPED}[80m]) > 2", {}),
        (72, DROPPED, {}),
        (89, f"round(sum({DROPPED}), 0.01)", {"{}": 1.5}),
    ],
)  # fmt: skip


def falls(host: Host, packets: int) -> None:
    host.sources[0].counters["rule", "filter", "INPUT", ""] = packets


story(
    QUARTERS, "a rule of a sum goes, which falls to a third", plain(), 90,
    (0, lambda h: h.input.rules.update({"": 1})), (1, lambda h: falls(h, 3_000_000)),
    (60, lambda h: falls(h, 1_000_000)),
    asks=[(85, 'sum(max_over_time(instance_target:iptables_rule_packets:rate5m{target="",$me}[75m])) < bool 150', {"{}": 1})],
)  # fmt: skip

looks = Host(Source({"filter": {
    "f2b": Chain("-"),
    "INPUT": Chain("DROP", {
        "-m comment --comment -j -j DROP": 1,
        "-m comment --comment -j": 2,
        "-m comment --comment -g -m conntrack --ctstate NEW": 4,
        "-p tcp -j DROPLOG": 8,
        '-j LOG --log-prefix "x -j DROP "': 16,
        '-m comment --comment "not \\" -j DROP at all" -g f2b': 32,
        '-i a"b -p udp -j REJECT --reject-with icmp-port-unreachable': 64,
        "-p udp": 128,
        '-m comment --comment "two\nlines" -j DROP': 256,
    }, default_rate=512),
}}))  # fmt: skip
story(
    QUARTERS, "rules look like others", looks, 40,
    asks=[
        (30, "sum by (target) (instance_target:iptables_rule_packets:rate5m{$me})", {
            '{target="DROP"}': 1 + 256, '{target="LOG"}': 16, '{target="REJECT"}': 64,
            "{}": 2 + 4 + 8 + 32 + 128,
        }),
        (30, f"sum({DROPPED})", {"{}": 1 + 256 + 64 + 512}),
    ],
)  # fmt: skip

# --- sets ---------------------------------------------------------------------------------------


def holds(entries: int, maximum: int = 65536, references: int = 1):
    return lambda host: host.sets.update({"f2b-sshd": (entries, maximum, references)})


story(
    MINUTES, "a set of five thousand is flushed", plain(), 200,
    (0, holds(5000)), (120, holds(0)), (170, holds(5000)),
    tells=[ticket("SetEmptied", 120, 170, set="f2b-sshd")],
)  # fmt: skip
story(
    MINUTES, "a set is full, in a network namespace", Host(Source({"filter": a_filter()}), netns="red"), 110,
    (0, holds(60000)), (30, holds(65536)), (80, holds(65535)),
    tells=[ticket("SetFull", 30, 80, netns="red", set="f2b-sshd")],
)  # fmt: skip
story(MINUTES, "a set is full that no rule matches", plain(), 30, (0, holds(65536, references=0)))
story(
    MINUTES, "a set is flushed that no rule matches", plain(), 120,
    (0, holds(5000, references=0)), (90, holds(0, references=0)),
)  # fmt: skip
story(MINUTES, "the last of a few bans ends", plain(), 150, (0, holds(3)), (120, holds(0)))
story(
    MINUTES, "a jail has fifty bans for ten minutes of an hour", plain(), 240,
    *((at, holds(50)) for at in range(20, 240, 60)), *((at, holds(0)) for at in range(0, 240, 30)),
)  # fmt: skip
story(
    MINUTES, "a set is flushed and filled each hour, which takes ten minutes", plain(), 220,
    *((at, holds(0)) for at in range(60, 240, 60)), *((at, holds(5000)) for at in range(10, 250, 60)),
)  # fmt: skip
