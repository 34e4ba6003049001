#!/usr/bin/env python3
"""iptables_exporter-saved loads if anything changed, or if that is long ago, and else only looks."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from saved_case import ALL, SAVED, SavedCase
from support import executable, main, netfilter, private_namespaces


class Look(SavedCase):
    def setUp(self) -> None:
        super().setUp()
        self.loads = self.directory / "loads"
        self.plugin("")
        self.rehearse()
        self.loads.unlink()

    def plugin(self, then: str) -> None:
        executable(self.plugins / "15-ip4tables", f"#!/bin/sh\niptables-restore </etc/iptables/rules.v4\necho >>{self.loads}\n{then}\n")

    def assert_loads(self, times: int, *options: str, **variables: str) -> None:
        self.rehearse(*options, **variables)
        loads = self.loads.read_text().count("\n") if self.loads.exists() else 0
        self.loads.unlink(missing_ok=True)
        self.assertEqual(loads, times)

    def test_nothing_changed(self) -> None:
        before = self.page.stat()
        self.assert_loads(0)
        self.network.iptables("-A", "INPUT", "-j", "DROP")
        self.assert_loads(0)
        self.assertEqual((before.st_ino, before.st_mtime_ns), (self.page.stat().st_ino, self.page.stat().st_mtime_ns))

    def test_what_changes(self) -> None:
        iptables = self.bin / "iptables-restore"
        times = (1, 1)
        changes = {
            "size": lambda: self.rules.write_text(SAVED + "# longer\n"),
            "mtime": lambda: os.utime(self.rules, times),
            "inode": lambda: (shutil.copy2(self.rules, f"{self.rules}.new"), os.replace(f"{self.rules}.new", self.rules)),
            "another file": lambda: self.etc("iptables/rules.v6", "*filter\nCOMMIT\n"),
            "it is gone": lambda: Path("/etc/iptables/rules.v6").unlink(),
            "sets": lambda: self.etc("iptables/ipsets", ""),
            "Red Hat's": lambda: self.etc("sysconfig/iptables", ""),
            "options file": lambda: self.etc("default/iptables_exporter", 'ARGS=""\n'),
            "Debian's options file": lambda: self.etc("default/netfilter-persistent", "IPTABLES_TEST_RULESET=yes\n"),
            "iptables": lambda: (iptables.unlink(), shutil.copy2("/usr/sbin/xtables-nft-multi", iptables)),
            "program": lambda: os.utime(self.bin / "iptables_exporter", times),
            "script": lambda: os.utime(self.script, times),
            "the host has a legacy table": lambda: self.network.run("iptables-legacy", "-t", "raw", "-nL"),
        }
        for name, change in changes.items():
            with self.subTest(name):
                change()
                self.assert_loads(1)
                self.assert_loads(0)
        self.assert_loads(1, "--family", "ipv4")
        self.assert_loads(1)

    def test_what_is_enabled(self) -> None:
        Path("/etc/rc2.d/S01netfilter-persistent").unlink()
        self.assert_loads(0)
        self.assertEqual(self.differing(), {"filter"})
        self.etc("rc2.d/S01netfilter-persistent", "")
        self.assert_loads(1)
        self.assertEqual(self.differing(), set())

    def age(self, minutes: float) -> None:
        then = time.time() - 60 * minutes
        os.utime(self.page.parent / "rehearsed", (then, then))

    def test_once_a_day(self) -> None:
        self.age(23.9 * 60)
        self.assert_loads(0)
        self.age(24.1 * 60)
        self.assert_loads(1)
        self.assert_loads(0)

    def test_once_an_hour_with_a_command_of_which_nobody_knows_the_files(self) -> None:
        command = f"iptables-restore </etc/iptables/rules.v4; echo >>{self.loads}"
        self.assert_loads(1, RESTORE=command)
        self.assert_loads(0, RESTORE=command)
        self.age(50)
        self.assert_loads(0, RESTORE=command)
        self.age(61)
        self.assert_loads(1, RESTORE=command)

    def test_changed_meanwhile(self) -> None:
        """What was loaded is not what a reboot restores, if somebody saved while it was loaded."""
        self.plugin(f"[ -s {self.directory}/once ] || {{ echo >{self.directory}/once; echo '# saved' >>/etc/iptables/rules.v4; }}")
        self.age(25 * 60)
        self.assert_loads(2)
        self.assert_loads(0)

    def test_never_stops_changing(self) -> None:
        self.plugin("echo '# saved' >>/etc/iptables/rules.v4")
        self.age(25 * 60)
        self.assert_loads(3)
        self.assert_loads(3)
        self.plugin("")
        self.assert_loads(1)
        self.assert_loads(0)

    def test_page_is_gone(self) -> None:
        self.page.unlink()
        self.assert_loads(1)

    def test_failed(self) -> None:
        """It is tried again each time."""
        self.rules.write_text(SAVED + "# changed\n")
        for _ in range(2):
            self.assertEqual(self.look(*ALL, "--nosuch").returncode, 1)
        self.loads.unlink()
        self.assert_loads(1)
        self.assertEqual(self.differing(), set())


if __name__ == "__main__":
    main(private_namespaces, netfilter)
