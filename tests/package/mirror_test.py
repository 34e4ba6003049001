"""Debian's archive is the one that apt is told of, and no other: a host may be allowed nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
ARCHIVES = re.compile(rb"\b(deb|ftp|security|snapshot|archive|cloudfront)\.(debian|ubuntu)\.(org|net|com)\b")


class Mirror(unittest.TestCase):
    def test_no_archive_no_root(self) -> None:
        """With an apt that knows only another distribution's."""
        with tempfile.TemporaryDirectory() as directory:
            apt_get = Path(directory, "apt-get")
            apt_get.write_text(f'#!/bin/sh\necho "$*" >>{directory}/calls\necho main Ubuntu http://192.0.2.1/ubuntu\n')
            apt_get.chmod(0o755)
            root = Path(directory, "root")
            done = subprocess.run(
                [SOURCES / "contrib/debian-root", "trixie", root], capture_output=True, text=True,
                env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
            )  # fmt: skip
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, "^debian-root: apt knows no archive of Debian here.*\n$")
            self.assertFalse(root.exists())
            self.assertEqual(Path(directory, "calls").read_text().count("\n"), 1, "nothing was downloaded")

    def test_no_archive_is_named(self) -> None:
        named = set()
        for directory, below, names in os.walk(SOURCES):
            below[:] = set(below) - {".git", "build", "__pycache__"}
            files = (Path(directory, name) for name in names)
            named |= {path for path in files if path.is_file() and ARCHIVES.search(path.read_bytes())}
        self.assertEqual(named, set())


if __name__ == "__main__":
    unittest.main()
