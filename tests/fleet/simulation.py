"""A fleet that is only simulated: what Prometheus would scrape of it, as input of `promtool test rules`.

A scenario changes hosts and lets time pass; each scrape takes down what the host's file says then. What
must fire is asked for on the way.
"""

from __future__ import annotations

import copy
import json
import re
import zlib
from dataclasses import dataclass, field

Value = float | None  # None: not there
Alerts = set[tuple[str, str]]  # (alert, instance)


@dataclass
class Chain:
    policy: str = "-"
    rules: dict[str, float] = field(default_factory=dict)  # by text: packets a second
    default_rate: float = 0  # of the policy


Tables = dict[str, dict[str, Chain]]


def a_filter() -> dict[str, Chain]:
    return {
        "INPUT": Chain(
            "DROP",
            {
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT": 100,
                '-p tcp -m tcp --dport 22 -m comment --comment "ssh, office" -j ACCEPT': 0.1,
                "-p udp -m udp --dport 9 -j DROP": 1,
            },
            default_rate=0.5,
        ),
        "FORWARD": Chain("DROP"),
        "OUTPUT": Chain("ACCEPT", default_rate=80),
    }


def a_nat() -> dict[str, Chain]:
    return {
        "PREROUTING": Chain("ACCEPT", {"-m addrtype --dst-type LOCAL -j DOCKER": 1}),
        "POSTROUTING": Chain("ACCEPT", {"-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE": 1}),
        "DOCKER": Chain("-", {"-i docker0 -j RETURN": 0}),
    }


class Source:
    """One family and backend of a host; without options, both are empty."""

    def __init__(self, tables: Tables, family: str = "", backend: str = "") -> None:
        self.tables = tables
        self.labels = {"family": family, "backend": backend}
        self.fails = False
        self.counters: dict[tuple, float] = {}  # by kind, table, chain, policy or rule
        self.last_success: Value = None
        self.unshown: dict[str, int] = {}  # by reason
        self.more: dict[str, float] = {}  # other gauges

    def pass_time(self, seconds: float) -> None:
        counters: dict[tuple, float] = {}
        for table, chains in self.tables.items():
            for name, chain in chains.items():
                if chain.policy != "-":
                    key = ("default", table, name, chain.policy)
                    counters[key] = self.counters.get(key, 0) + chain.default_rate * seconds
                for text, rate in chain.rules.items():
                    key = ("rule", table, name, text)
                    counters[key] = self.counters.get(key, 0) + rate * seconds
        self.counters = counters

    def zero(self, chain: str) -> None:
        """As iptables -Z CHAIN."""
        for key in self.counters:
            if key[2] == chain:
                self.counters[key] = 0


class Host:
    def __init__(self, name: str, *sources: Source, **labels: str) -> None:
        self.labels = {"job": "node", "instance": name, **labels}
        self.name = name
        self.sources = list(sources) or [Source({"filter": a_filter()})]
        self.up = True
        self.timer = True
        self.served: set[int] | None = None  # which sources' files are there; None: all
        self.textfile_error = False
        self.clock = 0.0  # seconds fast
        self.hash_covers = "."  # chains, as --hash
        self.netns = ""
        self.is_ours = True  # not the Go exporter
        self.page: dict[str, float] = {}

    @property
    def tables(self) -> Tables:
        return self.sources[0].tables

    def run(self, now: float) -> None:
        """What iptables_exporter writes."""
        self.page = {}
        for number, source in enumerate(self.sources):
            if self.served is not None and number not in self.served:
                continue
            own = {**source.labels, "netns": self.netns}

            def put(name: str, value: Value, own: dict[str, str] = own, **labels: str) -> None:
                if value is not None:
                    self.page[series(name, {**own, **labels})] = value

            if not source.fails:
                source.last_success = now + self.clock
            put("iptables_scrape_success", float(not source.fails))
            if self.is_ours:
                put("iptables_exporter_build_info", 1, version="1.0")
                put("iptables_last_success_timestamp_seconds", source.last_success)
            if source.fails:
                continue
            for (kind, table, chain, what), packets in source.counters.items():
                label = {"default": "policy", "rule": "rule"}[kind]
                labels = {"table": table, "chain": chain, label: what}
                put(f"iptables_{kind}_packets_total", packets, **labels)
            if not self.is_ours:
                continue
            for table, chains in source.tables.items():
                covered = [
                    (name, chain.policy, list(chain.rules))
                    for name, chain in chains.items()
                    if re.match(self.hash_covers, name)
                ]
                put("iptables_ruleset_hash", zlib.crc32(repr(covered).encode()), table=table)
                for name, chain in chains.items():
                    put("iptables_rules", len(chain.rules), table=table, chain=name)
            for reason in ("incompatible", "legacy", "nft"):
                put("iptables_unshown_tables", source.unshown.get(reason, 0), reason=reason)
            for name, value in {
                "iptables_series_omitted": 0.0, "iptables_unreadable_rules": 0.0, **source.more,
            }.items():  # fmt: skip
                put(name, value)
        self.written = now + self.clock

    def scrape(self) -> dict[str, float]:
        result = {"up": float(self.up)}
        if self.up:
            result["node_textfile_scrape_error"] = float(self.textfile_error)
            if self.served != set():
                result |= self.page
                result[series("node_textfile_mtime_seconds", {"file": "/run/iptables.prom"})] = (
                    self.written
                )
        return {with_labels(name, self.labels): value for name, value in result.items()}


class Simulation:
    def __init__(self, interval: int = 60) -> None:
        self.interval = interval  # of scrapes, of the program and of rules alike
        self.hosts: list[Host] = []
        self.ticks = 0
        self.given: dict[str, list[Value]] = {}
        self.questions: list[dict] = []

    def add(self, *hosts: Host) -> None:
        self.hosts += hosts

    def host(self, name: str, *sources: Source, **labels: str) -> Host:
        host = Host(name, *sources, **labels)
        self.add(host)
        return host

    @property
    def now(self) -> int:
        """Of the last scrape."""
        return (self.ticks - 1) * self.interval

    def tick(self) -> None:
        now = self.ticks * self.interval
        found: dict[str, float] = {}
        for host in self.hosts:
            for source in host.sources:
                source.pass_time(self.interval)
            if host.timer:
                host.run(now)
            found |= host.scrape()
        for name in found.keys() | self.given.keys():
            values = self.given.setdefault(name, [None] * self.ticks)
            values.append(found.get(name))
        self.ticks += 1

    def run(self, minutes: float) -> None:
        for _ in range(round(minutes * 60 / self.interval)):
            self.tick()

    # --- what must be

    def ask(self, promql: str, expected: dict[str, float]) -> None:
        """Labels and value of each sample, now."""
        samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
        self.questions.append(
            {"expr": promql, "eval_time": f"{self.now}s", "exp_samples": samples}
        )

    def firing(self, expected: Alerts) -> None:
        """These fire now, and no others."""
        self._alerts('ALERTS{alertstate="firing"}', expected)

    def fired(self, expected: Alerts, minutes: float | None = None) -> None:
        """These have fired up to now, and no others."""
        window = f"{round(minutes * 60) if minutes else self.now + 60}s"
        self._alerts(f'last_over_time(ALERTS{{alertstate="firing"}}[{window}])', expected)

    def _alerts(self, promql: str, expected: Alerts) -> None:
        self.ask(
            f"group by (alertname, instance) ({promql})",
            {f'{{alertname="{alert}",instance="{host}"}}': 1 for alert, host in expected},
        )

    def as_promtool_has_it(self, rule_file: str, groups: list[str]) -> str:
        inputs = [
            {"series": name, "values": notation(values)} for name, values in self.given.items()
        ]
        test = {
            "interval": f"{self.interval}s",
            "input_series": inputs,
            "promql_expr_test": self.questions,
        }
        return json.dumps(  # JSON is YAML
            {
                "rule_files": [rule_file],
                "evaluation_interval": f"{self.interval}s",
                "group_eval_order": groups,
                "tests": [test],
            }
        )


def series(name: str, labels: dict[str, str]) -> str:
    return with_labels(name + "{}", labels)


def with_labels(name: str, labels: dict[str, str]) -> str:
    """A series with more labels; empty ones are none."""
    name, _, inner = name.removesuffix("}").partition("{")
    written = [inner] if inner else []
    for label, value in labels.items():
        if value:
            written.append(f"{label}={json.dumps(value, ensure_ascii=False)}")
    return f"{name}{{{','.join(written)}}}"


def notation(values: list[Value]) -> str:
    """promtool's: `0+60x9 stale _x4 1`."""
    words = []
    at = 0
    while at < len(values):
        end = at + 1
        if values[at] is None:
            while end < len(values) and values[end] is None:
                end += 1
            gap = end - at
            if at:
                words.append("stale")
                gap -= 1
            if gap:
                words.append(f"_x{gap}")
        else:
            step = None
            while end < len(values) and values[end] is not None:
                difference = values[end] - values[end - 1]
                if step is None:
                    step = difference
                elif difference != step:
                    break
                end += 1
            if step is None:
                words.append(number(values[at]))
            else:
                sign = "-" if step < 0 else "+"
                words.append(f"{number(values[at])}{sign}{number(abs(step))}x{end - at - 1}")
        at = end
    return " ".join(words)


def number(value: float) -> str:
    return f"{value:.15g}" if abs(value) < 1e15 else str(int(value))


def clone(tables: Tables) -> Tables:
    return copy.deepcopy(tables)
