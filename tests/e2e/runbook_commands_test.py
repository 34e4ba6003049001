#!/usr/bin/env python3
"""The commands of the runbooks that change a firewall or look at it do what the page says of them."""

from __future__ import annotations

import os
import re
import tempfile
import unittest
from pathlib import Path

from ip_sets_test import ipset
from support import Network, executable, main, netfilter, private_namespaces

PAGE = (Path(__file__).resolve().parents[2] / "contrib/prometheus/runbooks.md").read_text()
RULES = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"


def command(alert: str, pattern: str) -> str:
    """In the section of the alert."""
    section = re.search(rf"(?ms)^## {alert}\n(.*?)^##? ", PAGE)[1]
    return re.search(pattern, section)[0]


class Commands(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_a_set_is_made_larger(self) -> None:
        larger = command("IptablesSetFull", r"ipset save (?:.*\n)+?.*ipset destroy NEW")
        for options, first, second in (
            ("hash:ip maxelem 1", "192.0.2.1", "192.0.2.2"),
            ("hash:net family inet6 maxelem 1 timeout 600 counters comment", "2001:db8::/32", "2001:db9::/32"),
            ("hash:ip,port maxelem 1 skbinfo", "192.0.2.1,tcp:22", "192.0.2.1,tcp:80"),
        ):
            with self.subTest(options), Network("nft") as network:
                network.run("ipset", "create", "block", *options.split())
                network.run("ipset", "add", "block", first)
                iptables = "ip6tables-nft" if "inet6" in options else "iptables-nft"
                network.run(iptables, "-A", "INPUT", "-m", "set", "--match-set", "block", "src", "-j", "DROP")
                with self.assertRaises(AssertionError):
                    network.run("ipset", "add", "block", second)
                header = self.header(network)
                network.run("sh", "-c", f"SET=block\n{larger}")
                self.assertEqual(self.header(network), header.replace("maxelem 1 ", "maxelem 131072 "))
                network.run("ipset", "add", "block", second)
                network.run("ipset", "test", "block", first)
                self.assertEqual(network.run("ipset", "list", "-name"), b"block\n")
                self.assertIn(b"References: 1\n", network.run("ipset", "list", "block"))

    @staticmethod
    def header(network: Network) -> str:
        text = network.run("ipset", "list", "-terse", "block").decode()
        return re.sub(r" (hashsize|initval) \S+", "", re.search(r"Header: (.*)", text)[1]) + " "

    def test_saved_rules_are_tried_and_not_loaded(self) -> None:
        attempt = command("IptablesRulesLost", r"iptables-restore --test <\S+?(?=`)")
        for backend in ("nft", "legacy"):
            with self.subTest(backend), Network(backend) as network:
                network.iptables("-A", "INPUT", "-p", "udp", "-j", "DROP")
                before = network.run(f"iptables-{backend}", "-S")
                for text, line in ((f"{RULES}COMMIT\n", None), (f"{RULES}-A INPUT --nonsense\nCOMMIT\n", 4)):
                    file = self.directory / "rules.v4"
                    file.write_text(text)
                    own = attempt.replace("/etc/iptables/rules.v4", str(file))
                    own = own.replace("iptables-restore", f"iptables-{backend}-restore")
                    if line:
                        self.assertRaisesRegex(AssertionError, f"line: {line}", network.run, "sh", "-c", own)
                    else:
                        network.run("sh", "-c", own)
                    self.assertEqual(network.run(f"iptables-{backend}", "-S"), before)

    def test_a_dormant_table_is_found_and_switched_on(self) -> None:
        look = command("IptablesTableDormant", r"nft list ruleset [^`]*")
        with Network("nft") as network:
            network.iptables("-A", "INPUT", "-p", "udp", "-j", "DROP")
            before = network.run("nft", "list", "ruleset")
            network.run("nft", "add table ip filter { flags dormant; }")
            self.assertIn(b"table ip filter {\n", network.run("sh", "-c", look))
            network.run("sh", "-c", command("IptablesTableDormant", r"(?m)^    nft add table .*"))
            self.assertEqual(network.run("nft", "list", "ruleset"), before)

    def test_the_running_and_the_saved_firewall_are_compared(self) -> None:
        compare = command("IptablesNotSaved", r"(?m)^    plain\(\) .*\n.*")
        file = self.directory / "rules.v4"
        file.write_text("*filter\n:INPUT DROP\n-A INPUT -p tcp --dport ssh -j ACCEPT\n-A INPUT -j LOG\nCOMMIT\n")
        loader = executable(self.directory / "netfilter-persistent", f"#!/bin/sh\niptables-restore <{file}\n")
        compare = f"PATH={loader.parent}:{os.environ['PATH']}\n{compare}"
        with Network("nft") as network:
            network.run("iptables-restore", stdin=file.read_bytes())
            self.assertEqual(network.run("bash", "-c", compare), b"", "the same rules in other words")
            network.run("iptables", "-D", "INPUT", "2")
            network.run("iptables", "-A", "INPUT", "-p", "udp", "-j", "ACCEPT")
            before = network.run("iptables", "-S")
            told = network.run("bash", "-c", f"{compare} || [ $? = 1 ]").decode()
            self.assertEqual(re.findall(r"(?m)^[<>].*", told), ["< -A INPUT -j LOG", "> -A INPUT -p udp -j ACCEPT"])
            self.assertEqual(network.run("iptables", "-S"), before)


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipset)
