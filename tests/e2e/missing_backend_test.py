"""A backend that the kernel does not have shows nothing, whatever its command printed before it failed."""

from __future__ import annotations

from fault_case import FaultCase
from support import Network, executable, main, netfilter, private_namespaces, value


class MissingBackend(FaultCase):
    def test_rules_of_a_command_that_fails(self) -> None:
        executable(self.bin / "iptables-nft-save", f"#!/bin/sh\ncat {self.dump}\n")
        executable(self.bin / "iptables-legacy-save", f"#!/bin/sh\ncat {self.dump}; exit 1\n")
        with Network("nft") as network:
            run = network.export("--backend", "legacy,nft", path=self.path)
        self.assertEqual(run.status, 0, run)
        for backend, rules in (("legacy", 0), ("nft", 2)):
            label = ("backend", backend)
            self.assertEqual(value(run.metrics, "iptables_scrape_success", (label,)), "1")
            for name in ("iptables_rule_packets_total", "iptables_rules"):
                found = [series for series in run.metrics[name].samples if label in series]
                self.assertEqual(len(found), rules, run)


if __name__ == "__main__":
    main(private_namespaces, netfilter)
