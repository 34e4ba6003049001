"""Files of four sources, served by node_exporter and seen in Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

from oracle import Family, Labels, labels, read_metrics
from served_case import NODE_EXPORTER
from sources_case import ALL, IPV4_NFT, IPV6_LEGACY, LOOPBACK, SourcesCase, ipv6_netfilter
from support import (
    SYSTEM_PATH,
    eventually,
    executable,
    main,
    netfilter,
    nobody_with,
    node_exporter,
    private_namespaces,
    prometheus,
    value,
)


class Served(SourcesCase):
    """By node_exporter, which says in its log and in its own metrics when samples collide."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.directory / "node_exporter.log"
        self.make_rules_and_traffic()

    def start_node_exporter(self) -> None:
        """With metrics of its own; not as root, of which it would warn."""
        self.start_server(
            f"http://{NODE_EXPORTER}/metrics",
            "sh",
            "-c",
            f'exec "$@" 2>{self.log}',
            "sh",
            *nobody_with(),
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={self.target.parent}",
            f"--web.listen-address={NODE_EXPORTER}",
        )

    def scrape_ours(self) -> dict[str, Family]:
        """Everything of ours, and what tells of errors."""
        self.scrape()  # its errors are counted in the next
        wanted = rb"(?:# (?:HELP|TYPE) )?(?:iptables_|node_textfile_|promhttp_metric_handler_errors_)"
        return read_metrics(b"".join(re.findall(rb"(?m)^%s.*\n" % wanted, self.scrape())))

    def collisions(self, families: dict[str, Family]) -> float:
        return sum(map(float, families["promhttp_metric_handler_errors_total"].samples.values()))

    def complaints(self) -> list[str]:
        """What node_exporter has logged, but for lines that say themselves that they are none."""
        lines = self.log.read_text().splitlines()
        harmless = [line for line in lines if re.search(r"(?i)\blevel=info\b", line)]
        self.assertTrue(harmless, "the log is read")
        return [line for line in lines if line not in harmless]

    def assert_nothing_lost(self, *files: Path) -> None:
        """What is served is what stands in the files, all of it."""
        served = self.scrape_ours()
        self.assertEqual(value(served, "node_textfile_scrape_error"), "0")
        self.assertEqual(self.collisions(served), 0)
        self.assertEqual(self.complaints(), [])
        mtimes = served["node_textfile_mtime_seconds"].samples
        self.assertEqual(set(mtimes), {labels(file=str(file)) for file in files})

        written: dict[str, dict[Labels, float]] = {}
        for file in files:
            for name, family in read_metrics(file.read_bytes()).items():
                self.assertEqual((served[name].help, served[name].type), (family.help, family.type))
                series = {key: float(text) for key, text in family.samples.items()}
                self.assertFalse(series.keys() & written.get(name, {}).keys(), name)
                written.setdefault(name, {}).update(series)
        self.assertEqual({name for name in served if name.startswith("iptables_")}, set(written))
        for name, wanted in written.items():
            self.assertEqual({k: float(text) for k, text in served[name].samples.items()}, wanted)

    def test_four_sources_in_one_file(self) -> None:
        run, dumps = self.export_when_quiet(*ALL, "-o", self.target)
        self.assert_success(run)
        self.assert_exact(read_metrics(self.target.read_bytes()), dumps)
        self.start_node_exporter()
        self.assert_nothing_lost(self.target)

        executable(self.directory / "fake" / "iptables-nft-save", "#!/bin/sh\nexit 1\n")
        run = self.network.export(*ALL, "-o", self.target, path=f"{self.directory}/fake:{SYSTEM_PATH}")
        self.assertEqual(run.status, 1, run)
        self.assert_nothing_lost(self.target)
        self.assert_failed(self.scrape_ours(), IPV4_NFT)

    def test_two_files_of_two_runs(self) -> None:
        files = [self.target.with_name("a.prom"), self.target.with_name("b.prom")]
        self.start_node_exporter()
        for arguments in (
            (("--family", "ipv4"), ("--family", "ipv6")),
            (("--backend", "legacy"), ("--backend", "nft")),
            (("--family", "ipv4", "--backend", "legacy,nft"), ("--family", "ipv6", "--backend", "nft")),
        ):
            with self.subTest(arguments=arguments):
                for own, file in zip(arguments, files):
                    self.assertEqual(self.network.export(*own, "-o", file).status, 0)
                self.assert_nothing_lost(*files)
        # One of a success, one of a failure.
        executable(self.directory / "fake" / "ip6tables-save", "#!/bin/sh\nexit 1\n")
        self.assert_failing_beside(files)

    def assert_failing_beside(self, files: list[Path]) -> None:
        path = f"{self.directory}/fake:{SYSTEM_PATH}"
        for family, file, status in zip(LOOPBACK, files, (0, 1)):
            run = self.network.export("--family", family, "-o", file, path=path)
            self.assertEqual(run.status, status, run)
        self.assert_nothing_lost(*files)
        success = self.scrape_ours()["iptables_scrape_success"].samples
        self.assertEqual(success, {labels(family="ipv4"): "1", labels(family="ipv6"): "0"})

    def test_collisions_would_be_seen(self) -> None:
        """The same of two runs that tell the series of their files apart by nothing."""
        files = [self.target.with_name("a.prom"), self.target.with_name("b.prom")]
        for file in files:
            self.assertEqual(self.network.export("-o", file).status, 0)
        self.start_node_exporter()
        served = self.scrape_ours()
        self.assertEqual(value(served, "node_textfile_scrape_error"), "0")
        self.assertGreater(self.collisions(served), 0)
        self.assertIn("was collected before with the same name and label values", "".join(self.complaints()))
        with self.assertRaises(self.failureException):
            self.assert_nothing_lost(*files)

    def test_firewall_change_seen_in_prometheus(self) -> None:
        self.start_node_exporter()
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        written = read_metrics(self.target.read_bytes())["iptables_ruleset_hash"].samples
        self.start_prometheus("100ms")
        self.assertEqual(
            self.query("iptables_ruleset_hash"), {series: float(text) for series, text in written.items()}
        )
        alert = "changes(iptables_ruleset_hash[1h]) > 0"

        # Traffic is no change.
        self.send_udp("ipv6", 5353, b"")
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        eventually(lambda: self.query("changes(iptables_rule_packets_total[1h]) > 0"), "traffic is seen")
        self.assertEqual(self.query(alert), {})

        self.iptables(IPV6_LEGACY, "-D", "INPUT", "1")
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        eventually(lambda: self.query(alert), "the change is seen")
        self.assertEqual(self.query(alert), {IPV6_LEGACY.series(table="filter"): 1})


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipv6_netfilter, node_exporter, prometheus)
