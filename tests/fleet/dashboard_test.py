"""The dashboard is one that Grafana imports as it is."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import dashboard

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GRAFANAS_OWN = {"__rate_interval"}


class Dashboard(unittest.TestCase):
    def setUp(self) -> None:
        self.dashboard = dashboard.load()
        self.panels = self.dashboard["panels"]
        self.graphs = [panel for panel in self.panels if panel["type"] != "row"]

    def test_names_are_unique(self) -> None:
        for what in (
            [panel["id"] for panel in self.panels],
            [panel["title"] for panel in self.panels],
            *([target["refId"] for target in panel["targets"]] for panel in self.graphs),
        ):
            self.assertEqual(len(what), len(set(what)), what)

    def test_panels_fill_the_grid_without_overlap(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in self.panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken.add((x, y))

    def test_data_source_is_the_variable(self) -> None:
        variables = self.dashboard["templating"]["list"]
        self.assertEqual((variables[0]["name"], variables[0]["type"]), ("datasource", "datasource"))
        self.assertEqual(variables[0]["query"], "prometheus")
        for user in (
            *(variable for variable in variables if variable["type"] == "query"),
            *self.dashboard["annotations"]["list"],
            *self.graphs,
            *(target for panel in self.graphs for target in panel["targets"]),
        ):
            self.assertEqual(user["datasource"], DATASOURCE)

    def test_variables(self) -> None:
        """Each query uses only those that are, each is used, and "All" matches an absent label."""
        variables = {
            variable["name"]: variable for variable in self.dashboard["templating"]["list"]
        }
        earlier: set[str] = set()
        used = {"datasource"}
        for name, variable in variables.items():
            if variable["type"] == "query":
                self.assertLessEqual(names_in(variable["definition"]), earlier, name)
                self.assertEqual(variable["query"]["query"], variable["definition"])
                used |= names_in(variable["definition"])
            if variable["includeAll"]:
                self.assertEqual(variable["allValue"], ".*")
                self.assertEqual(variable["current"]["value"], ["$__all"])
            earlier.add(name)
        for title, promql in dashboard.queries(self.dashboard):
            with self.subTest(title):
                self.assertLessEqual(names_in(promql), set(variables) | GRAFANAS_OWN)
                for name in re.findall(r'[^~]"\$([a-z]\w*)', promql):
                    self.assertFalse(variables[name]["multi"], f"${name} may be several values")
                used |= names_in(promql)
        self.assertLessEqual(set(variables), used)

    def test_rules_are_asked_of_one_host(self) -> None:
        """All series of rules of a big fleet are more than Prometheus loads."""
        asked = 0
        for title, promql in dashboard.queries(self.dashboard):
            for selector in re.findall(r"(?<![\w:])iptables_rule_\w+\{([^}]*)\}", promql):
                asked += 1
                self.assertIn('instance="$host"', selector, title)
            self.assertNotRegex(promql, r"(?<![\w:])iptables_rule_\w+(?![\w:{])", title)
        self.assertGreater(asked, 10)

    def test_stats_are_empty_where_there_are_no_hosts(self) -> None:
        """And neither red nor a green 0."""
        stats = [panel for panel in self.panels if panel["type"] == "stat"]
        self.assertEqual(len(stats), 6)
        queries = [re.sub(r"\$[a-z]\w*", ".*", panel["targets"][0]["expr"]) for panel in stats]
        asked = [{"expr": promql, "eval_time": "5m", "exp_samples": []} for promql in queries]
        page = {"tests": [{"interval": "1m", "input_series": [], "promql_expr_test": asked}]}
        with tempfile.TemporaryDirectory() as directory:
            test = Path(directory, "test.yml")
            test.write_text(json.dumps(page))
            done = subprocess.run(["promtool", "test", "rules", test], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for panel in stats:
            self.assertNotIn("noValue", panel["fieldConfig"]["defaults"])

    def test_it_is_what_the_generator_writes(self) -> None:
        generate = dashboard.PATH.with_name("generate")
        written = subprocess.run([generate], check=True, capture_output=True, text=True).stdout
        self.assertEqual(dashboard.PATH.read_text(), written, f"{generate} > {dashboard.PATH}")

    def test_it_is_not_loaded_every_few_seconds(self) -> None:
        self.assertRegex(self.dashboard["refresh"], r"\A[1-9]\d*m\Z")

    def test_annotations_are_in_both_forms(self) -> None:
        """`target` since Grafana 11.6, `expr` before."""
        for annotation in self.dashboard["annotations"]["list"]:
            self.assertEqual(annotation["target"]["expr"], annotation["expr"])


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\$(\w*[a-z]\w*)", text))  # $1 belongs to label_replace()


if __name__ == "__main__":
    unittest.main()
