"""What happens to firewalls, and what must be told of it: host, time, weight. Minutes are real.

What a story does not name stays silent on its host.
"""

from __future__ import annotations

from simulation import Chain, Host, Source
from stories import (
    DAY, DAYS, HOUR, MINUTES, NEW_RULE, NFT4, NFT6, REJECT_REST, WEEKS, a_filter, a_nat, changed,
    docker, large, of_docker, packaged, page, plain, rhel, saved, story, ticket, told,
)  # fmt: skip


def lost(at: float, until: float = float("inf"), chain: str = "INPUT", **labels: str):
    return page("RulesLost", at, until, chain=chain, **labels)


def opened(at: float, until: float = float("inf"), chain: str = "INPUT", **labels: str):
    return page("PolicyOpened", at, until, table="filter", chain=chain, **labels)


def load(host: Host) -> None:
    """The host's rules again."""
    for source in host.sources:
        if source.tables or source.labels["backend"] != "legacy":
            source.tables["filter"] = a_filter()


def nothing(host: Host) -> None:
    """As nft flush ruleset."""
    for source in host.sources:
        source.tables.clear()


def down(host: Host) -> None:
    host.up = lambda minute: False


def boot(host: Host) -> None:
    host.up = lambda minute: True
    for source in host.sources:
        source.counters.clear()


def fail(host: Host) -> None:
    host.sources[0].fails = lambda minute: True


def work(host: Host) -> None:
    host.sources[0].fails = lambda minute: False


A_WEEK = 6 * HOUR + 7 * DAY - 40  # after six hours, by a scrape every twenty minutes

# --- rules are lost -----------------------------------------------------------------------------

story(
    MINUTES, "INPUT is flushed beside Docker, which is restarted", docker(), 190,
    (60, lambda h: h.sources[0].flush("INPUT")),
    (75, lambda h: h.tables["filter"].update(of_docker())),
    (160, lambda h: h.tables["filter"].update(INPUT=a_filter()["INPUT"])),
    tells=[lost(60, 160), changed(60), changed(160)],
)  # fmt: skip
story(
    MINUTES, "all is flushed, and Docker restarted: INPUT stays empty", docker(), 100,
    (60, lambda h: h.sources[0].flush()),
    (64, lambda h: h.tables["filter"].update(of_docker())),
    tells=[lost(60), changed(60, more=4)],
)  # fmt: skip
story(
    MINUTES, "the firewall's service fails at boot, and Docker comes", docker(), 100,
    (60, down),
    (63, lambda h: (boot(h), h.sources[0].flush("INPUT"), setattr(h.input, "policy", "ACCEPT"))),
    tells=[lost(63), opened(63), changed(63)],
)  # fmt: skip
story(
    MINUTES, "a kube node is flushed, and kubelet writes its own again",
    Host(Source({"filter": rhel() | {"KUBE-FIREWALL": Chain("-", {"-j DROP": 0})}})), 90,
    (60, lambda h: h.sources[0].flush()),
    (61, lambda h: h.tables["filter"]["KUBE-FIREWALL"].rules.update({"-j DROP": 0})),
    tells=[lost(60), lost(60, chain="FORWARD"), opened(60), opened(60, chain="FORWARD"), changed(60)],
)  # fmt: skip
for number in range(3):
    story(
        MINUTES, f"a truncated file is restored on all hosts: {number}", large(), 90,
        (60, lambda h: setattr(h.input, "rules", dict(list(h.input.rules.items())[:2]))),
        tells=[lost(60), changed(60)],
    )  # fmt: skip
    story(
        MINUTES, f"all hosts are flushed at once, {number}", packaged(), 150, (60, nothing), (120, load),
        tells=[
            *(lost(60, 120, family=family) for family in ("ipv4", "ipv6")),
            *(opened(60, 120, chain, family=family) for family in ("ipv4", "ipv6") for chain in ("INPUT", "FORWARD")),
            *(changed(at, **nft) for nft in (NFT4, NFT6) for at in (60, 120)),
        ],
    )  # fmt: skip
story(
    MINUTES, "IPv6 alone is flushed, and its legacy source fails", packaged(), 90,
    (60, lambda h: (h.sources[3].flush(), setattr(h.sources[2], "fails", lambda minute: True))),
    tells=[
        lost(60, family="ipv6"), changed(60, **NFT6),
        ticket("CollectionFailing", 60, family="ipv6", backend="legacy"),
    ],
)  # fmt: skip
story(
    MINUTES, "runs fail after the flush", plain(), 180,
    (60, lambda h: h.sources[0].flush()), (75, fail), (150, lambda h: (work(h), load(h))),
    tells=[
        lost(60, 150), changed(60), changed(150), ticket("CollectionFailing", 75, 158),
    ],
)  # fmt: skip
story(
    MINUTES, "INPUT is flushed where every other scrape fails", plain(), 90,
    (10, lambda h: setattr(h, "up", lambda minute: minute % 2 == 0)),
    (60, lambda h: h.sources[0].flush()),
    tells=[lost(60), changed(60)],
)  # fmt: skip
story(
    MINUTES, "a flushed host goes for good", plain(), 120,
    (60, lambda h: h.sources[0].flush()), (90, down),
    tells=[lost(60, 99), changed(60)],
)  # fmt: skip
story(
    MINUTES, "one of two network namespaces is flushed",
    Host(Source({"filter": a_filter()}), netns="red"), 90,
    (60, lambda h: h.sources[0].flush()),
    tells=[lost(60, netns="red"), changed(60, netns="red")],
)  # fmt: skip
story(
    MINUTES, "nat is not shown, and filter is flushed", plain("nat"), 90,
    (30, lambda h: h.sources[0].hidden.add("nat")),
    (60, lambda h: h.sources[0].flush()),
    tells=[lost(60), changed(60), changed(30, "nat"), ticket("TableIncompatible", 30)],
)  # fmt: skip
story(
    MINUTES, "all is flushed beside an nft table of Docker's", plain(), 90,
    (0, lambda h: h.sources[0].unshown.update(nft=2)),
    (60, lambda h: h.sources[0].flush()),
    tells=[lost(60), changed(60)],
)  # fmt: skip
story(
    DAYS, "a host is off all night and boots without any table", plain(), 24 * HOUR,
    (4 * HOUR, down),
    (16 * HOUR, lambda h: (boot(h), nothing(h))),
    tells=[lost(16 * HOUR), opened(16 * HOUR), opened(16 * HOUR, chain="FORWARD"), changed(16 * HOUR, more=9)],
)  # fmt: skip
story(
    WEEKS, "losses are told for a week, and no longer", plain(), 9 * DAY,
    (6 * HOUR, lambda h: (h.sources[0].flush(), setattr(h.input, "policy", "ACCEPT"))),
    tells=[lost(6 * HOUR, A_WEEK), opened(6 * HOUR, A_WEEK), changed(6 * HOUR)],
)  # fmt: skip
story(
    WEEKS, "a file that went is told for a week, and no longer", plain(), 9 * DAY,
    (6 * HOUR, lambda h: h.gone.add("iptables.prom")),
    tells=[ticket("MetricsGone", 6 * HOUR, A_WEEK, file="/run/iptables.prom")],
)  # fmt: skip

# --- what no rule matches is let through ----------------------------------------------------------

story(
    MINUTES, "a policy is opened", plain(), 150,
    (60, lambda h: setattr(h.input, "policy", "ACCEPT")), (120, lambda h: setattr(h.input, "policy", "DROP")),
    tells=[opened(60, 120), changed(60), changed(120)],
)  # fmt: skip
story(
    MINUTES, "a policy is opened for IPv6, and runs fail then", packaged(), 110,
    (60, lambda h: setattr(h.sources[3].tables["filter"]["INPUT"], "policy", "ACCEPT")),
    (75, lambda h: setattr(h.sources[3], "fails", lambda minute: True)),
    tells=[opened(60, family="ipv6"), changed(60, **NFT6), ticket("CollectionFailing", 75, **NFT6)],
)  # fmt: skip
story(
    MINUTES, "a drop policy goes with its table", Host(Source({"filter": {"INPUT": Chain("DROP")}, "nat": a_nat()})),
    90, (60, lambda h: h.tables.pop("filter")),
    tells=[opened(60), changed(60)],
)  # fmt: skip
story(
    MINUTES, "the last rule that rejects the rest is deleted", Host(Source({"filter": rhel()})), 90,
    (60, lambda h: h.input.rules.pop(REJECT_REST)),
    tells=[opened(60), changed(60)],
)  # fmt: skip
story(
    MINUTES, "a policy is opened while node_exporter is down", plain(), 180,
    (60, down), (100, lambda h: setattr(h.input, "policy", "ACCEPT")), (150, boot),
    tells=[opened(150), changed(150)],
)  # fmt: skip
crowded = large()
crowded.netns = "red"
story(
    MINUTES, "the rule that drops the rest is left out by --max-series", crowded, 150,
    (0, lambda h: (setattr(h.input, "policy", "ACCEPT"), h.input.rules.update({"-j DROP": 1}))),
    (60, lambda h: h.sources[0].omitted.add("-j DROP")),
    (120, fail),
    tells=[
        ticket("SeriesOmitted", 60, 119, netns="red"), ticket("CollectionFailing", 120, netns="red"),
    ],
)  # fmt: skip

# --- what is there is not what is saved -----------------------------------------------------------


def save(host: Host) -> None:
    saved(host)


def not_saved(at: float, until: float = float("inf"), table: str = "filter", **labels: str):
    return ticket("NotSaved", at, until, table=table, **labels)


story(
    MINUTES, "a rule is added, and saved two hours later", saved(packaged()), 210,
    (60, lambda h: h.sources[1].tables["filter"]["INPUT"].rules.update({NEW_RULE: 1})),
    (180, save),
    tells=[changed(60, **NFT4), not_saved(60, 180, **NFT4)],
)  # fmt: skip
story(
    MINUTES, "tables with rules and without come that nobody saved", saved(plain()), 130,
    (60, lambda h: h.tables.update(nat=a_nat(), raw={"PREROUTING": Chain("ACCEPT")})),
    tells=[changed(60, "nat"), changed(60, "raw"), not_saved(60, table="nat")],
)  # fmt: skip
only_ipv4 = saved(packaged())
only_ipv4.sources[3].saved = {}
story(
    MINUTES, "nobody saved the IPv6 rules", only_ipv4, 80,
    tells=[not_saved(0, **NFT6)],
)  # fmt: skip
story(
    MINUTES, "a table that is saved goes", saved(plain("nat")), 130,
    (60, lambda h: h.tables.pop("nat")),
    tells=[changed(60, "nat"), not_saved(60, table="nat")],
)  # fmt: skip
story(
    MINUTES, "a host was never seen well, but its saved rules say so", saved(large(20)), 70,
    (0, lambda h: h.sources[0].flush("INPUT")),
    tells=[lost(0), not_saved(0)],
)  # fmt: skip
story(
    MINUTES, "a packaged host was never seen well, but its saved rules say so", saved(packaged()), 80,
    (0, lambda h: (h.sources[1].flush(), h.sources[3].flush())),
    tells=[
        *(lost(0, family=family) for family in ("ipv4", "ipv6")), not_saved(0, **NFT4), not_saved(0, **NFT6),
    ],
)  # fmt: skip
story(
    MINUTES, "no table is loaded on a host that was never seen well", saved(plain()), 70,
    (0, nothing),
    tells=[lost(0), not_saved(0)],
)  # fmt: skip
story(
    MINUTES, "three of twenty rules are left, and were meant: saved for an hour", saved(large(20)), 140,
    (60, lambda h: setattr(h.input, "rules", dict(list(h.input.rules.items())[:3]))), (65, save),
    tells=[lost(60, 124), changed(60)],
)  # fmt: skip
story(
    MINUTES, "what is saved does not load any more, and INPUT is flushed", saved(docker()), 120,
    (55, lambda h: setattr(h.sources[0], "saved", {"filter": {"INPUT": Chain("ACCEPT")}})),
    (60, lambda h: h.sources[0].flush("INPUT")),
    tells=[lost(60), changed(60), not_saved(55), not_saved(55, table="nat")],
)  # fmt: skip
story(
    MINUTES, "all is flushed where the service that loads at boot is not enabled", saved(plain()), 90,
    (60, lambda h: h.sources[0].flush()), (60, save),
    tells=[lost(60), changed(60)],
)  # fmt: skip
story(
    MINUTES, "what is saved cannot be tried any more", saved(plain()), 150,
    (60, lambda h: setattr(h.sources[0], "saved", {})),
    (120, save),
    tells=[ticket("SavedUnknown", 60, 120)],
)  # fmt: skip
