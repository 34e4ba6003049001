"""How the stories of hosts are written: what hosts there are, and how alerts are named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from simulation import Chain, Host, Simulation, Source, Story, Told, clone

HOUR, DAY = 60, 1440

# --- hosts ----------------------------------------------------------------------------------------

ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
WORM = "-p udp -m udp --dport 9 -j DROP"
REJECT_REST = "-j REJECT --reject-with icmp-host-prohibited"
NEW_RULE = "-p tcp -m tcp --dport 443 -j ACCEPT"


def a_filter() -> dict[str, Chain]:
    ssh = '-p tcp -m tcp --dport 22 -m comment --comment "ssh, office" -j ACCEPT'
    return {
        "INPUT": Chain("DROP", {ESTABLISHED: 100, ssh: 0.1, WORM: 1}, default_rate=0.5),
        "FORWARD": Chain("DROP"),
        "OUTPUT": Chain("ACCEPT", default_rate=80),
    }


def a_nat() -> dict[str, Chain]:
    return {
        "PREROUTING": Chain("ACCEPT", {"-m addrtype --dst-type LOCAL -j DOCKER": 1}),
        "POSTROUTING": Chain("ACCEPT", {"-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE": 1}),
        "DOCKER": Chain("-", {"-i docker0 -j RETURN": 0}),
    }


def of_docker() -> dict[str, Chain]:
    """What Docker writes itself into the filter table."""
    return {
        "FORWARD": Chain("DROP", {"-j DOCKER-USER": 1, "-o docker0 -j DOCKER": 1}),
        "DOCKER": Chain("-", {"-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -j ACCEPT": 1}),
        "DOCKER-USER": Chain("-", {"-j RETURN": 1}),
    }


def plain(*tables: str, **labels: str) -> Host:
    """One source, no labels; filter, and what is named."""
    more = {"nat": a_nat()} if "nat" in tables else {}
    return Host(Source({"filter": a_filter(), **more}), **labels)


def packaged(**labels: str) -> Host:
    """Both families and backends, as the package collects: legacy, nft, legacy6, nft6."""
    return Host(
        Source({}, "ipv4", "legacy"), Source({"filter": a_filter()}, "ipv4", "nft"),
        Source({}, "ipv6", "legacy"), Source({"filter": a_filter()}, "ipv6", "nft"), **labels,
    )  # fmt: skip


def saved(host: Host) -> Host:
    """What runs is what a reboot would load."""
    for source in host.sources:
        source.saved = clone(source.tables)
    return host


def rhel() -> dict[str, Chain]:
    """Policy ACCEPT, the last rule rejects: as iptables-services ships it."""
    ssh = "-p tcp -m tcp --dport 22 -j ACCEPT"
    return {
        "INPUT": Chain("ACCEPT", {ESTABLISHED: 100, ssh: 0.1, REJECT_REST: 1}),
        "FORWARD": Chain("ACCEPT", {REJECT_REST: 0}),
        "OUTPUT": Chain("ACCEPT", default_rate=80),
    }


def docker() -> Host:
    return Host(Source({"filter": a_filter() | of_docker(), "nat": a_nat()}))


def large(rules: int = 101) -> Host:
    host = plain()
    host.input.rules |= {f"-s 10.0.0.{number}/32 -j ACCEPT": 0 for number in range(rules - 3)}
    return host


# --- what is told -----------------------------------------------------------------------------------


def told(
    severity: str, alert: str, at: float, until: float = math.inf, within: float = 8, still: float = 8,
    after: float = 0, **labels: str,
) -> Told:  # fmt: skip
    """What is so from `at` to `until` fires after some minutes and within some, and still for some at the end."""
    return Told(severity, f"Iptables{alert}", labels, at + after, at + within, until, until + still)


def page(alert: str, at: float, until: float = math.inf, **labels: str) -> Told:
    return told("critical", alert, at, until, within=8, still=7, after=4, **labels)


def ticket(alert: str, at: float, until: float = math.inf, **labels: str) -> Told:
    after, within = _TICKETS.get(alert, (4, 8))
    return told("warning", alert, at, until, within=within, still=4, after=after, **labels)


_TICKETS = {  # at what times they fire first and last
    "CollectionFailing": (9, 15), "SeriesOmitted": (14, 17), "RulesUnreadable": (14, 17), "ReadsUnprotected": (14, 17),
    "NotSaved": (59, 62), "SavedUnknown": (14, 17), "SetFull": (14, 17), "SetEmptied": (14, 17),
}  # fmt: skip


def changed(at: float, table: str = "filter", more: float = 0, **labels: str) -> Told:
    """News for ten minutes; for more, where it was changed again meanwhile."""
    return Told("info", "IptablesRulesetChanged", {"table": table, **labels}, at, at + 5, at + 9 + more, at + 15 + more)


NFT4 = {"family": "ipv4", "backend": "nft"}
NFT6 = {"family": "ipv6", "backend": "nft"}

# --- stories, by how often hosts are scraped and rules evaluated ------------------------------------

AWAY_AT = [(40, 45), (80, 96), (130, 164), (200, 500)]
QUARTERS = Simulation(15)
MINUTES = Simulation(60)
AWAY = Simulation(60, AWAY_AT)  # Prometheus is away meanwhile
NIGHTS = Simulation(240)  # as seldom as rates of five minutes allow
DAYS = Simulation(600)
WEEKS = Simulation(1200)
ALL = {"quarters": QUARTERS, "minutes": MINUTES, "away": AWAY, "nights": NIGHTS, "days": DAYS, "weeks": WEEKS}


def story(
    where: Simulation, name: str, host: Host, minutes: int, *happens: tuple[float, Callable[[Host], object]],
    tells: Iterable[Told] = (), asks: Iterable[tuple[float, str, dict[str, float]]] = (),
) -> None:  # fmt: skip
    where.stories.append(Story(name, host, minutes, list(happens), list(tells), list(asks)))
