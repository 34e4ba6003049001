"""The dashboard is what Grafana's published types say it is: npm's @grafana/schema, by tsc."""

from __future__ import annotations

from pathlib import Path

import dashboard
import typescript

TYPES = (Path(__file__).parent / "dashboard_schema.ts").read_text()


class Schema(typescript.TypeChecked):
    packages = ("@grafana/schema@12.4.11",)

    def test_types(self) -> None:
        self.assertEqual(self.errors(TYPES, dashboard.load()), "")

    def test_slips_are_noticed(self) -> None:
        """Each in a panel, a query, a variable, an annotation or the whole."""

        def slip(path: tuple, value: object) -> dict:
            page = inner = dashboard.load()
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = value
            return page

        stat = next(n for n, panel in enumerate(dashboard.load()["panels"]) if panel["type"] == "stat")
        for path, value in (
            (("schemaVersion",), "38"),
            (("refreshes",), "1m"),
            (("panels", stat, "gridPos", "width"), 4),
            (("panels", stat, "type"), "stats"),
            (("panels", stat, "options", "graphMode"), "nothing"),
            (("panels", stat, "targets", 0, "query"), "up"),
            (("templating", "list", 0, "hide"), "no"),
            (("annotations", "list", 0, "target", "expression"), "up"),
        ):
            with self.subTest(path=path):
                self.assertIn("error TS", self.errors(TYPES, slip(path, value)))


if __name__ == "__main__":
    typescript.main()
