"""The Alertmanager example is taken, and routes by severity."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unittest

from generator import CONTRIB, Settings, rules

EXAMPLE = CONTRIB / "prometheus" / "alertmanager.yml"


def amtool(*arguments: str) -> str:
    command = ["amtool", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Alertmanager(unittest.TestCase):
    def test_it_is_taken(self) -> None:
        self.assertIn("SUCCESS", amtool("check-config", str(EXAMPLE)))

    def test_routes(self) -> None:
        settings = Settings()
        receivers = {"critical": "pager", "warning": "tickets", "info": "channel"}
        for name in alerts():
            severity = settings.severity(name)
            labels = (f"alertname={name}", f"severity={severity}", "job=node")
            routed = amtool("config", "routes", "test", f"--config.file={EXAMPLE}", *labels)
            self.assertEqual(routed.strip(), receivers[severity], name)

    def test_inhibition_names_alerts_that_are(self) -> None:
        named = set()
        for group, names in re.findall(r'alertname=~?"(\w+)\(?([^")]*)', EXAMPLE.read_text()):
            named |= {group + name for name in names.split("|")} if names != ".*" else set()
        self.assertGreater(len(named), 6)
        self.assertLessEqual(named - {"Iptables"}, set(alerts()))


def alerts() -> list[str]:
    return [
        rule.name
        for group in rules.groups(Settings())
        for rule in group.rules
        if isinstance(rule, rules.Alert)
    ]


if __name__ == "__main__":
    if not shutil.which("amtool"):
        print("skipped: needs amtool (prometheus-alertmanager)")
        sys.exit(77)
    unittest.main()
