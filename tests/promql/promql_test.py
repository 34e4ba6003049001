"""--select, --sum-by and --label mean what they mean in PromQL: a real Prometheus is asked.

It has scraped the program's output with all labels that there are and without --select. What the
program prints with selectors and fewer labels must be what Prometheus answers to the same. What is
a selector is said as Prometheus 3.5 says it; where 2.42 says otherwise, it may.

Random cases come from a seed, which is printed; PROMQL_SEED=… repeats them.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import arbitrary  # noqa: E402
import support  # noqa: E402
from arbitrary import Selector, written  # noqa: E402
from oracle import Family, Table, labels, read_metrics  # noqa: E402
from prometheus import Prometheus, version  # noqa: E402
from prometheus_api import Refused, Vector  # noqa: E402
from support import FIXTURES, ExporterTestCase, Run  # noqa: E402

SEED = int(os.environ.get("PROMQL_SEED") or int.from_bytes(os.urandom(4), "big"))

PACKETS = "iptables_rule_packets_total"
BYTES = "iptables_rule_bytes_total"
OF_CHAINS = ("iptables_default_bytes_total", "iptables_default_packets_total", "iptables_rules")
HASH = "iptables_ruleset_hash"

OWN_LABELS = {
    "port": "--dport ([0-9]+)",
    "by": "-s (?:[0-9]+[.]){3}([0-9]+)",  # to PromQL a keyword, and yet a label
    "first": "([^ ])",
    "proto": "-p (?P<name>[a-z]*)|-i ([^ ]*)",
    "quoted": r'(?s)"((?:[^"\\]|\\.)*)"',
    "end": "(?i)(p|[ö-ü]|CE[P]T)$",
}


def assert_answered(run: Run) -> None:
    """It may warn of selectors that match no rule, and of labels that this selector has no use for."""
    warnings = rb"(iptables_exporter: warning: (no rule matches --select, so no rule series is written|--label \w+ has no effect: .*)\n)*"
    if run.status != 0 or not re.fullmatch(warnings, run.err):
        raise AssertionError(run)


@dataclass
class Host:
    """A ruleset, and options of the program for it."""

    name: str
    dump: bytes
    own_labels: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)  # of which the dump was made, if we made it
    path: Path = Path()

    @property
    def label_names(self) -> tuple[str, ...]:
        fixed = ("table", "chain", "rule", "comment", "target")
        return (*self.source, *fixed, *self.own_labels)

    def run(self, selectors: list[str], *options: str) -> Run:
        return support.run(
            f"--input={self.path}",
            *(f"--{name}={value}" for name, value in self.source.items()),
            *(f"--label={name}={regex}" for name, regex in self.own_labels.items()),
            *(f"--select={selector}" for selector in selectors),
            *options,
        )

    def series(self, metric: str, selectors: list[str]) -> str:
        """Those of the metric that any of the selectors matches, in PromQL."""
        return " or ".join(
            f'{metric}{{text="{self.name}",{selector.lstrip()[1:]}'
            for selector in selectors or ["{}"]
        )


def hosts(random: Random) -> list[Host]:
    def random_host(name: str, *labels: dict[str, str]) -> Host:
        tables = arbitrary.ruleset(random)
        return Host(name, arbitrary.dump(tables), *labels, tables=tables)

    def real_host(name: str, own_labels: dict[str, str]) -> Host:
        dump = (FIXTURES / f"{name}.save").read_bytes()
        # Prometheus rounds what is larger than 2^53.
        return Host(name, dump.replace(str(2**64 - 1).encode(), b"7"), own_labels)

    return [
        *(random_host(f"random{i}", OWN_LABELS) for i in range(4)),
        random_host("source", {}, {"family": "ipv6", "backend": "nft"}),
        real_host("hostile", OWN_LABELS),
        real_host("kube", {}),
        real_host("docker", {"port": OWN_LABELS["port"]}),
    ]


def sum_by(names: tuple[str, ...] | list[str]) -> str:
    return f"--sum-by={','.join(names)}"


def vector(families: dict[str, Family], metric: str) -> Vector:
    """As Prometheus has it: a label without a value is no label."""
    samples = families[metric].samples if metric in families else {}
    return {
        tuple((name, text) for name, text in series if text): int(number)
        for series, number in samples.items()
    }


def total(families: dict[str, Family], metric: str) -> int:
    return sum(vector(families, metric).values())


class AgainstPrometheus(ExporterTestCase):
    hosts: list[Host]
    whole: dict[str, dict[str, Family]]  # by host: what Prometheus has scraped
    prometheus: Prometheus

    @classmethod
    def setUpClass(cls) -> None:
        print("PROMQL_SEED={}, Prometheus {}.{}".format(SEED, *version()), flush=True)
        directory = cls.enterClassContext(support.public_directory())
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        cls.hosts = hosts(Random(SEED))
        texts = {}
        for host in cls.hosts:
            host.path = directory / f"{host.name}.save"
            host.path.write_bytes(host.dump)
            run = host.run([], sum_by(host.label_names))
            assert_answered(run)
            texts[host.name] = run.out
        cls.whole = {name: read_metrics(text) for name, text in texts.items()}
        cls.prometheus = cls.enterClassContext(Prometheus(texts).running())

    def setUp(self) -> None:
        super().setUp()
        self.random = Random(f"{SEED} {self.id()}")

    def metrics(self, host: Host, selectors: list[str], *options: str) -> dict[str, Family]:
        run = host.run(selectors, *options)
        assert_answered(run)
        return run.metrics

    def some_selector(self, host: Host) -> Selector:
        series = [dict(one) for one in self.whole[host.name][PACKETS].samples]
        return arbitrary.selector(series, host.label_names, self.random)

    def some_valid_selector(self, host: Host) -> Selector:
        while True:
            selector = self.some_selector(host)
            if host.run([written(selector, self.random)]).status == 0:
                return selector

    def some_labels(self, host: Host) -> list[str]:
        names = host.label_names
        return self.random.sample(names, self.random.randint(0, len(names)))

    # --- labels

    def test_labels_are_what_the_rules_were_made_of(self) -> None:
        for host in self.hosts:
            made = {
                labels(
                    table=table.name,
                    chain=rule.chain,
                    rule=rule.text,
                    comment=rule.comment,
                    target=rule.target,
                    **host.source,
                )
                for table in host.tables
                for rule in table.rules
            }
            if made:
                printed = self.metrics(host, [], "--sum-by=table,chain,rule,comment,target")
                self.assertEqual(set(printed[PACKETS].samples), made, host.name)

    def test_own_labels_are_those_of_label_replace(self) -> None:
        printed_labels = set()
        for host in self.hosts:
            for name, regex in host.own_labels.items():
                replacement = "$2" if re.compile(regex).groups else "$1"
                pattern = arbitrary.string(f"(?s:.*?)({regex})(?s:.*)", self.random)
                without = f'label_replace({host.series(PACKETS, [])}, "{name}", "", "", "")'
                replaced = f'label_replace({without}, "{name}", "{replacement}", "rule", {pattern})'
                with self.subTest(host=host.name, label=name):
                    printed = vector(self.whole[host.name], PACKETS)
                    self.assertEqual(self.prometheus.query(replaced), printed)
                    printed_labels |= {label for series in printed for label, _ in series}
        self.assertLessEqual(set(OWN_LABELS), printed_labels, "each is a label of some rule")

    # --- selecting and summing

    def test_selected_sums(self) -> None:
        some_but_not_all = 0
        cases = self.hosts * 50
        for host in cases:
            count = self.random.choice((0, 1, 1, 1, 2, 3))
            selectors = [written(self.some_selector(host), self.random) for _ in range(count)]
            names = self.some_labels(host)
            kept = list(dict.fromkeys([*host.source, *names]))
            metric = self.random.choice((PACKETS, BYTES))
            with self.subTest(host=host.name, select=selectors, sum_by=names, seed=SEED):
                run = host.run(selectors, sum_by(names))
                query = f"sum by ({','.join(kept)}) ({host.series(metric, selectors)})"
                try:
                    expected = self.prometheus.query(query)
                except Refused as error:
                    self.assertEqual(run.status, 2, error)
                    continue
                assert_answered(run)
                self.assertEqual(vector(run.metrics, metric), expected)
                if metric in run.metrics:
                    for series in run.metrics[metric].samples:
                        self.assertEqual([name for name, _ in series], sorted(kept))
                everything = total(self.whole[host.name], metric)
                some_but_not_all += 0 < sum(expected.values()) < everything
        self.assertGreater(some_but_not_all, len(cases) / 5, "the cases must mean something")

    def test_every_sum_has_the_same_total(self) -> None:
        for host in self.hosts:
            for _ in range(8):
                selector = written(self.some_valid_selector(host), self.random)
                names = self.some_labels(host)
                with self.subTest(host=host.name, select=selector, sum_by=names, seed=SEED):
                    rules = self.metrics(host, [selector])
                    summed = self.metrics(host, [selector], sum_by(names))
                    one = self.metrics(host, [selector], "--sum-by=")
                    self.assertEqual(total(summed, PACKETS), total(rules, PACKETS))
                    self.assertEqual(total(one, BYTES), total(rules, BYTES))
                    self.assertLessEqual(len(vector(one, PACKETS)), 1)

    def test_a_selector_and_its_complement_are_all(self) -> None:
        for host in self.hosts:
            for _ in range(8):
                selector = self.some_valid_selector(host)
                # Not all of them: any of them not.
                complement = [written([matcher.negated()], self.random) for matcher in selector]
                if not complement:
                    continue
                with self.subTest(host=host.name, complement=complement, seed=SEED):
                    printed = self.metrics(host, [written(selector, self.random)])
                    others = self.metrics(host, complement)
                    for metric in (PACKETS, BYTES):
                        both = total(printed, metric) + total(others, metric)
                        self.assertEqual(both, total(self.whole[host.name], metric))

    def test_max_series_leaves_out_the_last(self) -> None:
        for host in self.hosts:
            names = self.some_labels(host)
            rules = list(self.metrics(host, [], sum_by(names))[PACKETS].samples.items())
            limit = self.random.randint(1, len(rules) + 1)
            run = host.run([], sum_by(names), f"--max-series={limit}")
            with self.subTest(host=host.name, sum_by=names, limit=limit, seed=SEED):
                self.assertEqual(run.status, 0)
                self.assertEqual(list(run.metrics[PACKETS].samples.items()), rules[:limit])
                omitted = max(0, len(rules) - limit)
                self.assertEqual(total(run.metrics, "iptables_series_omitted"), omitted)
                self.assert_messages(run, *([f"{omitted} rule series"] if omitted else []))

    # --- what selectors mean to chains

    def test_matchers_on_chains_select_series_of_chains(self) -> None:
        for host in self.hosts:
            for _ in range(12):
                count = self.random.randint(1, 2)
                selectors = [self.some_valid_selector(host) for _ in range(count)]
                texts = [written(selector, self.random) for selector in selectors]
                on_chains = [
                    written([matcher for matcher in selector if matcher.is_on_chain], self.random)
                    for selector in selectors
                ]
                with self.subTest(host=host.name, select=texts, seed=SEED):
                    printed = self.metrics(host, texts, sum_by(self.some_labels(host)))
                    for metric in OF_CHAINS:
                        expected = self.prometheus.query(host.series(metric, on_chains))
                        self.assertEqual(vector(printed, metric), expected, metric)
                    kept = self.prometheus.query(host.series("iptables_rules", on_chains))
                    if host.tables:
                        self.assertEqual(vector(printed, HASH), self.hashes(host, kept))
                    for metric in set(self.whole[host.name]) - {PACKETS, BYTES, HASH, *OF_CHAINS}:
                        self.assertIn(metric, printed, "health is not filtered")

    def hashes(self, host: Host, kept: Vector) -> Vector:
        """Of a ruleset that has no other chains than those."""
        tables = []
        for table in host.tables:
            names = {
                chain.name
                for chain in table.chains
                if labels(chain=chain.name, table=table.name, **host.source) in kept
            }
            chains = [chain for chain in table.chains if chain.name in names]
            rules = [rule for rule in table.rules if rule.chain in names]
            if chains:
                tables.append(Table(table.name, chains, rules))
        if not tables:
            return {}
        rest = dataclasses.replace(host, path=self.directory / "kept.save")
        rest.path.write_bytes(arbitrary.dump(tables))
        return vector(self.metrics(rest, []), HASH)

    # --- what is no selector

    BOTH_ACCEPT = (
        "{}",
        " {\t\r\n} ",
        '{table="filter"}',
        '{table="filter",}',
        "{table = 'filter' , chain !~ `KUBE-.*` ,\n}",
        '{table="",table!="",table=~"",table!~""}',
        r'{comment="\a\b\f\n\r\t\v\\\"\x41\u00fc\U0001F525"}',
        r"{comment='\''}",
        "{comment=`\\\n\r\"'`}",
        r'{comment="\xff"}',
        '{comment=~"^a$|(?i)B|[[:alpha:]]|\\\\pL|(?P<x>y)|z{2,3}?|\\\\Q.\\\\E"}',
        '{comment="🔥\x01"}',
        r"{table=~`\Qa.b`}",
    )
    BOTH_REFUSE = (
        "{",
        "}",
        "{,}",
        "{table}",
        '{table="a",,}',
        '{table="a" chain="b"}',
        '{table="a"}}',
        '{table="a"} x',
        '{table=="a"}',
        '{table~"a"}',
        '{table= ~"a"}',
        '{table<"a"}',
        "{table=a}",
        '{table="a}',
        "{table='a\"}",
        "{table=`a}",
        '{table="a\n"}',
        r'{table="\'"}',
        r"""{table='\"'}""",
        r'{table="\`"}',
        r'{table="\d"}',
        r'{table="\/"}',
        r'{table="\x4"}',
        r'{table="\u00f"}',
        r'{table="\ud800"}',
        r'{table="\U00110000"}',
        r'{table="\400"}',
        r'{table="\1"}',
        r'{table="\xzz"}',
        '{0="a"}',
        '{tàble="a"}',
        '{table\u00a0="a"}',
        '{table\v="a"}',
        "{table=~`(`}",
        "{table=~`)`}",
        "{table=~`a)(b`}",
        "{table=~`*`}",
        "{table=~`a**`}",
        "{table=~`[b-a]`}",
        "{table=~`[[:x:]]`}",
        r"{table=~`\8`}",
        r"{table=~`\pX`}",
        r'{table=~"\xff."}',
        "{table=~`x{1001}`}",
        "{table=~`x{2,1}`}",
        "{table=~`(?=a)`}",
        "{table=~`(?<!a)`}",
        r"{table=~`(a)\1`}",
        "{table=~`a\\`}",
        '{table="\udcff"}',  # a byte that is not UTF-8
    )
    # Intended, each with its reason.
    ONLY_WE_REFUSE = {
        r'{comment="\101"}': "nobody prints octal",
        '{tabel="filter"}': "a typo must not match nothing in silence",
        '{__name__="x"}': "a selector is over rules",
        '{table="filter" # x\n}': "no comments on a command line",
        r"{table=~`\pL{1000}`}": "too large for RE2",
        '{"filter"}': "a metric's name, and a selector is over rules",
        '{"table"="filter"}': "no label of rules has a name that needs quotes",
        r'{table=~"\xff"}': "not UTF-8, of which Prometheus takes plain text too, but RE2 nothing",
    }
    ONLY_WE_ACCEPT = {
        '{comment="\ufffd"}': "what we print can be pasted",
        r"{table=~`\C`}": "a byte, for RE2",
    }
    # Of these, Prometheus 2.42 says the opposite, and 2.53 what 3.5 says.
    SINCE_2_53 = ('{"filter"}', '{"table"="filter"}', r'{table=~"\xff"}', r"{table=~`\Qa.b`}")

    def is_ours_alone(self, refusal: str) -> bool:
        """Whether it is for a reason of ONLY_WE_REFUSE."""
        message, illustration, caret = refusal.splitlines()
        if "expected a label name" in message:  # and there is a name in quotes
            return illustration[len(caret) - 1 :][:1] in ("'", '"', "`")
        return "one of the labels" in message or "(invalid UTF-8)" in message

    def we_accept(self, selector: str) -> bool:
        run = self.hosts[0].run([selector])
        if run.status == 0:
            assert_answered(run)
            return True
        self.assertEqual((run.status, run.out), (2, b""), run)
        self.last_refusal = run.err.decode("ascii")
        message, illustration, caret = self.last_refusal.splitlines()
        self.assertRegex(message, r"\Aiptables_exporter: error: --select: expected [ -~]+\Z")
        self.assertRegex(caret, r"\A *\^\Z")
        self.assertLessEqual(len(caret), len(illustration) + 1)
        return False

    def prometheus_accepts(self, selector: str) -> bool:
        try:
            self.prometheus.check_selector(selector)
        except Refused:
            return False
        return True

    def test_known_refusals(self) -> None:
        differing = self.SINCE_2_53 if version() < (2, 53) else ()
        tables = (
            (self.BOTH_ACCEPT, True, True),
            (self.BOTH_REFUSE, False, False),
            (self.ONLY_WE_REFUSE, False, True),
            (self.ONLY_WE_ACCEPT, True, False),
        )
        for selectors, ours, theirs in tables:
            for selector in selectors:
                with self.subTest(selector):
                    self.assertEqual(self.we_accept(selector), ours)
                    if selector not in differing:
                        self.assertEqual(self.prometheus_accepts(selector), theirs)

    def test_damaged_selectors_are_refused_as_prometheus_does(self) -> None:
        host = self.hosts[0]
        accepted = 0
        count = 400
        for _ in range(count):
            selector = written(self.some_selector(host), self.random)
            selector = arbitrary.damaged(selector, self.random)
            with self.subTest(selector, seed=SEED):
                ours = self.we_accept(selector)
                theirs = self.prometheus_accepts(selector)
                accepted += ours
                if ours == theirs:
                    continue
                if ours:
                    self.assertRegex(selector, r"\\[QC]|\(\?P<")  # names of groups may be of any letters
                elif "#" not in selector and not re.search(r"\\[0-3][0-7]{2}", selector):  # octal is PromQL's alone
                    self.assertTrue(self.is_ours_alone(self.last_refusal), self.last_refusal)
        self.assertTrue(count / 50 < accepted < count / 2, f"{accepted} of {count} are still valid")


if __name__ == "__main__":
    os.environ["PROMQL_SEED"] = str(SEED)  # for the process that support.main() makes
    support.main(support.netfilter, support.node_exporter, support.prometheus)
