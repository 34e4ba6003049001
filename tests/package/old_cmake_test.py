"""Where CMake is too old, as on Debian 11, this is said before anything is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import executable

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
TOOLS = ("cat", "dirname", "head", "id", "sed", "sh", "sort")
SCRIPTS = ("quickstart", "container/build", "package/release")


class OldCMake(unittest.TestCase):
    def setUp(self) -> None:
        self.bin = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        for name in ("apt-get", "sudo"):
            executable(self.bin / name, f'#!/bin/sh\nif [ {name} = sudo ]; then exec "$@"; fi\necho "$1" >>{self.bin}/calls\n')

    def assert_said(self, here: str) -> None:
        for script in SCRIPTS:
            done = subprocess.run([CONTRIB / script], env={"PATH": str(self.bin)}, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn(f"CMake 3.25 and g++ 12, as in Debian 12; CMake here: {here}.", done.stderr)

    def test_it_is_here(self) -> None:
        executable(self.bin / "cmake", "#!/bin/sh\necho cmake version 3.18.4\n")
        self.assert_said("3.18.4")
        self.assertFalse((self.bin / "calls").exists(), "apt-get was run")

    def test_apt_has_it(self) -> None:
        policy = "cmake:\\n  Installed: (none)\\n  Candidate: 3.18.4-2+deb11u1\\n  Version table:\\n"
        executable(self.bin / "apt-cache", f"#!/bin/sh\n[ \"$*\" = 'policy cmake' ] && printf '{policy}'\n")
        self.assert_said("3.18.4-2+deb11u1")
        self.assertEqual(set((self.bin / "calls").read_text().split()), {"update"})

    def test_there_is_none(self) -> None:
        (self.bin / "apt-get").unlink()
        self.assert_said("none")


if __name__ == "__main__":
    unittest.main()
