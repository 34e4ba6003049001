"""Alerts and recording rules do what they say: each incident with promtool."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

import incidents
from generator import CONTRIB, Settings, generate, rules
from simulation import Simulation

PROMETHEUS = CONTRIB / "prometheus"

Keep = Callable[[rules.Record | rules.Alert], bool]


def promtool(*arguments: str, cwd: str | Path) -> str:
    """What it complains about."""
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def simulated(scenario: Callable[[Simulation], None], keep: Keep = lambda rule: True) -> str:
    """What promtool complains about, with the rules that are kept."""
    interval = 60
    if scenario.__name__ in incidents.EVERY_15_SECONDS:
        interval = 15
    elif scenario.__name__ in incidents.EVERY_5_MINUTES:
        interval = 300
    simulation = Simulation(interval)
    scenario(simulation)
    settings = Settings()
    groups = rules.groups(settings)
    for group in groups:
        group.rules = [rule for rule in group.rules if keep(rule)]
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "rules.yml").write_text(
            generate.rule_file(settings, [group for group in groups if group.rules])
        )
        names = [f"iptables_exporter.{group.name}" for group in groups]
        Path(directory, "test.yml").write_text(simulation.as_promtool_has_it("rules.yml", names))
        return promtool("test", "rules", "test.yml", cwd=directory)


class Rules(unittest.TestCase):
    def test_committed_is_what_is_generated(self) -> None:
        for place, text in generate.outputs(Settings()).items():
            with self.subTest(place):
                self.assertEqual((CONTRIB / place).read_text(), text, "run generate")

    def test_promtool_takes_them(self) -> None:
        rule_file = PROMETHEUS / "iptables_exporter.rules.yml"
        self.assertEqual(promtool("check", "rules", str(rule_file), cwd=PROMETHEUS), "")
        # What the resource holds is the same.
        resource = (PROMETHEUS / "iptables_exporter.prometheusrule.yml").read_text()
        spec = "".join(
            line.removeprefix("  ") for line in resource.partition("spec:\n")[2].splitlines(True)
        )
        self.assertEqual(rule_file.read_text().partition("groups:\n")[2], spec.partition("groups:\n")[2])

    def test_other_settings_reach_everything(self) -> None:
        """A selector, identity and group of one's own are in every rule, and promtool takes them."""
        text = (PROMETHEUS / "settings.toml").read_text()
        text = text.replace("selector = ''", "selector = 'env=\"live\"'")
        text = text.replace('"instance"]', '"instance", "shard"]')
        with tempfile.TemporaryDirectory() as directory:
            mine = Path(directory, "mine.toml")
            mine.write_text(text)
            command = [PROMETHEUS / "generate", "--settings", mine, "--output", directory]
            subprocess.run(command, check=True)
            written = Path(directory, "prometheus", "iptables_exporter.rules.yml")
            self.assertEqual(promtool("check", "rules", str(written), cwd=directory), "")
            for group in rules.groups(Settings(mine)):
                for rule in group.rules:
                    own = re.findall(r"(?<![\w:])(?:iptables|node)_\w+(?![\w:])|\bup\b", rule.expr)
                    chosen = re.findall(r"(?<![\w:])(?:iptables|node)_\w+{env=|\bup{env=", rule.expr)
                    self.assertEqual(len(own), len(chosen), rule.expr)

    def test_memory_outlasts_prometheus(self) -> None:
        """What keeps itself is there after an outage of five hours, and not after seven."""
        kept = [
            rule for group in rules.groups(Settings()) for rule in group.rules
            if isinstance(rule, rules.Record) and f"({rule.name}[" in rule.expr
        ]  # fmt: skip
        self.assertEqual(len(kept), 5)
        labels = '{job="node",instance="a"}'
        for rule in kept:
            inputs = [{"series": rule.name + labels, "values": "100000000+60x60"}]
            if rule.name != rules.SUCCESS_SEEN:
                inputs.append({"series": rules.SUCCESS_SEEN + labels, "values": "7+0x600"})
            questions = [
                {"expr": f"count({rule.expr}) or vector(0)", "eval_time": time, "exp_samples": [
                    {"labels": "{}", "value": value}]}
                for time, value in (("6h", 1), ("8h", 0))
            ]  # fmt: skip
            test = {"tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": questions}]}
            with self.subTest(rule.name), tempfile.TemporaryDirectory() as directory:
                Path(directory, "test.yml").write_text(json.dumps(test))
                self.assertEqual(promtool("test", "rules", "test.yml", cwd=directory), "")

    def test_every_alert_has_a_runbook(self) -> None:
        page = (PROMETHEUS / "runbooks.md").read_text()
        alerts = [rule for group in rules.groups(Settings()) for rule in group.rules
                  if isinstance(rule, rules.Alert)]  # fmt: skip
        self.assertGreater(len(alerts), 10)
        self.assertEqual(
            [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## Iptables")],
            [alert.name for alert in alerts],
        )

    def test_every_alert_fires_in_an_incident(self) -> None:
        source = Path(incidents.__file__).read_text()
        for group in rules.groups(Settings()):
            for rule in group.rules:
                if isinstance(rule, rules.Alert):
                    self.assertIn(f'"{rule.name}"', source)


class Incidents(unittest.TestCase):
    def test_incidents(self) -> None:
        self.assert_all_pass({one.__name__: (one,) for one in incidents.INCIDENTS})

    def test_healthy_hosts_stay_silent_whatever_is_not_recorded(self) -> None:
        """A recording group that is late, was never evaluated, or is evaluated elsewhere."""
        names = {
            rule.name for group in rules.groups(Settings()) for rule in group.rules
            if isinstance(rule, rules.Record)
        }  # fmt: skip
        self.assertGreater(len(names), 15)

        def without(missing: set[str]) -> Keep:
            return lambda rule: rule.name not in missing

        self.assert_all_pass(
            {name: (incidents.two_hours_without_incident, without({name})) for name in names}
            | {"all": (incidents.two_hours_without_incident, without(names))}
        )

    def assert_all_pass(self, tests: dict[str, tuple]) -> None:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            running = {name: pool.submit(simulated, *test) for name, test in tests.items()}
            for name, result in running.items():
                with self.subTest(name):
                    self.assertEqual(result.result(), "")


if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("skipped: needs promtool (prometheus)")
        sys.exit(77)
    unittest.main()
