"""Tables that one of four sources does not show."""

from __future__ import annotations

from pathlib import Path

from oracle import Labels, labels, read_metrics
from sources_case import (
    ALL,
    IPV4_LEGACY,
    IPV4_NFT,
    IPV6_LEGACY,
    IPV6_NFT,
    LEGACY_WARNING,
    SOURCES,
    SourcesCase,
    ipv6_netfilter,
)
from support import SBIN, main, mounted, netfilter, nobody_with, private_namespaces, unshown


class Unshown(SourcesCase):
    def test_incompatible_tables(self) -> None:
        """Each is counted where it is, and named; nothing else suffers."""
        self.restore(*SOURCES)
        for family in ("ip", "ip6"):
            self.network.run("nft", "add", "chain", family, "filter", "foreign",
                             "{ type filter hook input priority 10; }")  # fmt: skip
        self.network.run(
            "nft", "add", "rule", "ip6", "mangle", "OUTPUT", "limit", "rate", "over", "5/second", "drop"
        )
        self.assertIn(b"# Table `filter' contains incompatible base-chains", self.save(IPV4_NFT))
        self.assertIn(b"# Table `mangle' is incompatible", self.save(IPV6_NFT))

        run, dumps = self.export_when_quiet(*ALL)
        self.assertEqual(run.status, 0, run)
        self.assert_says(
            run,
            "warning: tables that only nft can show whole (nft list ruleset): filter of ip6tables-nft-save, "
            "filter of iptables-nft-save, mangle of ip6tables-nft-save",
        )
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, dumps)
        self.assertEqual(
            unshown(run.metrics, "incompatible"),
            {source.series(): n for source, n in zip(SOURCES, ("0", "1", "0", "2"))},
        )
        shown = set(run.metrics["iptables_ruleset_hash"].samples)
        self.assertIn(IPV4_NFT.series(table="mangle"), shown)
        self.assertIn(IPV6_NFT.series(table="filter"), shown)
        self.assertNotIn(IPV6_NFT.series(table="mangle"), shown)

    def test_nothing_but_an_incompatible_table(self) -> None:
        """That is not "no tables"."""
        self.iptables(IPV6_NFT, "-A", "INPUT")
        self.network.run(
            "nft", "add", "rule", "ip6", "filter", "INPUT", "limit", "rate", "over", "5/second", "drop"
        )
        for arguments in (("--family", "ipv6", "--backend", "nft"), ALL):
            run = self.network.export(*arguments)
            self.assertEqual(run.status, 0, run)
            self.assert_messages(run, "warning: tables that only nft can show whole", "of ip6tables-nft-save")
            self.assertEqual(run.err.count(b"\n"), 1, run)
            self.assertEqual(unshown(run.metrics, "incompatible")[IPV6_NFT.series()], "1")
            self.assert_exact(run.metrics, {})

    def unshown_legacy(self, *arguments: str, **options: object) -> tuple[dict[Labels, str], bytes]:
        run = self.network.export(*arguments, **options)
        self.assertEqual(run.status, 0, run)
        self.assert_messages(run)
        return unshown(run.metrics, "legacy"), run.err

    def test_unshown_legacy_tables(self) -> None:
        nft = ("--family", "ipv4,ipv6", "--backend", "nft")
        none = {IPV4_NFT.series(): "0", IPV6_NFT.series(): "0"}
        self.restore(IPV4_NFT, IPV6_NFT)
        self.assertEqual(self.unshown_legacy(*nft), (none, b""))

        # One family's are nothing to the other.
        self.restore(IPV6_LEGACY)
        series, messages = self.unshown_legacy(*nft)
        self.assertEqual(series, none | {IPV6_NFT.series(): "2"})
        self.assertEqual(
            messages.decode(), f"iptables_exporter: warning: {LEGACY_WARNING}: ip6 filter, ip6 mangle\n"
        )

        self.restore(IPV4_LEGACY)
        series, messages = self.unshown_legacy(*nft)
        self.assertEqual(series, {IPV4_NFT.series(): "2", IPV6_NFT.series(): "2"})
        self.assertEqual(
            messages.decode(),
            f"iptables_exporter: warning: {LEGACY_WARNING}: ip filter, ip mangle, ip6 filter, ip6 mangle\n",
        )
        # Who writes a file has the metric.
        run = self.network.export(*nft, "-o", self.target)
        self.assert_success(run)
        self.assertEqual(unshown(read_metrics(self.target.read_bytes()), "legacy"), series)

        self.assertEqual(self.unshown_legacy(*ALL), ({source.series(): "0" for source in SOURCES}, b""))
        series, _ = self.unshown_legacy("--backend", "legacy")
        self.assertEqual(series, {labels(backend="legacy"): "0"})

    def test_unshown_legacy_tables_of_the_plain_command(self) -> None:
        self.restore(IPV4_NFT, IPV4_LEGACY)
        series, messages = self.unshown_legacy(path=self.path)
        self.assertEqual(series, {(): "2"})
        self.assertIn(f"warning: {LEGACY_WARNING}: ip filter, ip mangle\n".encode(), messages)

        (self.directory / "legacy").mkdir()
        (self.directory / "legacy" / "iptables-save").symlink_to(f"{SBIN}/xtables-legacy-multi")
        run = self.network.export(path=f"{self.directory}/legacy:/usr/bin:/bin")
        self.assertEqual(unshown(run.metrics, "legacy"), {(): "0"})
        self.assertEqual(unshown(run.metrics, "nft"), {(): "2"})
        self.assert_says(
            run, "warning: nft tables that are not counted (nft list ruleset): ip filter, ip mangle"
        )

    def test_unshown_legacy_tables_and_privileges(self) -> None:
        """Who may not read the kernel's list of legacy tables does not know."""
        nft = ("--family", "ipv4,ipv6", "--backend", "nft")
        self.restore(*SOURCES)
        self.assertEqual(self.unshown_legacy(*nft, before=nobody_with("net_admin")), ({}, b""))
        series, messages = self.unshown_legacy(*nft, before=nobody_with("net_admin", "dac_read_search"))
        self.assertEqual(series, {IPV4_NFT.series(): "2", IPV6_NFT.series(): "2"})
        self.assertEqual(messages.count(b"\n"), 1)

    def test_unshown_legacy_tables_where_proc_shows_processes_only(self) -> None:
        """As under systemd's ProcSubset=pid: there is no /proc/net, and the legacy command is blind."""
        self.restore(IPV4_NFT, IPV4_LEGACY)
        with mounted(Path("/proc"), "-t", "proc", "-o", "subset=pid", "proc"):
            series, _ = self.unshown_legacy("--family", "ipv4", "--backend", "nft")
            self.assertEqual(series, {IPV4_NFT.series(): "2"})
            both = ("--family", "ipv4", "--backend", "legacy,nft", "--allow-empty")
            run = self.network.export(*both)
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, "error: iptables-legacy-save: printed nothing, though")
        self.assertEqual(
            run.metrics["iptables_scrape_success"].samples,
            {IPV4_LEGACY.series(): "0", IPV4_NFT.series(): "1"},
        )


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipv6_netfilter)
