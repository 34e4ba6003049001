"""Where a package lacks that tests are built with, CMake says which."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]


class Lacking(unittest.TestCase):
    def test_packages_of_tests(self) -> None:
        with tempfile.TemporaryDirectory() as build:
            hidden = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("doctest", "Python3")]
            command = ["cmake", "--preset", "quick", "-B", build, *hidden]
            done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt install doctest-dev python3", " ".join(done.stderr.split()))


if __name__ == "__main__":
    unittest.main()
