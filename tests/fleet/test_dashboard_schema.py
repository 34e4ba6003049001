"""The dashboard is what Grafana's published types say it is: npm's @grafana/schema, by tsc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import dashboard

PACKAGES = ("@grafana/schema@12.4.11", "typescript@5.9.3")
TYPES = Path(__file__).parent / "dashboard_schema.ts"


class Schema(unittest.TestCase):
    directory: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
        subprocess.run(command, cwd=cls.directory, check=True, stdout=subprocess.DEVNULL)

    def errors(self, page: dict) -> str:
        text = TYPES.read_text() + json.dumps(page, indent=1) + ";\n"
        (self.directory / "dashboard.ts").write_text(text)
        tsc = self.directory / "node_modules" / ".bin" / "tsc"
        done = subprocess.run(
            [tsc, "--noEmit", "--strict", "--skipLibCheck", "--module", "preserve", "dashboard.ts"],
            cwd=self.directory, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    def test_types(self) -> None:
        self.assertEqual(self.errors(dashboard.load()), "")

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
                self.assertIn("error TS", self.errors(slip(path, value)))


if __name__ == "__main__":
    if not shutil.which("npm"):
        print("skipped: needs npm")
        sys.exit(77)
    unittest.main()
