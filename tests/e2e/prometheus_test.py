"""What a real Prometheus has of a hostile ruleset, by way of node_exporter: everything."""

from __future__ import annotations

from oracle import expected
from served_case import ServedCase
from support import main, netfilter, node_exporter, private_namespaces, prometheus


class Prometheus(ServedCase):
    def test_hostile_ruleset_loses_nothing(self) -> None:
        counters = expected(self.write_hostile_output())
        self.start_node_exporter()
        self.start_prometheus("1s")
        for name, series in counters.items():
            # To Prometheus, an empty label is none.
            wanted = {tuple(pair for pair in key if pair[1]): float(n) for key, n in series.items()}
            self.assertEqual(self.query(name), wanted)


if __name__ == "__main__":
    main(private_namespaces, netfilter, node_exporter, prometheus)
