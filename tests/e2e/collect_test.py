"""Real rules and real traffic on both backends, compared with an independent reading of the dump."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from hostile import HOSTILE_CHAINS, HOSTILE_COMMENTS
from oracle import COUNTER_FAMILIES, expected, labels, read_metrics, read_save
from support import (
    ExporterTestCase,
    Network,
    Run,
    main,
    mode,
    netfilter,
    nobody_with,
    path_to_backend,
    private_namespaces,
    unshown,
    value,
)

HELP = {
    "iptables_default_bytes_total": "Total bytes matching a chain's default policy.",
    "iptables_default_packets_total": "Total packets matching a chain's default policy.",
    "iptables_rule_bytes_total": "Total bytes matching a rule.",
    "iptables_rule_packets_total": "Total packets matching a rule.",
    "iptables_scrape_duration_seconds": "Duration of scraping iptables.",
    "iptables_scrape_success": "Whether scraping iptables succeeded.",
}
CAPABILITIES = ("net_admin", "net_raw", "dac_read_search")


class Collecting:
    """What must hold on each backend."""

    backend: str
    needed: tuple[str, ...]  # capabilities

    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network(self.backend))
        self.path = path_to_backend(self.directory / "bin", self.backend)

    def assert_exact(self, text: bytes, dump: bytes) -> None:
        """The counter series are those of the dump, in its order."""
        families = read_metrics(text)
        for name, series in expected(dump).items():
            written = families[name].samples if name in families else {}
            self.assertEqual(list(written.items()), [(key, str(n)) for key, n in series.items()], name)

    def collect(self, *arguments: str | Path, **options: object) -> Run:
        """Runs the program, which must get everything right, and returns the run."""
        run, dump = self.network.export_when_quiet(*arguments, path=self.path, **options)
        self.assert_success(run)
        self.assert_exact(run.out, dump)
        return run

    def test_traffic_is_counted(self) -> None:
        network = self.network
        network.restore(
            b"*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp\nCOMMIT\n"
            b"*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
            b":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n"
            b"*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
            b":counted - [0:0]\n:unused - [0:0]\n"
            b"-A INPUT -j counted\n-A INPUT -i lo -j ACCEPT\n"
            b"-A counted -p udp -m udp --dport 5353\n-A counted -p udp -m udp ! --dport 5353\n"
            b'-A counted -p tcp -m tcp --dport 80 -m comment --comment "web, both ways"\n'
            b"-A counted -p icmp -m icmp --icmp-type 8\n-A counted -p icmp -m icmp --icmp-type 8\n"
            b"COMMIT\n"
        )
        network.send_udp(5353, b"x" * 100, b"y" * 50, b"")
        network.send_udp(5354, b"z")
        network.send_tcp(80, b"t" * 10000)
        network.ping(4, b"p" * 56)

        families = self.collect().metrics

        def counted(rule: str) -> tuple[str, str]:
            series = labels(chain="counted", rule=rule, table="filter")
            return (
                value(families, "iptables_rule_packets_total", series),
                value(families, "iptables_rule_bytes_total", series),
            )

        # Sent: a header of 28 bytes each, and the payload.
        self.assertEqual(counted("-p udp -m udp --dport 5353"), ("3", "234"))
        self.assertEqual(counted("-p udp -m udp ! --dport 5353"), ("1", "29"))
        self.assertEqual(counted("-p icmp -m icmp --icmp-type 8"), ("8", "672"))
        web = counted('-p tcp -m tcp --dport 80 -m comment --comment "web, both ways"')
        self.assertGreater(int(web[1]), 10000)
        self.assertEqual(value(families, "iptables_rules", labels(chain="INPUT", table="filter")), "2")
        self.assertEqual(value(families, "iptables_rules", labels(chain="counted", table="filter")), "5")
        self.assertEqual(value(families, "iptables_rules", labels(chain="unused", table="filter")), "0")
        for name in ("iptables_default_bytes_total", "iptables_default_packets_total"):
            chains = {dict(series)["chain"] for series in families[name].samples}
            self.assertEqual(chains, {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

    def test_help_types_and_health(self) -> None:
        self.network.iptables("-A", "INPUT", "-p", "udp")
        before = time.time()
        families = self.collect().metrics
        self.assertTrue(set(HELP) < set(families), families.keys())
        for name, text in HELP.items():
            self.assertEqual(families[name].help, f"iptables_exporter: {text}")
        for family in families.values():
            self.assertEqual(family.type, "counter" if family.name.endswith("_total") else "gauge")
        self.assertEqual(families["iptables_scrape_success"].samples, {(): "1"})
        self.assertGreater(float(value(families, "iptables_scrape_duration_seconds")), 0)
        last_success = float(value(families, "iptables_last_success_timestamp_seconds"))
        self.assertTrue(before - 0.001 <= last_success <= time.time() + 0.001, last_success)
        (build_info,) = families["iptables_exporter_build_info"].samples.items()
        self.assertEqual(([name for name, _ in build_info[0]], build_info[1]), (["version"], "1"))

    def test_random_rules(self) -> None:
        seed = int(os.environ.get("E2E_SEED", random.SystemRandom().getrandbits(32)))
        print(f"{self.backend}: E2E_SEED={seed}")
        rules = RandomRules(random.Random(seed), 500)
        self.network.restore(rules.text)

        # So that the test does not agree with itself on nothing: the kernel holds what was meant.
        held = [rule for table in read_save(self.network.save()) for rule in table.rules]
        self.assertEqual(len(held), 500)
        self.assertEqual(sorted((rule.packets, rule.bytes) for rule in held), sorted(rules.counters))
        self.assertLess(len({(rule.chain, rule.text) for rule in held}), 500 - 20, "no duplicates")

        for arguments in ((), ("-o", self.target)):
            run, dump = self.network.export_when_quiet(*arguments, path=self.path)
            self.assert_success(run)
            self.assert_exact(self.target.read_bytes() if arguments else run.out, dump)

    def test_hostile_comments_and_chains(self) -> None:
        for chain in HOSTILE_CHAINS:
            self.network.iptables("-N", chain)
            self.network.iptables("-A", "INPUT", "-j", chain)
            self.network.iptables("-A", chain, "-c", "1", "2")
        for packets, comment in enumerate(HOSTILE_COMMENTS):
            counters = ("-c", str(packets), "100")
            self.network.iptables("-A", "INPUT", *counters, "-m", "comment", "--comment", comment)
        self.network.iptables("-A", "INPUT", "-m", "comment", "--comment", "one",
                              "-m", "comment", "--comment", "and\ntwo", "-j", "COMMIT")  # fmt: skip
        self.network.iptables("-A", "INPUT", "-j", "LOG", "--log-prefix", '--comment "x" -j ')
        self.network.iptables("-A", "INPUT", "-m", "string", "--algo", "bm",
                              "--string", '--comment "x\\y\' -j DROP')  # fmt: skip

        families = self.collect().metrics
        rules = families["iptables_rule_packets_total"].samples
        self.assertEqual(unshown(families, "incompatible"), {(): "0"})
        self.assertNotIn("EVIL", {dict(series)["chain"] for series in rules})
        # Two comments and two chains are equal once they are valid UTF-8, and are one series.
        in_input = [series for series in rules if dict(series)["chain"] == "INPUT"]
        self.assertEqual(len(in_input), len(HOSTILE_CHAINS) + len(HOSTILE_COMMENTS) + 3 - 2)
        replaced = labels(chain="\ufffd", rule="", table="filter")
        self.assertEqual(value(families, "iptables_rule_packets_total", replaced), "2")

    def test_names_that_look_like_comments(self) -> None:
        """Names are printed raw, even if they are empty or hold what opens a comment."""
        rules = (  # and what they are summed by
            (("-i", 'a --comment "', "-j", "ACCEPT"), "", "ACCEPT"),
            (("-o", '--comment "', "-m", "comment", "--comment", " b"), " b", ""),
            (("-s", "10.0.0.1", "-j", "DROP"), "", "DROP"),
            (("-m", "comment", "--comment", "two words", "-j", "DROP"), "two words", "DROP"),
            (("-m", "physdev", "--physdev-in", "", "-j", "LOG", "--log-prefix", "--comment c -j X "),
             "", "LOG"),
        )  # fmt: skip
        for packets, (rule, _, _) in enumerate(rules):
            self.network.iptables("-A", "FORWARD", "-c", str(packets), "1", *rule)
        run = self.network.export("--sum-by", "rule,comment,target", path=self.path)
        self.assert_success(run)
        samples = run.metrics["iptables_rule_packets_total"].samples
        summed = [(dict(series)["comment"], dict(series)["target"]) for series in samples]
        self.assertEqual(summed, [(comment, target) for _, comment, target in rules])
        self.assertEqual(list(samples.values()), [str(packets) for packets in range(len(rules))])

    def test_sums_of_duplicates_saturate(self) -> None:
        most = 2**64 - 1
        rule = b"[%d:%d] -A INPUT -p udp -j ACCEPT\n"
        self.network.restore(
            b"*filter\n:INPUT ACCEPT [%d:%d]\n" % (most, most - 1)
            + b":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
            + rule % (most, most - 10) + rule % (0, 9) + rule % (0, 2)
            + b"COMMIT\n"
        )  # fmt: skip
        families = self.collect().metrics
        series = labels(chain="INPUT", rule="-p udp -j ACCEPT", table="filter")
        self.assertEqual(value(families, "iptables_rule_packets_total", series), str(most))
        self.assertEqual(value(families, "iptables_rule_bytes_total", series), str(most))
        default = labels(chain="INPUT", policy="ACCEPT", table="filter")
        self.assertEqual(value(families, "iptables_default_bytes_total", default), str(most - 1))

    def test_saved_dump_is_read_like_the_command(self) -> None:
        self.network.restore(RandomRules(random.Random(1), 20).text)
        dump = self.network.save()
        saved = self.directory / "rules.save"
        saved.write_bytes(dump)
        with saved.open("rb") as stdin:
            runs = [self.network.export("-i", saved), self.network.export("-i", "-", stdin=stdin)]
        for run in runs:
            self.assert_success(run)
            self.assert_exact(run.out, dump)

    def test_options_without_effect(self) -> None:
        """Are warned of where somebody sees it, and cron mails nothing."""
        self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "22")
        no_effect = "warning: --label port has no effect: no --select, --sum-by or --hash names it"
        replaced = "warning: --label dport replaces the label of that name"
        no_rule = "warning: no rule matches --select, so no rule series is written"
        port, dport = ("--label", "port=(22)"), ("--label", "dport=--dport (2)")
        for options, on_stdout in (
            (port, [no_effect]),
            ([*port, "--hash", '{port="22"}'], []),
            ([*dport, "--sum-by", "dport"], [replaced]),
            (["--select", '{dport="23"}'], [no_rule]),
            (["--select", '{dport="23"}', "--select", '{dport="22"}'], []),
        ):
            with self.subTest(options):
                run = self.network.export(*options, path=self.path)
                self.assertEqual(run.status, 0)
                self.assert_says(run, *on_stdout)
                run = self.network.export(*options, "-o", self.target, path=self.path)
                self.assertEqual(run.status, 0)
                self.assert_says(run)

    def test_no_tables(self) -> None:
        run = self.network.export(path=self.path)
        self.assertEqual(run.status, 0)
        self.assert_says(run, "warning: there are no rules: the kernel has no table of iptables")
        self.assertFalse(set(COUNTER_FAMILIES) & set(run.metrics))

        run = self.network.export("--allow-empty", path=self.path)
        self.assert_success(run)
        self.assertEqual(run.metrics["iptables_scrape_success"].samples, {(): "1"})
        self.assertFalse(set(COUNTER_FAMILIES) & set(run.metrics))

    def test_file_is_for_everyone_whatever_the_umask(self) -> None:
        self.network.iptables("-A", "INPUT")
        run = self.network.export("-o", self.target, path=self.path, umask=0o077)
        self.assert_success(run)
        self.assertEqual(run.out, b"")
        self.assertEqual(mode(self.target), 0o644)
        self.assert_only_target()

    def test_other_user_with_capabilities(self) -> None:
        self.network.iptables("-A", "INPUT", "-c", "3", "4", "-p", "udp")
        self.collect(before=nobody_with(*CAPABILITIES))

        os.chmod(self.target.parent, 0o777)
        run, dump = self.network.export_when_quiet(
            "-o", self.target, path=self.path, before=nobody_with(*CAPABILITIES)
        )
        self.assert_success(run)
        self.assert_exact(self.target.read_bytes(), dump)

    def test_other_user_without_capabilities(self) -> None:
        """Only what this backend needs and is missing is named."""
        self.network.iptables("-A", "INPUT", "-c", "3", "4", "-p", "udp")
        for has in ((), ("net_raw", "dac_read_search"), ("net_admin", "net_raw")):
            missing = [name for name in CAPABILITIES if name in self.needed and name not in has]
            with self.subTest(missing):
                run, _ = self.network.export_when_quiet("--backend", self.backend, before=nobody_with(*has))
                if not missing:
                    self.assert_success(run)
                    continue
                self.assertEqual(run.status, 1)
                lacks = ", ".join(f"CAP_{name.upper()}" for name in missing)
                self.assertRegex(
                    run.err.decode(),
                    rf"\Aiptables_exporter: error: iptables-{self.backend}-save[ :].*"
                    rf"ermission denied.*; the command lacks {lacks}: run as root or with ambient capabilities \(the "
                    r"systemd unit, setpriv --ambient-caps\); capabilities set with setcap are not passed to "
                    r"iptables-save\n\Z",
                )


class Nft(Collecting, ExporterTestCase):
    backend = "nft"
    needed = ("net_admin",)

    def test_incompatible_table(self) -> None:
        """What iptables-save cannot show is left out with a warning; the rest is there."""
        self.network.iptables("-A", "INPUT", "-c", "3", "4", "-p", "udp")
        self.network.iptables("-t", "nat", "-A", "OUTPUT")
        only_nft_knows = "limit rate over 5/second drop"
        self.network.run("nft", "add", "rule", "ip", "nat", "OUTPUT", *only_nft_knows.split())
        self.assertIn(b"# Table `nat' is incompatible", self.network.save())

        run, dump = self.network.export_when_quiet(path=self.path)
        self.assertEqual(run.status, 0, run)
        self.assert_says(
            run, "warning: tables that only nft can show whole (nft list ruleset): nat of iptables-save"
        )
        self.assert_exact(run.out, dump)
        families = run.metrics
        self.assertEqual(value(families, "iptables_scrape_success"), "1")
        self.assertEqual(unshown(families, "incompatible"), {(): "1"})
        self.assertEqual({dict(s)["table"] for s in families["iptables_rules"].samples}, {"filter"})


class Legacy(Collecting, ExporterTestCase):
    backend = "legacy"
    needed = CAPABILITIES  # /proc/net/ip_tables_names is for root and those who may read everything


class System(ExporterTestCase):
    """The iptables-save that the system has, whatever its backend."""

    def test_found_in_path_of_cron(self) -> None:
        version = subprocess.run(["iptables-save", "--version"], capture_output=True).stdout
        with Network("nft" if b"nf_tables" in version else "legacy") as network:
            network.iptables("-A", "INPUT", "-p", "udp", "-m", "udp", "--dport", "53")
            for path in ("/usr/bin:/bin", "", "/nonexistent:relative"):
                run = network.export(path=path)
                self.assert_success(run)
                rules = run.metrics["iptables_rule_packets_total"].samples
                self.assertEqual(
                    rules, {labels(chain="INPUT", rule="-p udp -m udp --dport 53", table="filter"): "0"}
                )


class RandomRules:
    """Rules for iptables-restore -c in several tables, with what iptables prints in odd ways."""

    def __init__(self, random: random.Random, count: int) -> None:
        self.random = random
        self.counters: list[tuple[int, int]] = []  # packets, bytes
        tables = {
            "filter": ["INPUT", "FORWARD", "OUTPUT"],
            "mangle": ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
            "nat": ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
            "raw": ["PREROUTING", "OUTPUT"],
        }
        per_table = self.split(count, len(tables))
        text = []
        for (table, builtin), rules in zip(tables.items(), per_table):
            own = self.chain_names()
            text.append(b"*%s" % table.encode())
            for chain in builtin:
                policy = "ACCEPT" if table == "nat" else random.choice(["ACCEPT", "DROP"])
                text.append(b":%s %s [%d:%d]" % (chain.encode(), policy.encode(), *self.pair()))
            text += [b":%s - [0:0]" % chain for chain in own]
            text += self.rules(rules, [chain.encode() for chain in builtin], own, table)
            text.append(b"COMMIT")
        self.text = b"\n".join(text) + b"\n"

    def split(self, count: int, parts: int) -> list[int]:
        cuts = sorted(self.random.randint(0, count) for _ in range(parts - 1))
        return [end - begin for begin, end in zip([0, *cuts], [*cuts, count])]

    def chain_names(self) -> list[bytes]:
        special = [b"COMMIT", b":x", b"*x", b"#x", b'a"b', b"x[1:2]", b"\x80", "é".encode()]
        plain = [b"chain-%d" % self.random.randrange(10**6) for _ in range(3)]
        return list(dict.fromkeys(plain + self.random.sample(special, 3)))

    def pair(self) -> tuple[int, int]:
        most = self.random.choice([0, 10, 10**6, 2**53 + 2, 2**64 - 1])
        return self.random.randint(0, most), self.random.randint(0, most)

    def rules(self, count: int, builtin: list[bytes], own: list[bytes], table: str) -> list[bytes]:
        rules: list[tuple[bytes, bytes]] = []
        for _ in range(count):
            if rules and self.random.random() < 0.2:
                rules.append(self.random.choice(rules))
            else:
                index = self.random.randrange(len(builtin) + len(own))
                # A jump goes to a later chain only, or the kernel would see a loop.
                later = own[max(0, index - len(builtin) + 1) :]
                chain = (builtin + own)[index]
                rules.append((chain, self.rule(chain, later, table)))
        lines = []
        for chain, text in rules:
            self.counters.append(self.pair())
            lines.append(b"[%d:%d] -A %s%s" % (*self.counters[-1], self.quoted(chain), text))
        return lines

    def rule(self, chain: bytes, targets: list[bytes], table: str) -> bytes:
        parts = [self.address(), self.protocol()]
        if chain not in (b"OUTPUT", b"POSTROUTING"):
            parts.append(self.random.choice([b"", b"", b"-i lo", b"! -i eth+", b'-i "a\\"b"']))
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            parts.append(b"-m comment --comment " + self.quoted(self.comment()))
        parts.append(self.target(targets, table))
        return b"".join(b" " + part for part in parts if part)

    def address(self) -> bytes:
        octet = self.random.randrange(256)
        return self.random.choice([b"", b"-s 10.%d.0.0/16" % octet, b"! -d 192.0.2.%d/32" % octet])

    def protocol(self) -> bytes:
        port = self.random.randrange(1, 65536)
        return self.random.choice(
            [
                b"",
                b"! -p udp",
                b"-p icmp -m icmp ! --icmp-type 8",
                b"-p udp -m udp --dport %d" % port,
                b"-p tcp -m tcp ! --sport %d:65535" % port,
                b"-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
                b"-p tcp -m multiport --dports %d,80:90" % port,
            ]
        )

    def target(self, targets: list[bytes], table: str) -> bytes:
        log = b"-j LOG --log-prefix " + self.quoted(self.comment()[:29])
        choices = [b"", b"-j ACCEPT", b"-j RETURN", log]
        if table != "nat":
            choices.append(b"-j DROP")
        for chain in targets:
            choices += [b"-j " + self.quoted(chain), b"-g " + self.quoted(chain)]
        return self.random.choice(choices)

    def comment(self) -> bytes:
        """What a line of iptables-restore can hold: no NUL, no newline."""
        characters = self.random.choice([b"abc-_", b"ab \"\\'", bytes({*range(1, 256)} - {10})])
        return bytes(self.random.choices(characters, k=self.random.choice([1, 3, 10, 100])))

    def quoted(self, text: bytes) -> bytes:
        return b'"%s"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


if __name__ == "__main__":
    main(private_namespaces, netfilter)
