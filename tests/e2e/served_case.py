"""Test cases whose output is served by the real node_exporter, in a network of its own."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from pathlib import Path

import prometheus_api
from hostile import HOSTILE_CHAINS, HOSTILE_COMMENTS
from oracle import Family, read_metrics
from support import ExporterTestCase, Network, eventually, path_to_backend, value

NODE_EXPORTER = "127.0.0.1:9100"


class ServedCase(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))
        self.path = path_to_backend(self.directory / "bin", "nft")

    def start_server(self, url: str, *command: str, log: Path = Path(os.devnull)) -> None:
        """Starts a server in the network and waits until it answers."""
        with self.network.entered(), log.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def answers() -> bool:
            self.assertIsNone(process.poll(), f"{command[0]} has ended")
            try:
                return bool(self.fetch(url))
            except OSError:
                return False

        eventually(answers, f"{command[0]} answers")

    def fetch(self, url: str) -> bytes:
        with self.network.entered(), urllib.request.urlopen(url, timeout=60) as response:
            return response.read()

    def start_node_exporter(self, log: Path = Path(os.devnull)) -> None:
        """On the directory of the output."""
        self.start_server(
            f"http://{NODE_EXPORTER}/metrics",
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--web.disable-exporter-metrics",
            "--collector.textfile",
            f"--collector.textfile.directory={self.target.parent}",
            f"--web.listen-address={NODE_EXPORTER}",
            log=log,
        )

    def start_prometheus(self, interval: str) -> None:
        """It scrapes node_exporter, and has done so once."""
        config = self.directory / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: {interval}}}\n"
            "scrape_configs:\n"
            f"  - {{job_name: node, static_configs: [{{targets: ['{NODE_EXPORTER}']}}]}}\n"
        )
        self.start_server(
            f"http://{prometheus_api.ADDRESS}/-/ready",
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address={prometheus_api.ADDRESS}",
        )
        eventually(lambda: self.query("up == 1"), "Prometheus has scraped")

    def query(self, promql: str) -> prometheus_api.Vector:
        with self.network.entered():
            return prometheus_api.query(promql)

    def scrape(self) -> bytes:
        return self.fetch(f"http://{NODE_EXPORTER}/metrics")

    def served(self) -> dict[str, Family]:
        """What node_exporter serves; it must have read our file and no other, without an error."""
        families = read_metrics(self.scrape())
        self.assertEqual(value(families, "node_textfile_scrape_error"), "0")
        self.assertEqual(
            [dict(series)["file"] for series in families["node_textfile_mtime_seconds"].samples],
            [str(self.target)],
        )
        return families

    def write_hostile_output(self) -> bytes:
        """Writes the metrics of rules that mislead; returns the dump that they are of."""
        iptables = self.network.iptables
        for chain in HOSTILE_CHAINS:
            iptables("-N", chain)
            iptables("-A", "FORWARD", "-c", "5", "6", "-g", chain)
            iptables("-A", chain, "-c", "7", "8")
        for packets, comment in enumerate(HOSTILE_COMMENTS):
            rule = ("-c", str(packets), str(2**64 - 1), "-m", "comment", "--comment", comment)
            iptables("-A", "INPUT", *rule)
            iptables("-t", "mangle", "-A", "INPUT", *rule)
            iptables("-t", "mangle", "-A", "INPUT", *rule)
        run, dump = self.network.export_when_quiet("-o", self.target, path=self.path)
        self.assert_success(run)
        return dump
