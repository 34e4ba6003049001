#!/usr/bin/env python3
"""iptables_exporter-saved tells what a reboot would restore, of whatever is saved."""

from __future__ import annotations

import subprocess
from pathlib import Path

from saved_case import SAVED, SavedCase
from support import executable, main, mounted, netfilter, private_namespaces


class Nft(SavedCase):
    def test_same(self) -> None:
        """Though the saved file has none of the text that iptables-save prints."""
        self.rehearse()
        self.assertEqual(self.differing(), set())
        self.assertIn("ESTABLISHED,RELATED", SAVED)
        self.assertIn(b"RELATED,ESTABLISHED", self.network.save())

    def test_rule_added_flushed_policy_changed(self) -> None:
        self.rehearse()
        for change, back in (
            (("-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT"), ("-D", "INPUT", "4")),
            (("-F",), None),
            (("-P", "FORWARD", "ACCEPT"), ("-P", "FORWARD", "DROP")),
            (("-N", "mine"), ("-X", "mine")),
        ):
            with self.subTest(change):
                self.network.iptables(*change)
                self.assertEqual(self.differing(), {"filter"})
                if back:
                    self.network.iptables(*back)
                else:
                    self.network.restore(SAVED.encode())
                self.assertEqual(self.differing(), set())

    def test_policies_and_numbers_of_rules(self) -> None:
        self.rehearse("--family", "ipv4")
        self.assertEqual(self.saved("rules")[("chain", "INPUT"), ("family", "ipv4"), ("table", "filter")], "3")
        policies = {(dict(labels)["chain"], dict(labels)["policy"])
                    for labels in self.saved("policy") if ("table", "filter") in labels}  # fmt: skip
        self.assertEqual(policies, {("INPUT", "DROP"), ("FORWARD", "DROP"), ("OUTPUT", "ACCEPT")})
        self.assertNotIn("_total", self.page.read_text())
        self.assertNotIn("iptables_scrape", self.page.read_text())

    def test_ipv6(self) -> None:
        self.etc("iptables/rules.v6", "*filter\n:INPUT DROP [0:0]\nCOMMIT\n")
        self.rehearse()
        self.network.run(f"ip6tables-{self.backend}", "-P", "INPUT", "DROP")
        self.assertEqual(self.differing(), set())
        self.network.run(f"ip6tables-{self.backend}", "-P", "INPUT", "ACCEPT")
        self.assertEqual(self.differing(), {"ipv6 filter"})

    def test_table_that_nobody_saved_is_empty_and_not_unknown(self) -> None:
        for table in ("nat", "mangle", "raw", "security"):
            self.network.iptables("-t", table, "-P", "OUTPUT", "ACCEPT")
        self.rehearse()
        self.assertEqual(self.differing(), set())
        self.network.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
        self.assertEqual(self.differing(), {"nat"})

    def test_table_that_only_nft_shows_leaves_the_others(self) -> None:
        self.network.iptables("-t", "nat", "-P", "OUTPUT", "ACCEPT")
        self.network.iptables("-t", "raw", "-P", "OUTPUT", "ACCEPT")
        rule = "nft add rule ip raw OUTPUT limit rate over 5/second drop"
        self.network.run(*rule.split())
        self.plugins.joinpath("15-ip4tables").write_text(
            f"#!/bin/sh\niptables-restore </etc/iptables/rules.v4; iptables -t raw -P OUTPUT ACCEPT; {rule}\n")  # fmt: skip
        self.rehearse()
        self.assertEqual(self.differing(), set())
        raw = {dict(labels)["family"] for labels in self.saved() if ("table", "raw") in labels}
        self.assertEqual(raw, {"ipv6"})

    def test_policies_of_tables_that_are_made_stay(self) -> None:
        """Of a filter that somebody loads with nothing but a policy."""
        self.rules.write_text("*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n*nat\n:OUTPUT DROP [0:0]\nCOMMIT\n")
        self.network.iptables("-F")
        self.network.restore(self.rules.read_bytes())
        self.network.iptables("-P", "INPUT", "ACCEPT")
        self.network.iptables("-P", "FORWARD", "ACCEPT")
        self.rehearse()
        self.assertEqual(self.differing(), set())

    def test_options_are_those_of_the_running_ones(self) -> None:
        self.network.iptables("-N", "f2b-sshd")
        self.network.iptables("-I", "INPUT", "-p", "tcp", "-j", "f2b-sshd")
        options = ("--hash", '{chain!~"f2b-.*",target!~"f2b-.*"}', "--max-series", "1")
        self.rehearse(*options)
        self.assertEqual(self.differing(*options), set())

    def test_set_that_is_missing(self) -> None:
        """At boot, netfilter-persistent then loads nothing and ends with 0."""
        self.network.run("ipset", "create", "banned", "hash:ip")
        self.network.iptables("-I", "INPUT", "-m", "set", "--match-set", "banned", "src", "-j", "DROP")
        self.rules.write_bytes(self.network.save())
        self.rehearse_saying("netfilter-persistent failed", "banned")
        self.assertEqual(self.differing(), {"filter"})

    def test_broken_file_and_directory_instead_of_one(self) -> None:
        self.rules.write_text(SAVED.replace("-A INPUT -i", "-A INPUT --nosuch -i"))
        self.rehearse_saying("netfilter-persistent failed, and so it will at boot", "nosuch", "failed test load")
        self.assertEqual(self.differing(), {"filter"})
        self.rules.unlink()
        self.rules.mkdir()
        self.rehearse_saying("/etc/iptables/rules.v4 is a directory")
        self.assertEqual(self.differing(), {"filter"})

    def test_directory_that_is_nobodys_file(self) -> None:
        for name in ("iptables/backup/rules.v4", "sysconfig/iptables/old"):
            self.etc(name, "")
        self.rehearse()
        self.assertEqual(self.differing(), set())

    def test_whatever_is_wrong_is_one_printable_line(self) -> None:
        self.plugins.joinpath("15-ip4tables").write_text("#!/bin/sh\nprintf '\\033[31mx\\n\\n\\377y\\n'; seq 100000; exit 1\n")
        self.rehearse_saying("status", "100000")
        with mounted(self.plugins, "-t", "tmpfs", "none"):
            self.rehearse()

    def test_in_the_journal_with_a_priority(self) -> None:
        self.rules.write_text("garbage\n")
        done = self.look(JOURNAL_STREAM="1:2")
        self.assertRegex(done.stderr, r"\A<3>iptables_exporter-saved: error: .*\n\Z")

    def test_no_file_is_saved(self) -> None:
        """As on a host that has just got netfilter-persistent."""
        self.rules.unlink()
        self.plugins.joinpath("15-ip4tables").write_text("#!/bin/sh\necho 'Warning: skipping IPv4 (no rules to load)'\n")
        self.rehearse()
        self.assertEqual(self.differing(), {"filter"})

    def test_iptables_services(self) -> None:
        """Red Hat's and Arch's."""
        for name in ("sysconfig/iptables", "iptables/iptables.rules"):
            with self.subTest(name):
                subprocess.run("rm -rf /etc/iptables /etc/sysconfig/iptables* /etc/rc2.d/*", shell=True, check=True)
                self.etc("rc2.d/S01iptables", "")
                file = self.etc(name, SAVED)
                self.rehearse()
                self.assertEqual(self.differing(), set())
                file.write_text("*filter\ngarbage\nCOMMIT\n")
                self.rehearse_saying("iptables ended with status", "line", "2")
                self.assertEqual(self.differing(), {"filter"})
                self.etc(f"{name}.fallback", SAVED)
                file.write_text("*filter\n-A INPUT --too\nCOMMIT\n")
                self.rehearse_saying("too")
                self.assertEqual(self.differing(), set())
                file.unlink()
                self.rehearse_saying("No such file", f"/etc/{name}" if "sysconfig" in name else "/etc/sysconfig/iptables")

    def test_services_of_openrc(self) -> None:
        """Alpine's and Gentoo's, which save both families in places of their own."""
        self.copy("/var/lib")
        files = (("iptables", "/etc/iptables/rules-save"), ("ip6tables", "/etc/iptables/rules6-save"),
                 ("iptables", "/var/lib/iptables/rules-save"), ("ip6tables", "/var/lib/ip6tables/rules-save"))  # fmt: skip
        for service, file in files:
            with self.subTest(file):
                subprocess.run("rm -rf /etc/iptables /var/lib/ip*tables /etc/sysconfig/ip*tables /etc/rc2.d/* /etc/runlevels", shell=True, check=True)
                self.etc(f"runlevels/default/{service}", "")
                path = self.etc(file, "*filter\n:INPUT DROP [0:0]\nCOMMIT\n")
                family = {"iptables": "ipv4", "ip6tables": "ipv6"}[service]
                self.rehearse()
                self.assertEqual(self.policy(family), "DROP")
                path.write_text("*filter\nCOMMIT\n")
                self.rehearse()
                self.assertEqual(self.policy(family), "ACCEPT")

    def policy(self, family: str) -> str:
        """Of INPUT after a reboot."""
        [policy] = {dict(labels)["policy"] for labels in self.saved("policy")
                    if {("chain", "INPUT"), ("table", "filter"), ("family", family)} <= set(labels)}  # fmt: skip
        return policy

    def test_sets_of_ipset_service(self) -> None:
        """Red Hat's, which loads before iptables."""
        self.copy("/usr/libexec")
        executable(Path("/usr/libexec/ipset/ipset.start-stop"), "#!/bin/sh\n[ $1 = start ] && ipset restore </etc/sysconfig/ipset\n")
        self.etc("sysconfig/ipset", "create banned hash:ip\n")
        subprocess.run("rm /etc/rc2.d/*; touch /etc/rc2.d/S01iptables /etc/rc2.d/S02ipset", shell=True, check=True)
        self.network.run("ipset", "create", "banned", "hash:ip")
        self.network.iptables("-I", "INPUT", "-m", "set", "--match-set", "banned", "src", "-j", "DROP")
        self.etc("sysconfig/iptables", self.network.save().decode())
        self.rehearse()
        self.assertEqual(self.differing(), set())
        self.etc("sysconfig/ipset", "")
        self.rehearse_saying("banned")
        self.assertEqual(self.differing(), {"filter"})

    def test_service_that_is_not_enabled(self) -> None:
        """Nothing is loaded, and the host's tables are empty in the page."""
        self.rehearse()
        subprocess.run("rm /etc/rc2.d/S01netfilter-persistent", shell=True, check=True)
        self.command("iptables-restore", "echo loaded >&2; exit 1")
        self.rehearse()
        self.assertEqual(self.differing(), {"filter"})
        self.assertEqual(set(self.saved("rules").values()), {"0"})
        self.assertEqual({dict(labels)["policy"] for labels in self.saved("policy")}, {"ACCEPT"})

    def test_what_systemctl_says_is_enabled(self) -> None:
        subprocess.run("rm /etc/rc2.d/*; mkdir -p /run/systemd/system", shell=True, check=True)
        self.addCleanup(subprocess.run, "rm -r /run/systemd", shell=True)
        states = {state: set() for state in ("enabled", "enabled-runtime", "static", "generated", "alias")}
        states |= {state: {"filter"} for state in ("disabled", "masked", "indirect", "linked", "transient", "bad", "")}
        asked = '[ "$1 $2 $3 $4 $5" = "show --property Id --property UnitFileState" ] || exit 9'
        for state, differing in states.items():
            with self.subTest(state):
                # As on Debian, where iptables and ip6tables are names of netfilter-persistent.
                units = f"netfilter-persistent.service '{state}' ipset.service '' other.service enabled"
                self.command("systemctl", f"{asked}; printf 'Id=%s\\nUnitFileState=%s\\n\\n' {units}")
                self.rehearse()
                self.assertEqual(self.differing(), differing)
        self.command("systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
        self.assert_systemd_is_silent()

    def assert_systemd_is_silent(self) -> None:
        done = self.look()
        self.assertEqual(done.returncode, 1)
        self.assertIn("iptables_exporter-saved: error: systemctl does not tell", done.stderr)
        self.assertEqual(self.page.read_text(), "")


class Legacy(SavedCase):
    backend = "legacy"

    def test_same_and_changed(self) -> None:
        self.network.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")
        self.rules.write_bytes(self.network.save())
        self.network.iptables("-t", "raw", "-nL")  # the host has it, nobody saved it
        self.rehearse()
        self.assertEqual(self.differing(), set())
        self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "8080")
        self.network.iptables("-t", "raw", "-A", "OUTPUT", "-o", "lo")
        self.assertEqual(self.differing(), {"filter", "raw"})

    def test_nothing_enabled(self) -> None:
        subprocess.run("rm /etc/rc2.d/*", shell=True, check=True)
        self.rehearse()
        self.assertEqual(self.differing(), {"filter"})

    def test_host_is_of_one_backend_and_boot_loads_the_other(self) -> None:
        for name in ("iptables-restore", "ip6tables-restore"):
            (self.bin / name).unlink()
            (self.bin / name).symlink_to("/usr/sbin/xtables-nft-multi")
        self.rehearse()
        self.assertEqual(self.differing(), {"filter"})
        rules = {dict(labels)["backend"]: value for labels, value in self.saved("rules").items()
                 if {("chain", "INPUT"), ("table", "filter"), ("family", "ipv4")} <= set(labels)}  # fmt: skip
        self.assertEqual(rules, {"legacy": "0", "nft": "3"})


class NoLegacyTables(SavedCase):
    def test_are_not_made(self) -> None:
        """Before Linux 5.15, a look makes one in every network namespace."""
        looked = self.directory / "looked"
        for command in ("iptables-legacy", "ip6tables-legacy"):
            self.command(command, f"echo $0 $* >>{looked}; exec /usr/sbin/{command} \"$@\"")
        self.rehearse()
        self.assertNotIn('backend="legacy"', self.page.read_text())
        self.assertFalse(looked.exists())
        self.network.run("iptables-legacy", "-t", "raw", "-nL")
        self.rehearse()
        self.assertIn('chain="OUTPUT",family="ipv4",policy="ACCEPT",table="raw"', self.page.read_text())
        self.assertEqual(looked.read_text().count("raw"), 1)


if __name__ == "__main__":
    main(private_namespaces, netfilter)
