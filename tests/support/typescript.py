"""Data held against published TypeScript types: npm's packages, by tsc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path


class TypeChecked(unittest.TestCase):
    packages: tuple[str, ...]  # with the types
    directory: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *cls.packages, "typescript@5.9.3"]
        subprocess.run(command, cwd=cls.directory, check=True, stdout=subprocess.DEVNULL)

    def errors(self, declaration: str, data: object) -> str:
        """What tsc says of `data` as the value of what is declared."""
        (self.directory / "data.ts").write_text(f"{declaration}{json.dumps(data, indent=1)};\n")
        tsc = self.directory / "node_modules" / ".bin" / "tsc"
        done = subprocess.run(
            [tsc, "--noEmit", "--strict", "--skipLibCheck", "--module", "preserve", "data.ts"],
            cwd=self.directory, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout + done.stderr


def main() -> None:
    if not shutil.which("npm"):
        print("skipped: needs npm")
        sys.exit(77)
    unittest.main()
