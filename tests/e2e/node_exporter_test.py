"""What the real node_exporter serves of our files: everything, to the letter."""

from __future__ import annotations

import re

from oracle import expected, read_metrics
from served_case import ServedCase
from support import FIXTURES, main, netfilter, node_exporter, private_namespaces, run, value


class NodeExporter(ServedCase):
    def test_reference_sample_to_the_letter(self) -> None:
        """The README of the Go exporter shows what this must be, its duration aside."""
        self.assert_success(run("-i", FIXTURES / "go-reference.save", "-o", self.target))
        self.start_node_exporter()
        self.served()

        reference = (FIXTURES / "go-reference.metrics").read_bytes()
        names = re.findall(rb"(?m)^# TYPE (\S+)", reference)
        self.assertEqual(len(names), 6)
        of_these = rb"(?m)^(?:# (?:HELP|TYPE) )?(?:%s)[ {].*\n" % b"|".join(names)
        served = b"".join(re.findall(of_these, self.scrape()))
        duration = rb"(?m)^(iptables_scrape_duration_seconds) [0-9.e+-]+$"
        self.assertEqual(re.sub(duration, rb"\1", served), re.sub(duration, rb"\1", reference))

    def test_hostile_ruleset_loses_nothing(self) -> None:
        counters = expected(self.write_hostile_output())
        self.start_node_exporter()
        served = self.served()
        written = read_metrics(self.target.read_bytes())
        self.assertLessEqual(set(counters), set(written))
        self.assertEqual({name for name in served if name.startswith("iptables_")}, set(written))
        for name, family in written.items():
            self.assertEqual((served[name].help, served[name].type), (family.help, family.type))
            wanted = counters.get(name, family.samples)
            self.assertEqual(
                {series: float(text) for series, text in served[name].samples.items()},
                {series: float(number) for series, number in wanted.items()},
            )

    def test_failure_is_served_after_success(self) -> None:
        """A gap in the counters, and the time of the success before."""
        self.network.iptables("-A", "INPUT")
        self.assert_success(self.network.export("-o", self.target, path=self.path))
        self.start_node_exporter()
        before = self.served()
        self.assertIn("iptables_rule_packets_total", before)

        failing = self.directory / "failing/iptables-save"
        failing.parent.mkdir()
        failing.write_text("#!/bin/sh\nexit 4\n")
        failing.chmod(0o755)
        failed = self.network.export("-o", self.target, path=f"{failing.parent}:/usr/bin:/bin")
        self.assertEqual(failed.status, 1, failed)
        after = self.served()
        self.assertEqual(value(after, "iptables_scrape_success"), "0")
        self.assertNotIn("iptables_rule_packets_total", after)
        last_success = "iptables_last_success_timestamp_seconds"
        self.assertEqual(after[last_success].samples, before[last_success].samples)


if __name__ == "__main__":
    main(private_namespaces, netfilter, node_exporter)
