#!/usr/bin/env python3
"""Routers without an agent: install.md's line for each, and all their pages in one directory."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from oracle import read_metrics
from served_case import ServedCase
from support import main, node_exporter, private_namespaces, run

INSTALL = (Path(__file__).resolve().parents[2] / "contrib/install.md").read_text()
ROUTER, OPTIONS = re.search(r"^ +ssh (\w+) iptables-save -c \| sudo iptables_exporter (.*)", INSTALL, re.MULTILINE).groups()
DUMP = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[1:2] -A INPUT -j ACCEPT\nCOMMIT\n"


class Routers(ServedCase):
    def collect(self, router: str, dump: bytes) -> int:
        options = [option.replace(ROUTER, router) for option in shlex.split(OPTIONS)]
        options[-1] = str(self.target.with_name(Path(options[-1]).name))
        with (self.directory / "dump").open("w+b") as file:
            file.write(dump)
            file.seek(0)
            return run(*options, stdin=file).status

    def counters(self) -> set[str | None]:
        """Whose the counters are that are served."""
        families = read_metrics(self.scrape())
        self.assertEqual(families["node_textfile_scrape_error"].samples, {(): "0"})
        return {dict(series).get("netns") for series in families["iptables_rule_packets_total"].samples}

    def test_all_of_them_are_served(self) -> None:
        for router in ("router1", "router2"):
            self.assertEqual(self.collect(router, DUMP), 0)
        self.assert_only_target(["iptables-router1.prom", "iptables-router2.prom"])
        log = self.directory / "log"
        self.start_node_exporter(log)
        self.assertEqual(self.counters(), {"router1", "router2"})
        written = sum(len(family.samples) for path in self.target.parent.iterdir()
                      for family in read_metrics(path.read_bytes()).values())  # fmt: skip
        served = sum(len(family.samples) for name, family in read_metrics(self.scrape()).items() if name[:2] == "ip")
        self.assertEqual(served, written)
        self.assertNotIn("collected before", log.read_text())

        # ssh fails: a gap for this router, and the other's counters stay.
        self.assertEqual(self.collect("router1", b""), 1)
        self.assertEqual(self.counters(), {"router2"})
        success = read_metrics(self.scrape())["iptables_scrape_success"].samples
        self.assertEqual(success, {(("netns", "router1"),): "0", (("netns", "router2"),): "1"})


if __name__ == "__main__":
    main(private_namespaces, node_exporter)
