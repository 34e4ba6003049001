"""What README.md and the pages it leads to show and name is so today. IPTABLES_EXPORTER is the program.

In a block in fences, a line `$ COMMAND` is run in the repository's root, and what follows must be its
output. With UPDATE_GOLDEN=1 in the environment that is written anew: read the diff.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in (
    "README.md", "contrib/README.md", "contrib/container/README.md", "contrib/install.md", "contrib/limits.md",
    "contrib/prometheus/runbooks.md", "contrib/reboot.md", "contrib/scale/README.md", "tests/README.md",
    "tests/benchmark/README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
)]  # fmt: skip
README = PAGES[0].read_text()


class Pages(unittest.TestCase):
    def test_shown_output(self) -> None:
        def run(block: re.Match[str]) -> str:
            done = subprocess.run(["sh", "-c", block[1]], cwd=ROOT, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""), block[1])
            return f"```\n$ {block[1]}\n{done.stdout}```"

        shown = 0
        for page in PAGES:
            text = page.read_text()
            today, count = re.subn(r"^```\n\$ (.+)\n(?:.*\n)*?```$", run, text, flags=re.MULTILINE)
            shown += count
            if "UPDATE_GOLDEN" in os.environ:
                page.write_text(today)
            self.assertEqual(text, today, page)
        self.assertGreater(shown, 0)

    def test_what_is_named_is_there(self) -> None:
        for page in PAGES:
            paths = re.findall(r"(?<![\w/.-])((?:contrib|fixtures|src|tests)/[\w./-]*\w)", page.read_text())
            missing = {path for path in paths if not (ROOT / path).exists()}
            self.assertEqual(missing, set(), page)

    def test_links_lead_somewhere(self) -> None:
        def anchors(page: Path) -> set[str]:
            """As GitHub and GitLab make them of headings."""
            titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
            return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

        for page in PAGES:
            for path, anchor in re.findall(r"\]\(([^():#]*)(?:#([^()]*))?\)", page.read_text()):
                with self.subTest(page=page.name, path=path, anchor=anchor):
                    target = page.parent / path if path else page
                    self.assertTrue(target.exists())
                    self.assertTrue(not anchor or anchor in anchors(target))

    def test_limits_name_tests_that_are_there(self) -> None:
        page = (ROOT / "contrib/limits.md").read_text()
        scripts = "".join((ROOT / "tests" / name).read_text() for name in ("CMakeLists.txt", "fuzz/CMakeLists.txt"))
        cases = "".join(path.read_text() for path in (ROOT / "tests/unit").rglob("*_test.cpp"))
        named = set()
        for names in re.findall(r"Tests?:(.*?)(?:\.\n|\Z)", page, re.DOTALL) + re.findall(r"\| ([^|]*) \|$", page, re.M):
            named |= set(re.findall(r"`([^`]+)`", names))
        self.assertGreater(len(named), 10)
        for name in named:
            is_case = f'TEST_CASE("{name}")' in cases
            self.assertTrue(is_case or re.search(rf"\b{name}\b", scripts) or (ROOT / name).exists(), name)

    def test_all_of_contrib_is_named(self) -> None:
        page = (ROOT / "contrib/README.md").read_text()
        for path in (ROOT / "contrib").iterdir():
            if path.name not in ("CMakeLists.txt", "README.md"):
                self.assertIn(f"`{path.name}", page)

    def test_one_sitting(self) -> None:
        self.assertLessEqual(README.count("\n"), 200)


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(os.environ['IPTABLES_EXPORTER']).parent}:{os.environ['PATH']}"
    unittest.main()
