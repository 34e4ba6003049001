#!/usr/bin/env python3
"""A table that is switched off filters nothing, and iptables-save prints it as ever: a metric says so."""

from __future__ import annotations

from oracle import labels
from support import ExporterTestCase, Network, main, netfilter, no_sanitizer, nobody_with

DORMANT = "iptables_dormant_tables"
WARNING = "warning: tables that are switched off and filter nothing (flags dormant)"


class DormantTables(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))
        for command in ("iptables-nft", "ip6tables-nft", "iptables-legacy"):
            self.network.run(command, "-A", "INPUT", "-j", "ACCEPT")
        self.network.run("iptables-nft", "-t", "nat", "-A", "OUTPUT")

    def switch(self, table: str, flag: str) -> None:
        self.network.run("nft", f"add table {table} {{ {flag} }}")

    def test_are_counted_and_named(self) -> None:
        sources = ("--family", "ipv4,ipv6", "--backend", "legacy,nft")
        none = {labels(backend="nft", family=family): "0" for family in ("ipv4", "ipv6")}
        run = self.network.export(*sources)
        self.assert_success(run)
        self.assertEqual(run.metrics[DORMANT].samples, none)
        hashes = run.metrics["iptables_ruleset_hash"].samples

        self.switch("ip filter", "flags dormant;")
        self.switch("ip6 filter", "flags dormant;")
        self.switch("ip nat", "flags dormant;")
        self.network.run("nft", "add table inet other { flags dormant; }")  # nothing of iptables
        run = self.network.export(*sources)
        self.assertEqual(run.status, 0, run)
        self.assert_says(
            run, f"{WARNING}: filter of ip6tables-nft-save, filter of iptables-nft-save, nat of iptables-nft-save"
        )
        wanted = {labels(backend="nft", family="ipv4"): "2", labels(backend="nft", family="ipv6"): "1"}
        self.assertEqual(run.metrics[DORMANT].samples, wanted)
        self.assertEqual(run.metrics["iptables_ruleset_hash"].samples, hashes, "nothing else shows it")
        # The metric says it: cron would mail a message each minute.
        self.assert_success(self.network.export(*sources, "--output", self.target))

        self.network.run("nft", "flush ruleset")
        self.network.iptables("-A", "INPUT", "-j", "ACCEPT")
        self.assertEqual(self.network.export(*sources).metrics[DORMANT].samples, none)

    def test_where_it_is_not_known(self) -> None:
        self.switch("ip filter", "flags dormant;")
        run = self.network.export("--backend", "legacy")
        self.assertNotIn(DORMANT, run.metrics)
        dump = self.directory / "dump"
        dump.write_bytes(self.network.save())
        self.assertNotIn(DORMANT, self.network.export("--input", dump).metrics)
        run = self.network.export("--backend", "nft", before=nobody_with("net_raw"))
        self.assertNotIn(DORMANT, run.metrics)


if __name__ == "__main__":
    main(netfilter, no_sanitizer)
