#!/usr/bin/env python3
"""RESTORE is any command: what it prints, calls and holds changes nothing of what iptables_exporter-saved finds."""

from __future__ import annotations

from saved_case import SavedCase
from support import main, netfilter, private_namespaces

LOADS = "iptables-restore </etc/iptables/rules.v4"


class Restore(SavedCase):
    def test_output_that_does_not_end_its_last_line(self) -> None:
        for output in ("done", "line\\nended 0", "\\n\\n"):
            with self.subTest(output):
                self.rehearse(RESTORE=f"{LOADS}; printf '{output}'")
                self.assertEqual(self.differing(), set())
        self.rehearse_saying("RESTORE ended with status 3", "half", RESTORE=f"{LOADS}; printf half; exit 3")

    def test_systemctl_of_which_the_status_is_lost(self) -> None:
        """What the service would have loaded is not known, and is not empty tables."""
        for command in ("systemctl restart ferm; true", "systemctl restart ferm || exit 126", f"systemctl stop ferm; {LOADS}"):
            with self.subTest(command):
                self.assert_nobody_knows('RESTORE calls "systemctl ', RESTORE=command)
        self.assert_nobody_knows("RESTORE calls", RESTORE="systemctl restart 'x\\nended 0 \nended 0 '; true")

    def test_backslashes(self) -> None:
        """They are as any other character, for the look and for the journal."""
        command = f"{LOADS}; echo >>{self.directory}/loads; : '\\n' '\\c' '\\060'"
        self.rehearse(RESTORE=command)
        self.rehearse(RESTORE=command)
        options = ("--family", "ipv4", "--hash", '{chain!~"a\\\\.b"}')
        self.rehearse(*options, RESTORE=command)
        self.rehearse(*options, RESTORE=command)
        self.assertEqual((self.directory / "loads").read_text(), "\n\n")
        self.rehearse_saying("at boot: one\\ntwo\\0101", RESTORE="printf '%s' 'one\\ntwo\\0101'; exit 3")

    def test_status_of_a_command_that_is_not_found(self) -> None:
        """RESTORE itself is there: what it has loaded stays, as after any other status."""
        for status in ("126", "127"):
            with self.subTest(status):
                self.command("firewall", f"{LOADS}; exit {status}")
                self.rehearse_saying(f"RESTORE ended with status {status}", RESTORE="firewall start")
                self.assertEqual(self.differing(), set())
                self.rehearse_saying(f"RESTORE ended with status {status}", RESTORE=f"{self.bin}/firewall")

    def test_loopback_is_up(self) -> None:
        self.rehearse(RESTORE=f"ip link show lo | grep -q LOOPBACK,UP && {LOADS}")


if __name__ == "__main__":
    main(private_namespaces, netfilter)
