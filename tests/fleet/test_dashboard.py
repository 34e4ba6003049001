"""The dashboard is one that Grafana imports as it is."""

from __future__ import annotations

import re
import unittest

import dashboard

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GRAFANAS_OWN = {"__rate_interval"}

# What must be there, and its type. Nothing else may be, so that a slip of the pen is noticed.
DASHBOARD = {
    "uid": str, "title": str, "description": str, "tags": list, "id": type(None), "version": int,
    "schemaVersion": int, "editable": bool, "graphTooltip": int, "timezone": str, "refresh": str,
    "time": dict, "links": list, "annotations": dict, "templating": dict, "panels": list,
}  # fmt: skip
ROW = {"id": int, "type": str, "title": str, "collapsed": bool, "gridPos": dict, "panels": list}
PANEL = {
    "id": int, "type": str, "title": str, "gridPos": dict, "datasource": dict, "targets": list,
    "fieldConfig": dict,
}  # fmt: skip
PANEL_MAY_HAVE = {"description": str, "options": dict, "transformations": list}
TARGET = {"datasource": dict, "refId": str, "expr": str}
TARGET_MAY_HAVE = {"instant": bool, "range": bool, "format": str, "legendFormat": str}


class Dashboard(unittest.TestCase):
    def setUp(self) -> None:
        self.dashboard = dashboard.load()
        self.panels = self.dashboard["panels"]
        self.graphs = [panel for panel in self.panels if panel["type"] != "row"]

    def assert_shape(self, value: dict, required: dict, optional: dict | None = None) -> None:
        self.assertLessEqual(set(required), set(value))
        for key, inner in value.items():
            self.assertIsInstance(inner, {**required, **(optional or {})}[key], key)

    def test_shape(self) -> None:
        self.assert_shape(self.dashboard, DASHBOARD)
        for panel in self.panels:
            with self.subTest(panel["title"]):
                if panel["type"] == "row":
                    self.assert_shape(panel, ROW)
                    continue
                self.assert_shape(panel, PANEL, PANEL_MAY_HAVE)
                self.assertIn(panel["type"], ("stat", "timeseries", "table"))
                self.assertEqual(set(panel["fieldConfig"]), {"defaults", "overrides"})
                for target in panel["targets"]:
                    self.assert_shape(target, TARGET, TARGET_MAY_HAVE)
                    self.assertNotEqual(target.get("instant"), target.get("range"))

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
                self.assertEqual((variable["includeAll"], variable["allValue"]), (True, ".*"))
                self.assertEqual(variable["current"]["value"], ["$__all"])
            earlier.add(name)
        for title, promql in dashboard.queries(self.dashboard):
            with self.subTest(title):
                self.assertLessEqual(names_in(promql), set(variables) | GRAFANAS_OWN)
                self.assertNotRegex(
                    promql, r'[^~]"\$[a-z]', "a variable may stand for several values"
                )
                used |= names_in(promql)
        self.assertLessEqual(set(variables), used)

    def test_rates_of_rules_are_guarded(self) -> None:
        """A rule counter may be a sum, which falls when one of its rules goes."""
        for _, promql in dashboard.queries(self.dashboard):
            rate = r"rate\((iptables_rule_\w+_total[^\[]*\[[^\]]+\])\)"
            for selected in re.findall(rate, promql):
                guarded = f"rate({selected}) unless resets({selected}) > 0"
                self.assertTrue(guarded in promql, f"should be {guarded}")


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\$(\w*[a-z]\w*)", text))  # $1 belongs to label_replace()


if __name__ == "__main__":
    unittest.main()
