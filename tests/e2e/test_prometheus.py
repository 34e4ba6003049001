"""What a real Prometheus has of a hostile ruleset, by way of node_exporter: everything."""

from __future__ import annotations

import json
import urllib.parse

from oracle import Labels, expected
from served_case import NODE_EXPORTER, ServedCase
from support import eventually, main, netfilter, node_exporter, private_namespaces, prometheus

PROMETHEUS = "127.0.0.1:9090"


class Prometheus(ServedCase):
    def test_hostile_ruleset_loses_nothing(self) -> None:
        counters = expected(self.write_hostile_output())
        self.start_node_exporter()
        config = self.directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: node, static_configs: [{{targets: ['{NODE_EXPORTER}']}}]}}\n"
        )
        self.start_server(
            f"http://{PROMETHEUS}/-/ready",
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address={PROMETHEUS}",
        )
        eventually(lambda: self.query("up == 1"), "Prometheus has scraped")
        for name, series in counters.items():
            # To Prometheus, an empty label is none.
            wanted = {tuple(pair for pair in key if pair[1]): float(n) for key, n in series.items()}
            self.assertEqual(self.query(name), wanted)

    def query(self, promql: str) -> dict[Labels, float]:
        """The series of an instant query, without the labels of the target."""
        parameters = urllib.parse.urlencode({"query": promql})
        answer = json.loads(self.fetch(f"http://{PROMETHEUS}/api/v1/query?{parameters}"))
        self.assertEqual(answer["status"], "success")
        of_target = ("__name__", "instance", "job")
        return {
            tuple(sorted(pair for pair in series["metric"].items() if pair[0] not in of_target)): float(
                series["value"][1]
            )
            for series in answer["data"]["result"]
        }


if __name__ == "__main__":
    main(private_namespaces, netfilter, node_exporter, prometheus)
