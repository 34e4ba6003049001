#!/usr/bin/env python3
"""How full the sets of ipset are that rules match: as `ipset list` says, and on one page of a host."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from oracle import Labels, labels, read_metrics
from served_case import ServedCase
from support import (
    Run,
    eventually,
    executable,
    main,
    mounted,
    netfilter,
    no_sanitizer,
    nobody_with,
    node_exporter,
    prometheus,
    run,
    syscall_injection,
)

ENTRIES, MAXIMUM, REFERENCES = (
    f"iptables_set_{name}" for name in ("entries", "max_entries", "references")
)


def ipset() -> str | None:
    if not shutil.which("ipset"):
        return "needs ipset"
    made = subprocess.run(("unshare", "--net", "ipset", "create", "x", "hash:ip"), capture_output=True)
    return "needs a kernel with ipset" if made.returncode != 0 else None


class IpSetsCase(ServedCase):
    def ipset(self, *arguments: str | bytes) -> bytes:
        return self.network.run("ipset", *arguments)

    def export(self, *arguments: str | Path, **options: object) -> Run:
        return self.network.export(*arguments, **{"path": self.path, **options})

    def listed(self) -> dict[str, dict[Labels, str]]:
        """The three metrics as `ipset list -terse` has them."""
        metrics: dict[str, dict[Labels, str]] = {ENTRIES: {}, MAXIMUM: {}, REFERENCES: {}}
        for block in self.ipset("list", "-terse").decode().strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            series = labels(set=fields["Name"])
            metrics[ENTRIES][series] = fields["Number of entries"]
            metrics[REFERENCES][series] = fields["References"]
            if found := re.search(r"\b(?:maxelem|size) (\d+)", fields["Header"]):
                metrics[MAXIMUM][series] = found[1]
        return metrics

    def assert_as_listed(self, run: Run) -> None:
        self.assertEqual(self.of_sets(run.out), self.listed())

    @staticmethod
    def of_sets(text: bytes) -> dict[str, dict[Labels, str]]:
        return {
            name: family.samples for name, family in read_metrics(text).items() if name.startswith("iptables_set_")
        }


class WhatTheySay(IpSetsCase):
    def test_as_ipset_lists_them(self) -> None:
        """Every kind, in use and not, empty and full."""
        for line in (
            "create addresses hash:ip", "add addresses 192.0.2.1", "add addresses 192.0.2.2",
            "create full hash:net maxelem 2", "add full 198.51.100.0/24", "add full 203.0.113.0/24",
            "create six hash:net family inet6 hashsize 64 maxelem 1000", "add six 2001:db8::/32",
            "create ports bitmap:port range 1-1024", "add ports 22",
            "create all list:set size 16", "add all addresses", "add all six",
            "create empty hash:ip,port",
        ):  # fmt: skip
            self.ipset(*line.split())
        with self.assertRaises(AssertionError):
            self.ipset("add", "full", "192.0.2.0/24")
        for command, name in (
            ("iptables-nft", "addresses"),
            ("iptables-nft", "full"),
            ("ip6tables-nft", "six"),
            ("iptables-legacy", "addresses"),
            ("ip6tables-legacy", "six"),
        ):
            self.network.run(command, "-A", "INPUT", "-m", "set", "--match-set", name, "src", "-j", "DROP")
        run = self.export()
        self.assert_as_listed(run)
        self.assertEqual(run.metrics[ENTRIES].samples[labels(set="full")], "2")
        self.assertEqual(run.metrics[MAXIMUM].samples[labels(set="full")], "2")
        self.assertEqual(run.metrics[REFERENCES].samples[labels(set="addresses")], "3")
        self.assertNotIn(labels(set="ports"), run.metrics[MAXIMUM].samples)
        self.assertEqual(run.metrics[MAXIMUM].samples[labels(set="all")], "16")

        hash_before = run.metrics["iptables_ruleset_hash"].samples
        self.ipset("flush", "addresses")
        run = self.export()
        self.assertEqual(run.metrics["iptables_ruleset_hash"].samples, hash_before)
        self.assertEqual(run.metrics[ENTRIES].samples[labels(set="addresses")], "0")
        self.assert_as_listed(run)

    def test_expired_entries_do_not_count(self) -> None:
        self.ipset("create", "jail", "hash:ip", "timeout", "600")
        self.ipset("add", "jail", "192.0.2.1")
        self.ipset("add", "jail", "192.0.2.2", "timeout", "1")

        def number() -> str:
            return self.export().metrics[ENTRIES].samples[labels(set="jail")]

        eventually(lambda: number() == "1", "one has expired")

    def test_many(self) -> None:
        lines = [f"create s{n:03} hash:ip" for n in range(300)]
        lines += [f"add s{n:03} 10.0.{n // 256}.{n % 256}" for n in range(0, 300, 2)]
        self.network.run("ipset", "restore", stdin="\n".join(lines).encode())
        run = self.export("--max-series", "1")
        self.assert_as_listed(run)
        self.assertEqual(len(run.metrics[ENTRIES].samples), 300)

    def test_names(self) -> None:
        """Whatever ipset takes, promtool and node_exporter take too; what becomes one series is a sum."""
        names = ['say "no"', "two  blanks ", "back\\slash", "ünïcode", '{a="b"}', "#", "-", "a\tb", "a\nb"]
        names += ["x" * 31, "\N{SNOWMAN}" * 10]
        taken = [name for name in names if self.takes(name.encode())]
        self.assertGreater(len(taken), 5)
        for name in (b"\xff", b"\xfe"):
            self.assertTrue(self.takes(name))
            self.ipset("add", name, "192.0.2.1")
        self.network.iptables("-A", "INPUT")
        self.assert_success(self.export("-o", self.target))
        page = self.target.read_bytes()
        samples = read_metrics(page)[ENTRIES].samples
        wanted = {labels(set=name): "0" for name in taken}
        self.assertEqual(samples, wanted | {labels(set="\N{REPLACEMENT CHARACTER}"): "2"})
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
        self.assertEqual((checked.returncode, checked.stderr), (0, b""))
        self.start_node_exporter()
        served = read_metrics(self.scrape())
        self.assertEqual(served["node_textfile_scrape_error"].samples, {(): "0"})
        self.assertEqual(served[ENTRIES].samples, samples)

    def takes(self, name: bytes) -> bool:
        try:
            self.ipset("create", name, "hash:ip")
        except AssertionError:
            return False
        return True


class WhoWritesThem(IpSetsCase):
    def setUp(self) -> None:
        super().setUp()
        self.ipset("create", "jail", "hash:ip")
        self.wanted = self.listed()
        self.network.iptables("-A", "INPUT", "-m", "set", "--match-set", "jail", "src")
        self.wanted[REFERENCES] = {labels(set="jail"): "1"}

    def test_one_of_two_pages(self) -> None:
        self.start_node_exporter()
        for first, second in (
            (("-f", "ipv4"), ("-f", "ipv6")),
            (("-b", "nft"), ("-b", "legacy")),
            (("-f", "ipv4", "-b", "nft,legacy"), ("-f", "ipv6", "-b", "nft,legacy")),
            ((), ("-f", "ipv6")),
            (("-f", "ipv6,ipv4", "-b", "legacy,nft"), ("-f", "ipv6", "-b", "legacy")),
        ):
            with self.subTest(first):
                other = self.target.with_name("other.prom")
                # Without --allow-empty: sets are there whatever becomes of the source.
                self.export("-o", self.target, *first)
                self.export("-o", other, *second)
                self.assertEqual(self.of_sets(self.target.read_bytes()), self.wanted)
                self.assertEqual(self.of_sets(other.read_bytes()), {})
                served = self.scrape()
                self.assertEqual(read_metrics(served)["node_textfile_scrape_error"].samples, {(): "0"})
                self.assertEqual(self.of_sets(served), self.wanted)

    def test_not_with_a_dump(self) -> None:
        dump = self.directory / "dump"
        dump.write_bytes(self.network.save())
        self.assertEqual(self.of_sets(self.export("-i", dump).out), {})

    def test_where_the_source_fails(self) -> None:
        for script in ("exit 3", "exec sleep 1000"):
            with self.subTest(script):
                executable(self.directory / "false" / "iptables-save", f"#!/bin/sh\n{script}\n")
                run = self.export("--timeout", "1", path=f"{self.directory}/false:/usr/bin:/bin")
                self.assertEqual((run.status, run.metrics["iptables_scrape_success"].samples), (1, {(): "0"}))
                self.assertEqual(self.of_sets(run.out), self.wanted)

    def test_by_the_capability_of_the_unit(self) -> None:
        run = self.export(before=nobody_with("net_admin", "net_raw"))
        self.assertEqual((run.status, self.of_sets(run.out)), (0, self.wanted), run)
        # Without, it is not known, which is not 0.
        self.assertEqual(self.of_sets(self.export(before=nobody_with("net_raw")).out), {})

    def test_where_the_module_is_not_loaded_it_is_not_asked_for(self) -> None:
        with mounted(Path("/sys/module"), "-t", "tmpfs", "none"):
            self.assertEqual(self.of_sets(self.export().out), {})

    def test_where_the_kernel_does_not_answer(self) -> None:
        for injected, wanted in (
            ("recvfrom:error=EINTR:when=1", self.wanted),  # it changed meanwhile: asked again
            ("recvfrom:error=EINTR", {}),
            ("recvfrom:error=ENOBUFS", {}),
            ("sendto:error=EINVAL", {}),  # no such subsystem
            ("socket:error=EMFILE", {}),
        ):
            with self.subTest(injected):
                run = self.export(before=("strace", "-o/dev/null", f"-einject={injected}", "--"))
                self.assertEqual((run.status, self.of_sets(run.out)), (0, wanted), run)

    def test_in_a_network_namespace(self) -> None:
        """Of that namespace, and with its label."""
        self.enterContext(mounted(Path("/run"), "-t", "tmpfs", "none"))
        subprocess.run(["ip", "netns", "add", "blue"], check=True)
        inside = ("ip", "netns", "exec", "blue")
        subprocess.run([*inside, "ipset", "create", "own", "bitmap:port", "range", "1-9"], check=True)
        subprocess.run([*inside, "iptables-nft", "-A", "INPUT"], check=True)
        run_there = run("--netns", "blue", path=self.path)
        series = labels(netns="blue", set="own")
        self.assertEqual(self.of_sets(run_there.out), {ENTRIES: {series: "0"}, REFERENCES: {series: "0"}})


if __name__ == "__main__":
    main(netfilter, ipset, node_exporter, prometheus, syscall_injection, no_sanitizer)
