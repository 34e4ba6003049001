"""What healthy hosts do. Nothing is told of it, but that it was changed where it was."""

from __future__ import annotations

from simulation import Chain, Host, Source
from stories import (
    AWAY, DAYS, HOUR, MINUTES, NEW_RULE, NFT4, NFT6, NIGHTS, REJECT_REST, WORM, a_filter, a_nat,
    changed, docker, large, packaged, plain, rhel, saved, story, told,
)  # fmt: skip


def down(host: Host) -> None:
    host.up = lambda minute: False


def boot(host: Host) -> None:
    host.up = lambda minute: True
    for source in host.sources:
        source.counters.clear()


def add_rule(host: Host) -> None:
    for source in host.sources:
        if source.tables:
            source.tables["filter"]["INPUT"].rules[NEW_RULE] = 1


# --- days without an incident -------------------------------------------------------------------

story(DAYS, "a packaged host has a day of peace", saved(packaged()), 26 * HOUR)
quiet = docker()
quiet.sources[0].unshown["nft"] = 2
quiet.sets["all"] = (10, 100, 1)
story(DAYS, "a Docker host has a day of peace", quiet, 26 * HOUR)
story(DAYS, "a network namespace has a day of peace", Host(Source({"filter": a_filter()}), netns="blue"), 26 * HOUR)
go = plain()
go.sources[0].is_ours = False
story(DAYS, "the Go exporter has a day of peace", go, 26 * HOUR)
without = packaged()
without.sources[1].tables, without.sources[3].tables = {}, {}
without.sources[1].unshown["nft"] = 3
story(DAYS, "a host has no iptables rules, on purpose", without, 26 * HOUR)
empty = Host(Source({"filter": {"INPUT": Chain("ACCEPT"), "OUTPUT": Chain("ACCEPT")}}))
story(DAYS, "a host has tables without rules, and nothing saved", saved(empty), 26 * HOUR)

# --- deployments --------------------------------------------------------------------------------

for wave in range(3):
    at = 60 + 15 * wave
    story(
        MINUTES, f"a rule is deployed in waves: {wave + 1} of 3", saved(packaged()), 130,
        (at, add_rule), (at + 5, saved),
        tells=[changed(at, **NFT4), changed(at, **NFT6)],
    )  # fmt: skip
story(MINUTES, "a rule is tried on a canary, and this is no canary", plain(), 30)
story(MINUTES, "a rule is tried on a canary", plain(), 90, (60, add_rule), tells=[changed(60)])
for role in ("bastion", "db"):
    small = plain()
    small.input.rules[f"-p tcp -m tcp --dport {role} -j ACCEPT"] = 1
    story(MINUTES, f"one of a few hosts of a small role: {role}", small, 30)
story(
    MINUTES, "a drop policy becomes a last rule", plain(), 180,
    (60, lambda h: (setattr(h.input, "policy", "ACCEPT"), h.input.rules.update({"-j DROP": 1}))),
    (150, lambda h: setattr(h.sources[0], "fails", lambda minute: minute < 155)),
    tells=[changed(60)],
)  # fmt: skip
story(
    MINUTES, "a last rule with a comment becomes a drop policy", Host(Source({"filter": rhel()})), 90,
    (0, lambda h: h.input.rules.pop(REJECT_REST)),
    (0, lambda h: h.input.rules.update({'-m comment --comment "the \\"rest\\"" -j DROP': 1})),
    (60, lambda h: (setattr(h.input, "policy", "DROP"), h.input.rules.popitem())),
    tells=[changed(60)],
)  # fmt: skip
story(
    MINUTES, "a third of the rules goes", large(30), 90,
    (60, lambda h: setattr(h.input, "rules", dict(list(h.input.rules.items())[:20]))),
    tells=[changed(60)],
)  # fmt: skip
story(
    MINUTES, "iptables is upgraded and prints a protocol otherwise", plain(), 90,
    (0, lambda h: h.input.rules.update({"-p gre -j ACCEPT": 1})),
    (60, lambda h: (h.input.rules.pop("-p gre -j ACCEPT"), h.input.rules.update({"-p 47 -j ACCEPT": 1}))),
    tells=[changed(60)],
)  # fmt: skip
story(
    MINUTES, "the same rules are loaded again", plain(), 90, (60, lambda h: h.sources[0].counters.clear()),
)  # fmt: skip

# --- hosts that come and go ----------------------------------------------------------------------

late = plain("nat")
nat = late.tables["nat"]
story(
    MINUTES, "a host reboots, and its nat table comes two minutes late", late, 100,
    (60, down), (64, lambda h: (boot(h), h.tables.pop("nat"))), (66, lambda h: h.tables.update(nat=nat)),
)  # fmt: skip
green = packaged()
story(
    MINUTES, "a green host comes, its firewall after five minutes", green, 100,
    (0, lambda h: (setattr(h, "exists", False), h.sources[1].tables.clear(), h.sources[3].tables.clear())),
    (60, lambda h: setattr(h, "exists", True)),
    (65, lambda h: (h.sources[1].tables.update(filter=a_filter()), h.sources[3].tables.update(filter=a_filter()))),
)  # fmt: skip
story(MINUTES, "a blue host goes", saved(packaged()), 90, (60, lambda h: setattr(h, "exists", False)))


def another(*sources: Source):
    """The address is given to another host."""
    return lambda host: (setattr(host, "sources", list(sources)), setattr(host, "exists", True))


for what, sources in {
    "that has no firewall": [Source({"filter": {"INPUT": Chain("ACCEPT")}})],
    "that has none, and no table": [Source({})],
    "that has few rules": [Source({"filter": {"INPUT": Chain("ACCEPT", {WORM: 0})}})],
    "without an exporter": [],
}.items():
    story(
        MINUTES, f"autoscaling gives an address to a host {what}", large(), 210,
        (60, lambda h: (setattr(h, "exists", False), h.gone.add("iptables.prom"))),
        (180, another(*sources)),
        *([(180, lambda h: h.gone.clear())] if sources else []),
    )  # fmt: skip
story(
    MINUTES, "an instance is renamed: the old name", packaged(instance="10.0.0.7:9100"), 90,
    (60, lambda h: setattr(h, "exists", False)),
)  # fmt: skip
story(
    MINUTES, "an instance is renamed: the new name", packaged(), 90,
    (0, lambda h: setattr(h, "exists", False)), (60, lambda h: setattr(h, "exists", True)),
)  # fmt: skip
story(
    MINUTES, "a target gets another pod, and a label more", saved(packaged(pod="node-exporter-1")), 90,
    (60, lambda h: h.labels.update(pod="node-exporter-2", rack="r7")),
)  # fmt: skip
story(
    MINUTES, "service discovery loses a target for ten minutes", plain("nat"), 100,
    (60, lambda h: setattr(h, "exists", False)), (70, lambda h: setattr(h, "exists", True)),
)  # fmt: skip
story(
    DAYS, "a host is off at night", saved(plain("nat")), 30 * HOUR, (10 * HOUR, down), (22 * HOUR, boot),
)  # fmt: skip
namespace = Host(Source({"filter": a_filter()}), netns="blue")
namespace.sources[0].file = "iptables@blue.prom"
story(
    MINUTES, "a network namespace is removed, and its timer with it", namespace, 90,
    (60, lambda h: h.gone.add("iptables@blue.prom")),
)  # fmt: skip

# --- what goes on all the time --------------------------------------------------------------------

story(
    MINUTES, "every other scrape fails", saved(packaged()), 50,
    (20, lambda h: setattr(h, "up", lambda minute: minute % 2 == 0)),
)  # fmt: skip
for every in (3, 4):
    story(
        MINUTES, f"every {every}rd run fails" if every == 3 else "every 4th run fails", plain(), 50,
        (20, lambda h, every=every: setattr(h.sources[0], "fails", lambda minute: minute % every == 0)),
    )  # fmt: skip
story(
    MINUTES, "runs fail for five minutes of thirty", packaged(), 50,
    (20, lambda h: setattr(h.sources[1], "fails", lambda minute: minute % 30 < 5)),
)  # fmt: skip
story(
    MINUTES, "the timer stops for four minutes", plain(), 70,
    (30, lambda h: setattr(h, "timer", False)), (34, lambda h: setattr(h, "timer", True)),
)  # fmt: skip


def daemons(host: Host) -> None:
    """Containers and bans, in chains that --hash leaves out."""
    host.tables["filter"]["f2b-sshd"] = Chain("-")

    def each_tick(host: Host, minute: float) -> None:
        number = round(minute)
        host.tables["nat"]["DOCKER"].rules = {f"-p tcp --dport {8000 + n} -j DNAT": 1 for n in range(number % 5)}
        host.tables["filter"]["FORWARD"].rules = {f"-o br-{n} -j DOCKER": 1 for n in range(number % 3)}
        host.tables["filter"]["f2b-sshd"].rules = {f"-s 192.0.2.{n}/32 -j REJECT": 0.1 for n in range(number % 7)}

    host.each_tick = each_tick
    host.sources[0].hashed = "INPUT|OUTPUT"


story(MINUTES, "containers and bans come and go", docker(), 30, (0, daemons))
kube = Host(Source({"filter": a_filter() | {"KUBE-FIREWALL": Chain("-", {"-j DROP": 0})}, "nat": a_nat()}))
kube.sources[0].hashed = "(?!KUBE-)"
kube.each_tick = lambda host, minute: host.sources[0].zero("KUBE-FIREWALL")
story(MINUTES, "kube-proxy zeroes its chains at each sync", kube, 30)
tables = packaged()
tables.each_tick = lambda host, minute: host.sources[1].unshown.update(nft=int(minute / 40) % 2)
story(
    DAYS, "an nft table comes and goes with containers: told once", tables, 40 * HOUR,
    (2 * HOUR, lambda h: None),
    tells=[told("info", "TablesAppeared", 60, 66, 30, 200, family="ipv4", reason="nft")],
)  # fmt: skip
weekend = plain()
weekend.each_tick = lambda host, minute: host.input.rules.update({WORM: 1 if 30 * HOUR < minute < 56 * HOUR else 3})
story(NIGHTS, "less is dropped at the weekend", weekend, 60 * HOUR)
options = plain()
story(
    MINUTES, "a host is given --family and --backend", options, 90,
    (60, lambda h: setattr(h, "sources", packaged().sources)),
)  # fmt: skip
back = packaged()
story(
    MINUTES, "a host gives --family and --backend up", back, 90,
    (60, lambda h: setattr(h, "sources", plain().sources)),
)  # fmt: skip
story(AWAY, "a Docker host stays as it is while Prometheus is away", docker(), 540)
