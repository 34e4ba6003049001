"""What the real node_exporter serves of our files: everything, to the letter."""

from __future__ import annotations

import re
import subprocess
import urllib.request

from hostile import HOSTILE_CHAINS, HOSTILE_COMMENTS
from oracle import Family, expected, read_metrics
from support import (
    FIXTURES,
    ExporterTestCase,
    Network,
    eventually,
    main,
    netfilter,
    node_exporter,
    path_to_backend,
    private_namespaces,
    run,
    value,
)

ADDRESS = "127.0.0.1:9100"


class ServedByNodeExporter(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))

    def serve(self) -> None:
        """Starts node_exporter on the directory of the output."""
        with self.network.entered():
            process = subprocess.Popen(
                [
                    "prometheus-node-exporter",
                    "--collector.disable-defaults",
                    "--web.disable-exporter-metrics",
                    "--collector.textfile",
                    f"--collector.textfile.directory={self.target.parent}",
                    f"--web.listen-address={ADDRESS}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(self.is_serving, "node_exporter answers")

    def is_serving(self) -> bool:
        try:
            return bool(self.scrape())
        except OSError:
            return False

    def scrape(self) -> bytes:
        with self.network.entered():
            with urllib.request.urlopen(f"http://{ADDRESS}/metrics", timeout=60) as response:
                return response.read()

    def served(self) -> dict[str, Family]:
        families = read_metrics(self.scrape())
        self.assertEqual(value(families, "node_textfile_scrape_error"), "0")
        self.assertEqual(
            [dict(series)["file"] for series in families["node_textfile_mtime_seconds"].samples],
            [str(self.target)],
        )
        return families

    def assert_all_served(self, dump: bytes) -> None:
        """Every series in the file is served, and the counters are those of the dump."""
        served = self.served()
        counters = expected(dump)
        written = read_metrics(self.target.read_bytes())
        self.assertEqual({n for n in served if n.startswith("iptables_")}, set(written))
        for name, family in written.items():
            self.assertEqual((served[name].help, served[name].type), (family.help, family.type))
            wanted = counters.get(name, family.samples)
            self.assertEqual(
                {series: float(text) for series, text in served[name].samples.items()},
                {series: float(number) for series, number in wanted.items()},
            )

    def test_reference_sample_to_the_letter(self) -> None:
        """The README of the Go exporter shows what this must be, its duration aside."""
        self.assert_success(run("-i", FIXTURES / "go-reference.save", "-o", self.target))
        self.serve()
        self.served()

        reference = (FIXTURES / "go-reference.metrics").read_bytes()
        names = re.findall(rb"(?m)^# TYPE (\S+)", reference)
        self.assertEqual(len(names), 6)
        of_these = rb"(?m)^(?:# (?:HELP|TYPE) )?(?:%s)[ {].*\n" % b"|".join(names)
        served = b"".join(re.findall(of_these, self.scrape()))
        duration = rb"(?m)^(iptables_scrape_duration_seconds) [0-9.e+-]+$"
        self.assertEqual(re.sub(duration, rb"\1", served), re.sub(duration, rb"\1", reference))

    def test_hostile_ruleset_loses_nothing(self) -> None:
        network = self.network
        for chain in HOSTILE_CHAINS:
            network.iptables("-N", chain)
            network.iptables("-A", "FORWARD", "-c", "5", "6", "-g", chain)
            network.iptables("-A", chain, "-c", "7", "8")
        for packets, comment in enumerate(HOSTILE_COMMENTS):
            rule = ("-c", str(packets), str(2**64 - 1), "-m", "comment", "--comment", comment)
            network.iptables("-A", "INPUT", *rule)
            network.iptables("-t", "mangle", "-A", "INPUT", *rule)
            network.iptables("-t", "mangle", "-A", "INPUT", *rule)
        path = path_to_backend(self.directory / "bin", "nft")
        collected, dump = network.export_when_quiet("-o", self.target, path=path)
        self.assert_success(collected)
        self.serve()
        self.assert_all_served(dump)

    def test_failure_is_served_after_success(self) -> None:
        """A gap in the counters, and the time of the success before."""
        path = path_to_backend(self.directory / "bin", "nft")
        self.network.iptables("-A", "INPUT")
        self.assert_success(self.network.export("-o", self.target, path=path))
        self.serve()
        before = self.served()

        self.network.run("nft", "flush", "ruleset")
        failed = self.network.export("-o", self.target, path=path)
        self.assertEqual(failed.status, 1, failed)
        after = self.served()
        self.assertEqual(value(after, "iptables_scrape_success"), "0")
        self.assertNotIn("iptables_rule_packets_total", after)
        last_success = "iptables_last_success_timestamp_seconds"
        self.assertEqual(after[last_success].samples, before[last_success].samples)


if __name__ == "__main__":
    main(private_namespaces, netfilter, node_exporter)
