#!/usr/bin/env python3
"""--saved: only where it cannot call running rules saved, and all of it or nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from oracle import read_metrics
from support import (SYSTEM_PATH, ExporterTestCase, Network, Run, executable, main, mounted, netfilter,
                     nobody_with, private_namespaces, run)

SOURCES = ("--family", "ipv4,ipv6", "--backend", "legacy,nft")
REFUSED = "--saved is for a network namespace into which iptables_exporter-saved has loaded what is saved"


class Saved(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))
        self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "22")

    def export(self, *arguments: str | Path, **options: object) -> Run:
        """In a network namespace that this process, which is process 1 here, is not in."""
        inside = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.network.fileno()}", "--")
        return run(*arguments, before=(*inside, *options.pop("before", ())), **options)

    def assert_refused(self, export: Callable[..., Run], **options: object) -> None:
        refused = export("--saved", "-o", self.target, *SOURCES, **options)
        self.assertEqual(refused.status, 2, refused)
        self.assert_messages(refused, REFUSED)
        self.assert_only_target([])

    def test_labels_and_values_are_those_of_the_running_ones(self) -> None:
        options = (*SOURCES, "--select", '{chain!="OUTPUT"}', "--hash", '{table="filter"}', "--max-series", "1")
        running = self.network.export(*options).metrics
        self.assert_success(self.export("--saved", "-o", self.target, *options))
        saved = read_metrics(self.target.read_bytes())
        self.assertEqual(set(saved), {"iptables_saved_ruleset_hash", "iptables_saved_rules", "iptables_saved_policy"})
        for name in ("ruleset_hash", "rules"):
            self.assertEqual(saved[f"iptables_saved_{name}"].samples, running[f"iptables_{name}"].samples)
            self.assertTrue(saved[f"iptables_saved_{name}"].samples)
        policies = running["iptables_default_packets_total"].samples
        self.assertEqual(saved["iptables_saved_policy"].samples, dict.fromkeys(policies, "1"))

    def test_a_source_that_fails_leaves_the_old_page(self) -> None:
        self.target.write_text("# as it was\n")
        broken = executable(self.directory / "own/ip6tables-nft-save", "#!/bin/sh\nexit 1\n")
        failed = self.export("--saved", "-o", self.target, *SOURCES, path=f"{broken.parent}:{SYSTEM_PATH}")
        self.assertEqual(failed.status, 1)
        self.assert_messages(failed, "ip6tables-nft-save exited with status 1")
        self.assertEqual(self.target.read_text(), "# as it was\n")
        to_stdout = self.export("--saved", *SOURCES, path=f"{broken.parent}:{SYSTEM_PATH}")
        self.assertEqual((to_stdout.status, to_stdout.out), (1, b""))

    def test_refused_where_process_1_is(self) -> None:
        """Here that is this test; in a container, what the container runs on."""
        self.assertEqual(os.getpid(), 1)
        self.assert_refused(run)

    def test_allowed_where_process_1_cannot_be_looked_at(self) -> None:
        """By whoever lacks CAP_SYS_PTRACE; then only the initial one is known."""
        allowed = self.export("--saved", "--backend", "nft", before=nobody_with("net_admin"))
        self.assert_success(allowed)
        self.assertIn(b"iptables_saved_rules", allowed.out)

    def test_refused_where_nobody_can_tell(self) -> None:
        with mounted(Path("/proc/sys/net"), "-t", "tmpfs", "none"):
            self.assert_refused(self.export)

    def test_refused_in_the_initial_network_namespace(self) -> None:
        """Which shows settings of the whole host; who is allowed nothing sees that, too."""
        copy = self.directory / "initial"
        (copy / "core").mkdir(parents=True)
        for name in ("somaxconn", "netdev_max_backlog"):
            (copy / "core" / name).touch()
        with mounted(Path("/proc/sys/net"), "--bind", str(copy)):
            self.assert_refused(self.export)
            self.assert_refused(self.export, before=nobody_with("net_admin"))

    def test_the_kernel_shows_these_settings_there_and_only_there(self) -> None:
        here = subprocess.check_output(["ls", "/proc/sys/net/core"], text=True).split()
        self.assertIn("somaxconn", here)
        self.assertNotIn("netdev_max_backlog", here)
        # As the machine itself sees it, whoever started this test.
        if initial := os.environ.get("SETTINGS_OF_INITIAL_NETWORK_NAMESPACE"):
            self.assertLessEqual({"somaxconn", "netdev_max_backlog"}, set(initial.split()))


if __name__ == "__main__":
    # main() leaves the network namespace of whoever started this.
    if "E2E_ISOLATED" not in os.environ and os.readlink("/proc/self/ns/net") == "net:[4026531833]":
        os.environ["SETTINGS_OF_INITIAL_NETWORK_NAMESPACE"] = " ".join(os.listdir("/proc/sys/net/core"))
    main(private_namespaces, netfilter)
