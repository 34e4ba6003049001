"""What contrib/package/release has made is complete, and the same bytes as packages of another build.

Usage: release_test.py DIRECTORY OTHER [unittest's arguments]

In OTHER are packages for amd64, made in another directory, as tests/run leaves them in build/release.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from packaged import program_of

VALIDATOR = ("@cyclonedx/cyclonedx-library@10.3.0", "ajv@8.20.0", "ajv-formats@3.0.1", "ajv-formats-draft2019@1.6.1")
VALIDATE = """
const {Validation} = require('@cyclonedx/cyclonedx-library');
const text = require('fs').readFileSync(0, 'utf8');
new Validation.JsonStrictValidator('1.5').validate(text).then(error => {
  if (error) { console.log(JSON.stringify(error)); process.exit(1); }
});
"""
# Debian's packages of what src/CMakeLists.txt names.
LINKED = ("libc6-dev", "libcap-dev", "libcxxopts-dev", "libfmt-dev", "libre2-dev", "libtsl-ordered-map-dev", "libxxhash-dev")


class Release(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_sums(self) -> None:
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=release, check=True)
        listed = {line.split()[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(listed, {path.name for path in release.iterdir()} - {"SHA256SUMS"})

    def test_packages_of_an_architecture_hold_one_program(self) -> None:
        for architecture, names in (("x86-64", ("amd64", "x86_64")), ("aarch64", ("arm64", "aarch64"))):
            packages = [path for path in release.glob("*[bmz]") if any(name in path.name for name in names)]
            self.assertEqual(len(packages), 3)
            programs = [program_of(path, self.directory / path.name) for path in packages]
            self.assertEqual(len({path.read_bytes() for path in programs}), 1)
            kind = subprocess.check_output(["file", programs[0]], text=True)
            self.assertRegex(kind, f"(?i){architecture}.*static-pie")

    def test_what_is_linked_in(self) -> None:
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *VALIDATOR]
        subprocess.run(command, cwd=self.directory, check=True, stdout=subprocess.DEVNULL)
        show = ["dpkg-query", "--show", "--showformat", "${source:Package} ${source:Version}\n", *LINKED]
        expected = {tuple(line.split()) for line in subprocess.check_output(show, text=True).splitlines()}
        if platform.freedesktop_os_release()["VERSION_CODENAME"] != "bookworm":
            show[-len(LINKED):] = ["libabsl-dev"]
            expected.add(tuple(subprocess.check_output(show, text=True).split()))
        for path in release.glob("*.cdx.json"):
            done = subprocess.run(["node", "-e", VALIDATE], cwd=self.directory, input=path.read_text(),
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
            parts = {(part["name"], part["version"]) for part in json.loads(path.read_text())["components"]}
            self.assertLessEqual(expected, parts, path)
            self.assertIn("gcc", {name.split("-")[0] for name, _ in parts})
            others = {"gcc", "linux", "cross"}
            self.assertEqual({name for name, _ in parts if name.split("-")[0] not in others},
                             {name for name, _ in expected}, path)

    def test_the_same_bytes_elsewhere(self) -> None:
        made = [path for path in release.glob("*[bmz]") if re.search("amd64|x86_64", path.name)]
        self.assertEqual(len(made), 3)
        for path in made:
            self.assertEqual(path.read_bytes(), (other / path.name).read_bytes(), path.name)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    release, other = (Path(sys.argv.pop(1)).resolve() for _ in range(2))
    unittest.main(verbosity=2)
