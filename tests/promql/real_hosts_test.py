"""Sums and hashes of the real iptables, served by the real node_exporter; rates of sums by promtool."""

from __future__ import annotations

import subprocess
import unittest
import urllib.request
from pathlib import Path

import support
from oracle import read_metrics
from promql_test import BYTES, HASH, OF_CHAINS, PACKETS, assert_answered, total, vector
from prometheus_api import Vector
from support import FIXTURES, ExporterTestCase, Network


class OnRealHosts(ExporterTestCase):
    def test_hash_covers_the_chains_that_matchers_on_chains_keep(self) -> None:
        with Network("nft") as network:
            path = support.path_to_backend(self.directory / "bin", "nft")

            def hashes(*selectors: str) -> Vector:
                options = (f"--select={selector}" for selector in selectors)
                run = network.export(*options, path=path)
                assert_answered(run)
                return vector(run.metrics, HASH)

            for chain in ("KUBE-SVC-A", "office"):
                network.iptables("-N", chain)
                network.iptables("-A", "INPUT", "-j", chain)
            network.iptables("-t", "nat", "-N", "KUBE-SVC-B")
            all_chains = ((), ('{comment!=""}',), ('{chain="office"}', '{target="none"}'))
            without_kube = (('{chain!~"KUBE-.*"}',), ('{chain!~"KUBE-.*",target="none"}',))
            before = {selectors: hashes(*selectors) for selectors in all_chains + without_kube}

            network.iptables("-A", "KUBE-SVC-A", "-s", "10.0.0.1")
            network.iptables("-N", "KUBE-SVC-C")
            for selectors in all_chains:
                self.assertNotEqual(hashes(*selectors), before[selectors], selectors)
            for selectors in without_kube:
                self.assertEqual(hashes(*selectors), before[selectors], selectors)
            network.iptables("-A", "office", "-s", "10.0.0.1")
            for selectors in without_kube:
                self.assertNotEqual(hashes(*selectors), before[selectors], selectors)
            self.assertEqual(hashes('{table="raw"}'), {})
            self.assertEqual([dict(one)["table"] for one in hashes('{table="nat"}')], ["nat"])

    def test_node_exporter_serves_empty_labels_and_none(self) -> None:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        process = subprocess.Popen(
            [
                "prometheus-node-exporter",
                "--collector.disable-defaults",
                "--web.disable-exporter-metrics",
                "--collector.textfile",
                f"--collector.textfile.directory={self.target.parent}",
                "--web.listen-address=127.0.0.1:9100",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def scrape() -> bytes:
            with urllib.request.urlopen("http://127.0.0.1:9100/metrics", timeout=60) as answer:
                return answer.read()

        def is_serving() -> bool:
            try:
                return bool(scrape())
            except OSError:
                return False

        support.eventually(is_serving, "node_exporter answers")
        own = ('--label=byte=comment "(.)', "--label=by=-j (.*)")
        for options in (("--sum-by=",), ("--sum-by=comment",), (*own, "--sum-by=by,byte,target")):
            run = support.run("-i", FIXTURES / "hostile.save", "-o", self.target, *options)
            assert_answered(run)
            served = read_metrics(scrape())
            written_ = read_metrics(self.target.read_bytes())
            self.assertEqual(total(served, "node_textfile_scrape_error"), 0)
            for metric in OF_CHAINS:
                self.assertEqual(vector(served, metric), vector(written_, metric), options)
            for metric in (PACKETS, BYTES):  # as float64
                self.assertEqual(set(served[metric].samples), set(written_[metric].samples))


class Rates(unittest.TestCase):
    def test_rates_of_sums(self) -> None:
        rules = Path(__file__).with_name("summing_test.yml")
        done = subprocess.run(["promtool", "test", "rules", rules], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    support.main(support.netfilter, support.node_exporter, support.prometheus)
