"""A fleet that is only simulated: what Prometheus would scrape of it, as input of `promtool test rules`.

Each host has a story: what happens to it, and when. All stories of one simulation run at once. No alert compares
one host with another, so what is told of a host is told because of its own story.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

IDENTITY = ("cluster", "job", "instance")
Value = float | None  # None: not there
Labels = tuple[tuple[str, str], ...]
Page = dict[tuple[str, Labels], float]  # by name and labels


@dataclass
class Chain:
    policy: str = "-"
    rules: dict[str, float] = field(default_factory=dict)  # by text: packets a second
    default_rate: float = 0  # of the policy


Tables = dict[str, dict[str, Chain]]


class Source:
    """One family and backend of a host; without options, both are empty."""

    def __init__(self, tables: Tables, family: str = "", backend: str = "") -> None:
        self.tables = tables
        self.labels = {"family": family, "backend": backend}
        self.file = "iptables.prom"
        self.fails: Callable[[float], bool] = lambda minute: False
        self.counters: dict[tuple, float] = {}  # by kind, table, chain, policy or rule
        self.unshown: dict[str, int] = {}  # by reason
        self.hidden: set[str] = set()  # tables that iptables-save cannot print
        self.omitted: set[str] = set()  # rules that --max-series leaves out
        self.gauges: dict[str, float] = {}
        self.saved: Tables | None = None  # what a reboot would load; None: nobody asks
        self.hashed = "."  # chains, as --hash
        self.is_ours = True  # not the Go exporter's

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

    def zero(self, *chains: str) -> None:
        """As iptables -Z CHAIN."""
        for key in self.counters:
            if key[2] in chains:
                self.counters[key] = 0

    def flush(self, *chains: str, table: str = "filter") -> None:
        """As iptables -F CHAIN; without one, all of them."""
        for name, chain in self.tables[table].items():
            if not chains or name in chains:
                chain.rules.clear()

    def samples(self, minute: float) -> Iterable[tuple[str, dict, float]]:
        yield "iptables_scrape_success", {}, float(not self.fails(minute))
        if self.fails(minute):
            return
        for (kind, table, chain, what), packets in self.counters.items():
            if table not in self.hidden and what not in self.omitted:
                label = {"default": "policy", "rule": "rule"}[kind]
                yield f"iptables_{kind}_packets_total", {"table": table, "chain": chain, label: what}, packets
        if not self.is_ours:
            return
        for table, chains in self.tables.items():
            if table not in self.hidden:
                yield "iptables_ruleset_hash", {"table": table}, self.hash_of(chains)
                for name, chain in chains.items():
                    yield "iptables_rules", {"table": table, "chain": name}, len(chain.rules)
        for reason in ("incompatible", "legacy", "nft"):
            number = len(self.hidden) if reason == "incompatible" else self.unshown.get(reason, 0)
            yield "iptables_unshown_tables", {"reason": reason}, number
        yield "iptables_series_omitted", {}, len(self.omitted)
        for name, number in self.gauges.items():
            yield name, {}, number

    def saved_samples(self) -> Iterable[tuple[str, dict, float]]:
        for table, chains in (self.saved or {}).items():
            yield "iptables_saved_ruleset_hash", {"table": table}, self.hash_of(chains)
            for name, chain in chains.items():
                yield "iptables_saved_rules", {"table": table, "chain": name}, len(chain.rules)

    def hash_of(self, chains: dict[str, Chain]) -> int:
        covered = [
            (name, one.policy, list(one.rules)) for name, one in chains.items() if re.match(self.hashed, name)
        ]
        return zlib.crc32(repr(covered).encode())


class Host:
    def __init__(self, *sources: Source, netns: str = "", **labels: str) -> None:
        self.labels = {"job": "node", **labels}
        self.sources = list(sources)
        self.netns = netns
        self.exists = True  # as a target
        self.up: Callable[[float], bool] = lambda minute: True
        self.timer = True
        self.gone: set[str] = set()  # files
        self.broken = False  # a file that node_exporter cannot read
        self.clock = 0.0  # seconds fast
        self.sets: dict[str, tuple[int, int, int]] = {}  # entries, maximum, references
        self.each_tick: Callable[[Host, float], object] = lambda host, minute: None
        self._pages: dict[str, Page] = {}
        self._written: dict[str, float] = {}

    @property
    def tables(self) -> Tables:
        return self.sources[0].tables

    @property
    def input(self) -> Chain:
        return self.tables["filter"]["INPUT"]

    def run(self, now: float) -> None:
        """What iptables_exporter writes."""
        self._pages.clear()
        for source in self.sources:
            page = self._pages.setdefault(source.file, {})
            own = (*source.labels.items(), ("netns", self.netns))
            for name, labels, value in source.samples(now / 60):
                page[name, (*own, *labels.items())] = value
            self._written[source.file] = now + self.clock
        for name, numbers in self.sets.items():
            for metric, number in zip(("entries", "max_entries", "references"), numbers):
                key = f"iptables_set_{metric}", (("netns", self.netns), ("set", name))
                self._pages[self.sources[0].file][key] = number

    def scrape(self, now: float) -> dict[str, float]:
        """By series."""
        if not self.exists:
            return {}
        up = self.up(now / 60)
        found: Page = {("up", ()): float(up)}
        if up:
            found["node_textfile_scrape_error", ()] = float(self.broken)
            pages = dict(self._pages)
            if any(source.saved is not None for source in self.sources):
                pages["iptables_saved.prom"] = self._saved()
                self._written.setdefault("iptables_saved.prom", now)
            for file, page in pages.items():
                if file not in self.gone:
                    found |= page
                    found["node_textfile_mtime_seconds", (("file", f"/run/{file}"),)] = self._written[file]
        target = tuple(self.labels.items())
        return {scraped(name, labels, target): value for (name, labels), value in found.items()}

    def _saved(self) -> Page:
        return {
            (name, (*source.labels.items(), *labels.items())): value
            for source in self.sources
            for name, labels, value in source.saved_samples()
        }


@dataclass
class Told:
    """An alert: not before `since`, surely from `by` to `until`, not any more from `gone`. Minutes."""

    severity: str
    alert: str
    labels: dict[str, str]
    since: float
    by: float
    until: float
    gone: float

    def seldom(self, minutes: float) -> Told:
        """As it is told where rules are evaluated so seldom."""
        return dataclasses.replace(self, by=self.by + minutes, gone=self.gone + minutes)

    def fires(self, minute: float) -> bool | None:
        """None: it may."""
        if minute < self.since or minute >= self.gone:
            return False
        return True if self.by <= minute < self.until else None

    def sample(self, host: Host) -> str:
        identity = {name: host.labels[name] for name in IDENTITY if name in host.labels}
        return series("", {"alertname": self.alert, "severity": self.severity, **identity, **self.labels})


@dataclass
class Story:
    """What happens to a host: actions by minute, and all that must be told of it."""

    name: str
    host: Host
    minutes: int
    happens: list[tuple[float, Callable[[Host], object]]]
    told: list[Told]
    asked: list[tuple[float, str, dict[str, float]]]  # other PromQL: when, what ($me is the host), samples

    def __post_init__(self) -> None:
        self.host.labels.setdefault("instance", self.name)


class Simulation:
    """Scrapes, runs of the program and evaluations of rules are every `interval` seconds. In `away`, pairs of
    minutes, Prometheus does not run."""

    def __init__(self, interval: int, away: Iterable[tuple[float, float]] = ()) -> None:
        self.interval = interval
        self.away = list(away)
        self.stories: list[Story] = []

    def as_promtool_has_it(self, rule_file: str, groups: list[str], wanted: str = "") -> str:
        """Stories whose names match; they begin anew each time."""
        return copy.deepcopy(self)._told(rule_file, groups, wanted)

    def _told(self, rule_file: str, groups: list[str], wanted: str) -> str:
        self.stories = [story for story in self.stories if re.search(wanted, story.name)]
        given = self._scraped()
        test = {
            "interval": f"{self.interval}s",
            "input_series": [{"series": name, "values": notation(values)} for name, values in given.items()],
            "promql_expr_test": [query for story in self.stories for query in self._queries(story)],
        }
        return json.dumps(  # JSON is YAML
            {
                "rule_files": [rule_file],
                "evaluation_interval": f"{self.interval}s",
                "group_eval_order": groups,
                "tests": [test],
            }
        )

    def _scraped(self) -> dict[str, list[Value]]:
        given: dict[str, list[Value]] = {}
        waiting = {id(story): sorted(story.happens, key=lambda one: one[0]) for story in self.stories}
        for tick in range(self._tick(max(story.minutes for story in self.stories)) + 1):
            now = tick * self.interval
            found: dict[str, float] = {}
            for story in self.stories:
                while waiting[id(story)] and waiting[id(story)][0][0] * 60 <= now:
                    waiting[id(story)].pop(0)[1](story.host)
                story.host.each_tick(story.host, now / 60)
                for source in story.host.sources:
                    source.pass_time(self.interval)
                if story.host.timer:
                    story.host.run(now)
                if now <= story.minutes * 60:
                    found |= story.host.scrape(now)
            if any(begin <= now / 60 < end for begin, end in self.away):
                found = {}
            for name in found.keys() - given.keys():
                given[name] = [None] * tick
            for name, values in given.items():
                values.append(found.get(name))
        return given

    def _tick(self, minute: float) -> int:
        return math.ceil(minute * 60 / self.interval)

    def _queries(self, story: Story) -> Iterable[dict]:
        """At each moment at which it is known of all alerts whether they fire; and which ever did."""
        here = f'ALERTS{{alertstate="firing",instance="{story.host.labels["instance"]}"}}'
        minutes = self.interval / 60
        all_told = [told.seldom(minutes) if minutes > 1 else told for told in story.told]
        seen: dict[int, set[bool]] = {number: set() for number in range(len(all_told))}
        edges = {self._tick(story.minutes) - 1}
        for told in all_told:
            edges |= {self._tick(moment) for moment in (told.by, told.gone) if moment < story.minutes}
            edges |= {self._tick(moment) - 1 for moment in (told.since, told.until) if moment < story.minutes}
        for tick in sorted(edges):
            fires = [told.fires(tick * minutes) for told in all_told]
            if None in fires:
                continue
            for number, one in enumerate(fires):
                seen[number].add(bool(one))
            samples = {told.sample(story.host): 1.0 for told, one in zip(all_told, fires) if one}
            yield self._query(tick, f"sum without (alertstate) ({here})", samples)
        for number, told in enumerate(all_told):
            wanted = {True, False} if told.gone < story.minutes - 1 else {True}
            is_short = told.until - told.by < minutes
            assert is_short or wanted <= seen[number], f"{story.name}: nothing asks for {told.alert}: {sorted(edges)}"
        ever = {told.sample(story.host): 1.0 for told in story.told}
        window = f"{story.minutes}m"
        yield self._query(
            self._tick(story.minutes), f"sum without (alertstate) (last_over_time({here}[{window}]))", ever
        )
        for minute, promql, samples in story.asked:
            me = f'instance="{story.host.labels["instance"]}"'
            yield self._query(self._tick(minute), promql.replace("$me", me), samples)

    def _query(self, tick: int, promql: str, samples: dict[str, float]) -> dict:
        expected = [{"labels": labels, "value": value} for labels, value in samples.items()]
        return {"expr": promql, "eval_time": f"{tick * self.interval}s", "exp_samples": expected}


@functools.cache
def scraped(name: str, labels: Labels, target: Labels) -> str:
    """The series that Prometheus makes: our label that the target has too is called exported_..."""
    taken = {label for label, _ in target}
    ours = {f"exported_{label}" if label in taken else label: text for label, text in labels if text}
    return series(name, ours | dict(target))


def series(name: str, labels: dict[str, str]) -> str:
    """Empty labels are none."""
    written = (f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels.items() if text)
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
