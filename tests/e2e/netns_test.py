#!/usr/bin/env python3
"""Network namespaces by name: runs for several share a directory, and none is taken for another."""

from __future__ import annotations

import subprocess
from pathlib import Path

from oracle import read_metrics
from served_case import ServedCase
from support import (
    FIXTURES,
    Run,
    executable,
    main,
    mounted,
    netfilter,
    nobody_with,
    node_exporter,
    private_namespaces,
    run,
)

LAST_SUCCESS = "iptables_last_success_timestamp_seconds"


class NetworkNamespaces(ServedCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mounted(Path("/run"), "-t", "tmpfs", "none"))
        for number, name in enumerate(("blue", 're"d'), start=1):
            self.ip("netns", "add", name)
            for command in ("iptables-nft", "ip6tables-legacy"):
                rule = ("-A", "INPUT", "-p", "tcp", "--dport", str(number))
                self.ip("netns", "exec", name, command, "--wait", *rule)

    def ip(self, *arguments: str) -> None:
        # `ip netns` makes /run/netns a mount point of its own; that goes with our /run.
        subprocess.run(["ip", *arguments], check=True)

    def export(self, name: str, *arguments: str | Path, **options: object) -> Run:
        return run("--netns", name, *arguments, path=self.path, **options)

    def assert_fails(self, run: Run, name: str, message: str) -> None:
        self.assertEqual((run.status, run.err.count(b"\n")), (1, 1), run)
        self.assert_says(run, f"error: {message}; no counters are written")
        success = run.metrics["iptables_scrape_success"].samples
        self.assertEqual(success, {(("netns", name),): "0"})

    def test_several_share_a_directory(self) -> None:
        """Two namespaces and the host itself; every series says whose it is."""
        self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "3")
        all_sources = ("--family", "ipv4,ipv6", "--backend", "legacy,nft")
        sum_by = ("--sum-by", "dport")
        for name in ("blue", 're"d'):
            target = self.target.with_name(f"{name}.prom")
            self.assert_success(self.export(name, "-o", target, *all_sources, *sum_by))
            for family in read_metrics(target.read_bytes()).values():
                for series in family.samples:
                    self.assertEqual(dict(series)["netns"], name)
        self.assert_success(self.network.export("-o", self.target, *all_sources, *sum_by))

        log = self.directory / "log"
        self.start_node_exporter(log)
        families = read_metrics(self.scrape())
        self.assertEqual(families["node_textfile_scrape_error"].samples, {(): "0"})
        ports = {
            (labels.get("netns"), labels["backend"], labels["family"], labels["dport"])
            for labels in map(dict, families["iptables_rule_packets_total"].samples)
        }
        legacy_and_nft = (("legacy", "ipv6"), ("nft", "ipv4"))
        expected = {("blue", *source, "1") for source in legacy_and_nft}
        expected |= {('re"d', *source, "2") for source in legacy_and_nft}
        self.assertEqual(ports, expected | {(None, "nft", "ipv4", "3")})
        self.assertEqual(len(families["iptables_scrape_success"].samples), 12)
        self.assertNotRegex(log.read_text(), "(?i)level=error")

    def test_selectors_know_it(self) -> None:
        for selector, count in (('{netns="blue"}', 1), ('{netns!="blue"}', 0)):
            for option, family in (("--select", "iptables_rules"), ("--hash", "iptables_ruleset_hash")):
                with self.subTest(option=option, selector=selector):
                    exported = self.export("blue", option, selector)
                    self.assertEqual(exported.status, 0, exported)
                    self.assertEqual(family in exported.metrics, bool(count))

    def test_privileges(self) -> None:
        """CAP_SYS_ADMIN, and none where it need not be entered."""
        nft = nobody_with("net_admin")
        self.assert_fails(
            self.export("blue", before=nft),
            "blue",
            "CAP_SYS_ADMIN is needed to enter network namespace /run/netns/blue: "
            "Operation not permitted",
        )
        self.assert_success(self.export("blue", before=nobody_with("net_admin", "sys_admin")))
        inside = ("nsenter", "--net=/run/netns/blue", *nft)
        self.assert_success(self.export("blue", before=inside))

    def test_command_does_not_get_the_privilege_to_enter(self) -> None:
        """Nor could a file with capabilities that it executes get it: these add what is inheritable."""
        own = self.directory / "own"
        self.path = f"{own}:{self.path}"
        for kind in ("CapPrm", "CapInh"):
            executable(own / "iptables-save", f"#!/bin/sh\ngrep {kind} /proc/$$/status >&2; exit 1\n")
            run = self.export("blue", before=nobody_with("net_admin", "sys_admin"))
            only_net_admin = f"iptables-save exited with status 1: {kind}:\\t{1 << 12:016x}"
            self.assert_fails(run, "blue", only_net_admin)

    def test_none_of_that_name(self) -> None:
        missing = "cannot open network namespace /run/netns/green: No such file or directory"
        self.assert_fails(self.export("green"), "green", missing)
        Path("/run/netns/green").touch()
        none = "cannot enter network namespace /run/netns/green: Invalid argument"
        self.assert_fails(self.export("green"), "green", none)

    def test_a_dump_is_only_labelled(self) -> None:
        exported = self.export("green", "-i", FIXTURES / "server.save")
        self.assert_success(exported)
        for family in exported.metrics.values():
            for series in family.samples:
                self.assertEqual(dict(series)["netns"], "green")

    def test_last_success_is_that_of_the_same_namespace(self) -> None:
        def last_success() -> dict:
            family = read_metrics(self.target.read_bytes()).get(LAST_SUCCESS)
            return family.samples if family else {}

        self.assert_success(self.export("blue", "-o", self.target))
        before = last_success()
        self.assertEqual(set(before), {(("netns", "blue"),)})
        self.ip("netns", "delete", "blue")
        self.assertEqual(self.export("blue", "-o", self.target).status, 1)
        self.assertEqual(last_success(), before)
        self.assertEqual(self.export("green", "-o", self.target).status, 1)
        self.assertEqual(last_success(), {})


if __name__ == "__main__":
    main(private_namespaces, netfilter, node_exporter)
