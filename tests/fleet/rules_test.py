"""Alerts and recording rules do what they say: each story with promtool.

To see one: rules_test.py Stories.test_minutes, and STORIES=REGEX for those whose names match.
"""

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
from pathlib import Path

import dashboard
import healthy  # noqa: F401
import incidents  # noqa: F401
import stories
import watching  # noqa: F401
from simulation import Simulation

PROMETHEUS = Path(__file__).resolve().parents[2] / "contrib" / "prometheus"
PATH = PROMETHEUS / "iptables_exporter.rules.yml"
RULES = PATH.read_text()
OPERATORS = PROMETHEUS / "iptables_exporter.prometheusrule.yml"


def promtool(*arguments: str, cwd: str | Path) -> str:
    """What it complains about."""
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def simulated(simulation: Simulation, rules: str = RULES, wanted: str = "") -> str:
    """What promtool complains about."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "rules.yml").write_text(rules)
        test = simulation.as_promtool_has_it("rules.yml", re.findall(r"- name: (\S+)", rules), wanted)
        Path(directory, "test.yml").write_text(test)
        return promtool("test", "rules", "test.yml", cwd=directory)


def each_rule() -> list[str]:
    """Its text, with the comment."""
    return re.split(r"(?m)^(?=      # )", RULES.partition("groups:\n")[2])[1:]


def names(kind: str) -> list[str]:
    return re.findall(rf"(?m)^      - {kind}: (\S+)$", RULES)


def expression(rule: str) -> str:
    return re.search(r"(?s)\n        expr: (.*?)(?=\n {0,8}\S|\n\n|\n?\Z)", rule)[1]


class Rules(unittest.TestCase):
    def test_promtool_takes_them(self) -> None:
        self.assertEqual(promtool("check", "rules", str(PATH), cwd=PROMETHEUS), "")

    def test_they_are_few_and_short(self) -> None:
        """The next to carry them on reads them in one sitting."""
        self.assertLessEqual(RULES.count("\n"), 280)
        for line in RULES.splitlines():
            if not re.match(r"          (description|runbook_url): ", line):
                self.assertLessEqual(len(line), 120, line)
        self.assertEqual(len(each_rule()), len(names("record")) + len(names("alert")))
        for rule in each_rule():
            expr = expression(rule)
            with self.subTest(rule.split("\n")[1]):
                self.assertLessEqual(expr.count("\n") + 1, 8)
                self.assertLessEqual(len(re.findall(r"\b(?:and|or|unless)\b", expr)), 4)
                self.assertRegex(rule, r"\A      # .*\n      - (record|alert): ")

    def test_the_operators_resource_holds_the_same(self) -> None:
        """UPDATE_GOLDEN=1 writes it anew."""
        head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n"
        head += "  name: iptables-exporter\n  labels: {role: alert-rules}\nspec:\n"
        comment, _, groups = RULES.partition("groups:\n")
        body = re.sub(r"(?m)^(?=.)", "  ", "groups:\n" + groups)
        if os.environ.get("UPDATE_GOLDEN"):
            OPERATORS.write_text(comment + head + body)
        self.assertEqual(OPERATORS.read_text(), comment + head + body)

    def test_a_host_may_have_other_labels(self) -> None:
        """By the commands of the runbooks."""
        page = (PROMETHEUS / "runbooks.md").read_text()
        commands = re.findall(r"(?m)^    (sed -i .*)$", page)
        self.assertEqual(len(commands), 2)
        with tempfile.TemporaryDirectory() as directory:
            for path in (*PROMETHEUS.glob("*.yml"), dashboard.PATH):
                shutil.copy(path, directory)
            for command in commands:
                subprocess.run(command, shell=True, check=True, cwd=directory)
            rules = Path(directory, PATH.name).read_text()
            self.assertEqual(promtool("check", "rules", PATH.name, cwd=directory), "")
            for lists in re.findall(r"\b(?:by|on) \(([^)]+)\)", rules):
                self.assertTrue(lists.startswith("region, job, instance"), lists)
            self.assertNotIn("iptables-exporter.example", rules)

    def test_every_alert_has_a_runbook(self) -> None:
        page = (PROMETHEUS / "runbooks.md").read_text()
        self.assertEqual(re.findall(r"(?m)^## (Iptables\w+)$", page), names("alert"))
        for rule in each_rule():
            if alert := re.search(r"- alert: (\w+)", rule):
                self.assertRegex(rule, rf"runbook_url: 'https://[^']+/runbooks.md#{alert[1].lower()}'")

    def test_the_runbooks_table_is_of_these_alerts(self) -> None:
        page = (PROMETHEUS / "runbooks.md").read_text()
        rows = re.findall(r"(?m)^\| \[(\w+)\]\(#(\w+)\) \| (\w+) \| (\w+|at once) \| \S.* \|$", page)
        alerts = [rule for rule in each_rule() if "- alert: " in rule]
        expected = []
        for rule in alerts:
            name = re.search(r"- alert: (\w+)", rule)[1]
            held = re.search(r"(?m)^        for: (\w+)$", rule)
            severity = re.search(r"\{severity: (\w+)\}", rule)[1]
            expected.append((name, name.lower(), severity, held[1] if held else "at once"))
        self.assertEqual(rows, expected)

    def test_every_alert_is_told_of_a_story(self) -> None:
        told = {one.alert for each in stories.ALL.values() for story in each.stories for one in story.told}
        self.assertEqual(told, set(names("alert")))

    def test_memory_outlasts_prometheus(self) -> None:
        """What keeps itself is there after an outage of five hours, and not after seven."""
        kept = [rule for rule in each_rule() if (name := re.search(r"- record: (\S+)", rule))
                and f"({name[1]}[6h])" in rule]  # fmt: skip
        self.assertEqual(len(kept), 6)
        others = names("record") + ["up"]
        for rule in kept:
            name = re.search(r"- record: (\S+)", rule)[1]
            labels = '{job="node",instance="a"}'
            inputs = [{"series": name + labels, "values": "1+60x60"}]
            inputs += [{"series": other + labels, "values": "0x600"} for other in others if other != name]
            inputs[-1]["values"] = "1+0x600"  # up
            promql = f"count({' '.join(expression(rule).split())}) or vector(0)"
            questions = [
                {"expr": promql, "eval_time": time, "exp_samples": [{"labels": "{}", "value": value}]}
                for time, value in (("6h", 1), ("8h", 0))
            ]
            test = {"tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": questions}]}
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                Path(directory, "test.yml").write_text(json.dumps(test))
                self.assertEqual(promtool("test", "rules", "test.yml", cwd=directory), "")


class Words(unittest.TestCase):
    def test_the_command_is_of_the_alerts_own_family_and_namespace(self) -> None:
        ours = 'instance="a",netns="red",family="ipv6"'
        test = {
            "rule_files": [str(PATH)],
            "tests": [{
                "interval": "1m",
                "input_series": [
                    {"series": 'up{instance="a"}', "values": "1x30"},
                    {"series": f"iptables_scrape_success{{{ours}}}", "values": "1x30"},
                    {"series": f'iptables_rules{{{ours},table="filter",chain="INPUT"}}', "values": "5x9 0x20"},
                ],
                "alert_rule_test": [{
                    "eval_time": "20m",
                    "alertname": "IptablesRulesLost",
                    "exp_alerts": [{
                        "exp_labels": {
                            "severity": "critical", "instance": "a", "netns": "red", "family": "ipv6", "chain": "INPUT",
                        },
                        "exp_annotations": {
                            "summary": "the firewall has lost its rules",
                            "description": "Namespace red of a: 0 rule(s) are left in ipv6 INPUT of the filter table,"
                            " less than a fifth of what is saved or was there. See: ip netns exec red ip6tables"
                            " -t filter -S INPUT",
                            "runbook_url": "https://iptables-exporter.example/runbooks.md#iptablesruleslost",
                        },
                    }],
                }],
            }],
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "test.yml").write_text(json.dumps(test))
            self.assertEqual(promtool("test", "rules", "test.yml", cwd=directory), "")


class Stories(unittest.TestCase):
    wanted = os.environ.get("STORIES", "")

    def test_all(self) -> None:
        self.assert_told({name: (one, RULES, self.wanted) for name, one in stories.ALL.items()})

    def test_healthy_hosts_stay_silent_whatever_is_not_recorded(self) -> None:
        """Recordings that come late, were never evaluated, or are evaluated elsewhere."""
        runs = {}
        records = names("record")
        for missing in ([*records], *([one] for one in records)):
            kept = RULES
            for rule in each_rule():
                if any(f"- record: {one}\n" in rule for one in missing):
                    kept = kept.replace(rule.rstrip("\n") + "\n", "")
            runs[" ".join(missing)] = (HEALTHY, kept, "")
        self.assert_told(runs)

    def assert_told(self, runs: dict[str, tuple]) -> None:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            running = {name: pool.submit(simulated, *run) for name, run in runs.items()}
            for name, result in running.items():
                with self.subTest(name):
                    self.assertEqual(result.result(), "")


HEALTHY = Simulation(120)
stories.story(HEALTHY, "packaged", stories.saved(stories.packaged()), 60)
stories.story(HEALTHY, "docker", stories.docker(), 60)

if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("skipped: needs promtool (prometheus)")
        sys.exit(77)
    unittest.main()
