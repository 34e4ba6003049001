"""The Alertmanager example is taken, and routes by severity."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unittest

import yaml

from rules_test import PROMETHEUS, each_rule, names

EXAMPLE = PROMETHEUS / "alertmanager.yml"


def amtool(*arguments: str) -> str:
    command = ["amtool", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Alertmanager(unittest.TestCase):
    def test_it_is_taken(self) -> None:
        self.assertIn("SUCCESS", amtool("check-config", str(EXAMPLE)))

    def test_routes(self) -> None:
        receivers = {"critical": "pager", "warning": "tickets", "info": "channel"}
        for name, severity in severities().items():
            labels = (f"alertname={name}", f"severity={severity}", "job=node")
            routed = amtool("config", "routes", "test", f"--config.file={EXAMPLE}", *labels)
            self.assertEqual(routed.strip(), receivers[severity], name)

    def test_no_page_is_inhibited(self) -> None:
        for name, severity in severities().items():
            every = {"alertname": name, "table": "filter", "file": "iptables_saved.prom"}
            inhibited = any(matches(rule["target_matchers"], every) for rule in inhibitions())
            self.assertFalse(inhibited and severity == "critical", name)

    def test_inhibition(self) -> None:
        """By source and target: their labels, but those of the host."""
        lost = {"alertname": "IptablesRulesLost", "family": "ipv6", "chain": "INPUT"}
        opened = {"alertname": "IptablesPolicyOpened", "family": "ipv6", "table": "nat", "chain": "OUTPUT"}
        gone = {"alertname": "IptablesMetricsGone", "file": "/run/iptables_saved.prom"}
        unreadable, unknown = {"alertname": "IptablesTextfileError"}, {"alertname": "IptablesSavedUnknown"}

        def changed(family: str, table: str, alert: str = "RulesetChanged") -> dict[str, str]:
            return {"alertname": f"Iptables{alert}", "family": family, "table": table, "backend": "nft"}

        for source, target, inhibited in (
            (lost, changed("ipv6", "filter"), True),
            (lost, changed("ipv6", "filter", "NotSaved"), True),
            (lost, changed("ipv4", "filter"), False),
            (lost, changed("ipv6", "nat"), False),
            (opened, changed("ipv6", "nat"), True),
            (opened, changed("ipv6", "filter"), False),
            (opened, changed("ipv4", "nat", "NotSaved"), False),
            (lost, opened, False), (opened, lost, False),
            (gone, unreadable, True), (unreadable, gone, False),
            (gone, unknown, True), ({**gone, "file": "/run/iptables.prom"}, unknown, False),
        ):  # fmt: skip
            for other in ("a", "b"):
                with self.subTest(source=source, target=target, host=other):
                    found = inhibits({**source, "instance": "a"}, {**target, "instance": other})
                    self.assertEqual(found, inhibited and other == "a")

    def test_it_names_alerts_that_are(self) -> None:
        text = re.sub(r"Iptables\((\w+)\|(\w+)\)", r"Iptables\1 Iptables\2", EXAMPLE.read_text())
        named = re.findall(r"Iptables\w+", text)
        self.assertGreater(len(set(named)), 5)
        self.assertLessEqual(set(named), set(names("alert")))


def severities() -> dict[str, str]:
    found = (re.search(r"(?s)- alert: (\w+).*severity: (\w+)", rule) for rule in each_rule())
    return {match[1]: match[2] for match in found if match}


def inhibitions() -> list[dict]:
    return yaml.safe_load(EXAMPLE.read_text())["inhibit_rules"]


def matches(matchers: list[str], labels: dict[str, str]) -> bool:
    found = [re.fullmatch(r'(\w+)(=~?)"(.*)"', matcher) for matcher in matchers]
    return all(
        re.fullmatch(match[3] if match[2] == "=~" else re.escape(match[3]), labels.get(match[1], ""))
        for match in found
    )


def inhibits(source: dict[str, str], target: dict[str, str]) -> bool:
    """As Alertmanager does."""
    return any(
        matches(rule["source_matchers"], source)
        and matches(rule["target_matchers"], target)
        and all(source.get(label, "") == target.get(label, "") for label in rule["equal"])
        for rule in inhibitions()
    )


if __name__ == "__main__":
    if not shutil.which("amtool"):
        print("skipped: needs amtool (prometheus-alertmanager)")
        sys.exit(77)
    unittest.main()
