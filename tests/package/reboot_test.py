#!/usr/bin/env python3
"""On a booted systemd with the package and netfilter-persistent: would a reboot restore this firewall?

Usage: reboot_test.py FILE.deb [unittest's arguments]
"""

from __future__ import annotations

import re
import subprocess
import sys
import unittest
from pathlib import Path

from machine import Machine, isolate, mount, skip
from packaged import SOURCES, directory, drop_in, names, new_machine
from support import eventually

PAGE = "/run/iptables_exporter-saved/iptables_saved.prom"
SERVICE = "iptables_exporter-saved.service"
TIMER = "iptables_exporter-saved.timer"
REBOOT = (SOURCES / "contrib/reboot.md").read_text()
PERSISTENT = ("netfilter-persistent", "iptables-persistent", "ipset-persistent")
OTHERS = ("ufw", "ferm")
# Nothing of this is what iptables-save prints.
RULES = """\
*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
-A INPUT -s 192.0.2.1 -p tcp --dport ssh -j ACCEPT
COMMIT
"""

deb: Path


class Reboot(unittest.TestCase):
    machine: Machine

    @classmethod
    def setUpClass(cls) -> None:
        cls.machine = new_machine("reboot", Path("/"), deb)
        cls.addClassCleanup(cls.machine.stop)
        for package in directory.glob("*.deb"):
            (cls.machine.root / "root" / package.name).write_bytes(package.read_bytes())
        cls.machine.boot()
        cls.machine.run(f"cd /root; dpkg --force-depends -i {' '.join(f'{name}_*.deb' for name in PERSISTENT)}")
        cls.write("/etc/iptables/rules.v4", RULES)
        cls.write("/etc/iptables/rules.v6", "*filter\n:INPUT DROP [0:0]\nCOMMIT\n")
        cls.names_before = names(cls.machine)
        # So that no tick of the timer comes between.
        drop_in(cls.machine, TIMER, "[Timer]\nOnCalendar=\nOnCalendar=yearly\n")
        cls.machine.run("systemctl restart netfilter-persistent; apt-get install --yes --quiet /root/new.deb")

    @classmethod
    def write(cls, path: str, text: str) -> None:
        (cls.machine.root / path[1:]).write_text(text)

    def setUp(self) -> None:
        self.machine.run("journalctl --rotate; journalctl --vacuum-time=1s")

    def hashes(self, name: str) -> dict[str, str]:
        return dict(re.findall(rf"^iptables_{name}{{(.*)}} (\S+)$", self.machine.page(), re.MULTILINE))

    def differing(self) -> set[str]:
        """What node_exporter serves, compared as Prometheus would."""
        self.machine.run("systemctl start iptables_exporter; systemctl start iptables_exporter")
        running, saved = self.hashes("ruleset_hash"), self.hashes("saved_ruleset_hash")
        self.assertTrue(running)
        self.assertLessEqual(set(running), set(saved), "nothing that runs is unknown")
        return {labels for labels, value in running.items() if saved[labels] != value}

    def wait_for_its_end(self) -> None:
        eventually(lambda: "inactive" in self.machine.output(f"systemctl is-active {SERVICE}", False), "it has ended")

    def look(self) -> None:
        self.machine.run(f"systemctl start {SERVICE}")

    def journal(self) -> list[str]:
        return self.machine.output(f"journalctl --quiet --output cat --unit {SERVICE}").splitlines()

    def set_restore(self, line: str) -> None:
        self.machine.run("sed -i '/^RESTORE=/d' /etc/default/iptables_exporter")
        with (self.machine.root / "etc/default/iptables_exporter").open("a") as file:
            file.write(line + "\n")

    def assert_fails(self, *parts: str) -> None:
        """The unit is failed with one line that says why, the page is empty, and nothing else stopped."""
        failed = self.machine.run(f"systemctl start {SERVICE}", check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assert_is_failed(*parts)

    def assert_is_failed(self, *parts: str) -> None:
        self.assertIn(SERVICE, self.machine.output("systemctl --failed --plain --no-legend"))
        self.assertEqual(self.machine.output(f"cat {PAGE}"), "")
        lines = [line for line in self.journal() if line.startswith("iptables_exporter-saved: ")]
        self.assertEqual(len(lines), 1 if parts else 0, self.journal())
        for part in parts:
            self.assertIn(part, lines[0])
        self.machine.run("systemctl start iptables_exporter")
        self.assertIn("iptables_ruleset_hash", self.machine.page())
        self.assertNotIn("iptables_saved_", self.machine.page())
        self.assertIn("node_textfile_scrape_error 0\n", self.machine.page())

    def test_01_shipped_disabled_with_an_empty_page(self) -> None:
        self.assertEqual(self.machine.output(f"systemctl is-enabled {TIMER}", False), "disabled\n")
        self.assertEqual(self.machine.output(f"systemctl is-active {TIMER} {SERVICE}", False), "inactive\ninactive\n")
        self.assertEqual(self.machine.output(f"stat -c '%U %G %a %s' {PAGE}"), "root root 644 0\n")
        eventually(lambda: self.machine.page(), "node_exporter serves")
        self.assertIn("node_textfile_scrape_error 0\n", self.machine.page())

    def test_02_units(self) -> None:
        self.assertEqual(self.machine.output(f"systemd-analyze verify --man=no {SERVICE} {TIMER}"), "")
        self.machine.run(f"systemd-analyze security --offline=true --threshold=55 {SERVICE}")

    def test_03_enable(self) -> None:
        """In the page's words."""
        enable = re.search(r"sudo (systemctl enable --now iptables_exporter-saved.timer)", REBOOT)[1]
        self.machine.run(enable)
        eventually(lambda: self.hashes("saved_ruleset_hash"), "the first run")
        self.wait_for_its_end()
        self.assertEqual(self.differing(), set())
        self.assertEqual(self.journal(), [])
        self.assertEqual(self.machine.output("stat -c %U /run/iptables_exporter"), "_iptables_exporter\n")
        self.assertEqual(self.machine.output(f"stat -c %U {Path(PAGE).parent}"), "root\n")

    def test_04_changed_and_saved(self) -> None:
        self.machine.run("iptables -A INPUT -p tcp --dport 8080 -j ACCEPT")
        self.assertEqual(self.differing(), {'backend="nft",family="ipv4",table="filter"'})
        self.machine.run("netfilter-persistent save")
        self.look()
        self.assertEqual(self.differing(), set())
        self.machine.run("iptables -P FORWARD DROP; ip6tables -P INPUT ACCEPT")
        self.assertEqual(len(self.differing()), 2)
        self.machine.run("iptables -P FORWARD ACCEPT; ip6tables -P INPUT DROP")
        self.assertEqual(self.differing(), set())
        self.assertEqual(self.journal(), [])

    def test_05_the_timer_looks(self) -> None:
        drop_in(self.machine, TIMER, "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n")
        self.machine.run(f"systemctl daemon-reload; systemctl restart {TIMER}; iptables -A INPUT -p udp; netfilter-persistent save")
        eventually(lambda: not self.differing(), "what was saved is noticed")
        drop_in(self.machine, TIMER, "[Timer]\nOnCalendar=\nOnCalendar=yearly\n")
        self.machine.run(f"systemctl daemon-reload; systemctl restart {TIMER}")
        self.wait_for_its_end()

    def test_06_not_enabled(self) -> None:
        self.machine.run("systemctl disable netfilter-persistent")
        self.look()
        self.assertEqual(len(self.differing()), 2)
        self.machine.run("systemctl mask netfilter-persistent")
        self.look()
        self.assertEqual(len(self.differing()), 2)
        self.machine.run("systemctl unmask netfilter-persistent; systemctl enable netfilter-persistent")
        self.look()
        self.assertEqual(self.differing(), set())
        self.assertEqual(self.journal(), [])

    def test_07_does_not_load(self) -> None:
        """netfilter-persistent is active and content, and has loaded nothing."""
        self.machine.run("ipset create banned hash:ip; iptables -A INPUT -m set --match-set banned src -j DROP;"
                         " iptables-save >/etc/iptables/rules.v4")  # fmt: skip
        self.look()
        self.assertEqual(len(self.differing()), 1)
        [line] = self.journal()
        self.assertIn("netfilter-persistent failed, and so it will at boot", line)
        self.assertIn("banned", line)
        self.machine.run("netfilter-persistent save")  # the set, too
        self.look()
        self.assertEqual(self.differing(), set())
        self.machine.run("rm /etc/iptables/rules.v4; mkdir /etc/iptables/rules.v4")
        self.look()
        self.assertIn("/etc/iptables/rules.v4 is a directory", self.journal()[1])
        self.machine.run("rmdir /etc/iptables/rules.v4; iptables -D INPUT -m set --match-set banned src -j DROP; ipset destroy banned; netfilter-persistent save")
        self.look()
        self.assertEqual(self.differing(), set())

    def test_08_systemd_is_out_of_reach(self) -> None:
        """By systemctl, and by a copy of it that nobody knows."""
        self.machine.run("iptables -A INPUT -p tcp --dport 9090; cp /usr/bin/systemctl /usr/local/bin/other-name")
        before = self.machine.output("iptables-save; systemctl show -p InvocationID netfilter-persistent")
        self.set_restore('RESTORE="systemctl restart netfilter-persistent"')
        self.assert_fails('RESTORE calls "systemctl restart netfilter-persistent"', "systemctl cat")
        self.set_restore('RESTORE="other-name restart netfilter-persistent"')
        self.look()
        self.assertIn("RESTORE ended with status 1", self.journal()[-1])
        after = self.machine.output("iptables-save; systemctl show -p InvocationID netfilter-persistent")
        self.assertEqual(re.sub("#.*", "", after), re.sub("#.*", "", before))
        self.machine.run("iptables -D INPUT -p tcp --dport 9090")

    def test_08_restore_that_is_not_there(self) -> None:
        self.set_restore('RESTORE="/nosuch/firewall start"')
        self.assert_fails("RESTORE cannot be run", "/nosuch/firewall")

    def test_08_words_of_the_shell(self) -> None:
        """Where the script itself cannot go on, the journal says why."""
        self.set_restore("")
        self.look()
        lock = str(Path(PAGE).parent / "lock")
        self.machine.run(f"rm {lock}; mkdir {lock}")
        self.assertNotEqual(self.machine.run(f"systemctl start {SERVICE}", check=False).returncode, 0)
        self.assertIn("Is a directory", "".join(self.journal()))
        self.assertEqual(self.machine.output(f"cat {PAGE}"), "")
        self.machine.run(f"rmdir {lock}")

    def test_08_unshare_is_refused(self) -> None:
        self.set_restore("")
        drop_in(self.machine, SERVICE, "[Service]\nRestrictNamespaces=yes\n")
        self.machine.run("systemctl daemon-reload; iptables -A INPUT -p tcp --dport 7; netfilter-persistent save")
        self.assert_fails("there are no namespaces to load into", "Operation not permitted")
        self.machine.run(f"rm -r /etc/systemd/system/{SERVICE}.d; systemctl daemon-reload")
        self.look()
        self.assertEqual(self.differing(), set())

    def test_09_hangs(self) -> None:
        """It ends after a minute."""
        self.look()
        self.set_restore('RESTORE="sleep 1000"')
        self.assert_fails("RESTORE did not end within a minute")

    def test_09_killed(self) -> None:
        self.set_restore("")
        self.look()
        self.assertNotEqual(self.machine.output(f"cat {PAGE}"), "")
        self.set_restore('RESTORE="touch /run/begun; sleep 1000"')
        self.machine.run(f"systemctl start --no-block {SERVICE}")
        eventually(lambda: "sleep 1000" in self.machine.output("ps ax"), "it is loading")
        self.assertNotEqual(self.machine.output(f"cat {PAGE}"), "", "the old page stands")
        # Of all its processes, newer systemds would kill ExecStopPost='s, too.
        self.machine.run(f"systemctl kill --kill-who main --signal KILL {SERVICE}")
        eventually(lambda: "failed" in self.machine.output(f"systemctl is-failed {SERVICE}", False), "it is failed")
        self.assert_is_failed()
        self.set_restore("")
        self.look()
        self.assertEqual(self.differing(), set())

    def test_10_firewalls_of_others(self) -> None:
        """The lines of the page, with the real ufw and ferm."""
        lines = dict(re.findall(r'^\| (\w+) \| `(RESTORE=".*?")` \|$', REBOOT, re.MULTILINE))
        self.assertEqual(set(lines), set(OTHERS))
        self.machine.run("systemctl disable netfilter-persistent; iptables -F; iptables -P INPUT ACCEPT;"
                         " ip6tables -P INPUT ACCEPT; cd /root; dpkg --force-depends,breaks -i ufw_*.deb ferm_*.deb;"
                         " systemctl disable --now ferm || true; iptables -F; ufw allow 22/tcp; ufw --force enable")  # fmt: skip
        self.set_restore(lines["ufw"])
        self.look()
        self.assertEqual(self.differing(), set(), "ufw")
        self.machine.run("iptables -I INPUT -p tcp --dport 99 -j ACCEPT")
        self.assertEqual(len(self.differing()), 1)
        self.machine.run("ufw disable; nft flush ruleset; ferm /etc/ferm/ferm.conf")
        self.set_restore(lines["ferm"])
        self.look()
        self.assertEqual(self.differing(), set(), "ferm")
        self.machine.run("iptables -A INPUT -p udp --dport 99 -j ACCEPT")
        self.assertEqual(len(self.differing()), 1)
        self.assertEqual(self.journal(), [])
        self.set_restore("")
        self.machine.run("dpkg --purge ufw")  # which apt does not have beside iptables-persistent

    def test_11_after_a_boot(self) -> None:
        self.machine.run("nft flush ruleset; iptables -A INPUT -i lo -j ACCEPT; rm -f /etc/iptables/ipsets; systemctl enable netfilter-persistent;"
                         " iptables -P INPUT DROP; netfilter-persistent save")  # fmt: skip
        self.machine.stop()
        self.machine.boot()
        eventually(lambda: self.hashes("saved_ruleset_hash"), "a run at boot")
        self.assertEqual(self.differing(), set())

    def test_12_purge_leaves_nothing(self) -> None:
        self.machine.run("apt-get purge --yes --quiet iptables-exporter")
        self.machine.run(f"rm -rf /etc/systemd/system/{TIMER}.d")  # the test's own
        # Not what others do to the machine below meanwhile.
        written = directory / "reboot/upper"
        left = {name for name in names(self.machine) - self.names_before
                if not name.startswith("/") or name.startswith("/run/") or (written / name[1:]).exists()}  # fmt: skip
        self.assertEqual({name.split(":")[0] for name in left}, {"_iptables_exporter"}, "the user stays")
        self.assertFalse((self.machine.root / PAGE[1:]).parent.exists())
        self.assertEqual(self.machine.output("systemctl --failed --plain --no-legend | grep saved", False), "")
        self.assertIn("node_textfile_scrape_error 0\n", self.machine.page())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    isolate("/lib/systemd/systemd", "prometheus-node-exporter", "iptables-nft", "ipset")
    deb = Path(sys.argv.pop(1)).resolve()
    mount("tmpfs", directory)
    download = subprocess.run(["apt-get", "download", *PERSISTENT, *OTHERS], cwd=directory, capture_output=True, text=True)
    if download.returncode:
        skip(f"needs Debian's {', '.join(PERSISTENT)}, {', '.join(OTHERS)}: {download.stderr}")
    unittest.main(failfast=True, verbosity=2)
