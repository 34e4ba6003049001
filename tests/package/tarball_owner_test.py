"""The tarball is root's, whoever packs it, and so is what it leaves where it is unpacked.

tar keeps the owner's number when root unpacks: who has this number there would own a program and units
that root runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import unittest
from pathlib import Path

from machine import isolate, mount

SOURCES = Path(__file__).resolve().parents[2]
BUILD = SOURCES / "build/release"
INSTALL = (SOURCES / "contrib/install.md").read_text()
OTHER = 1000  # the first user of most hosts
LOCAL = Path("/usr/local")
SCRATCH = Path("/mnt")  # in our own mount namespace: a tmpfs, and nothing to clean up


def packed(directory: Path, *before: str) -> Path:
    """What CPack makes of the build, started by `before`."""
    command = [*before, "cpack", "--config", BUILD / "CPackConfig.cmake", "-B", directory]
    directory.mkdir()
    os.chown(directory, OTHER, OTHER)
    subprocess.run(command, cwd=BUILD, check=True, stdout=subprocess.DEVNULL)
    [tarball] = directory.glob("*.tar.gz")
    return tarball


class Owner(unittest.TestCase):
    def test_whoever_packs_it(self) -> None:
        subprocess.run(["cmake", "--preset", "check-static"], cwd=SOURCES, check=True, stdout=subprocess.DEVNULL)
        # That user, with the right to write into a build of root's, and to find one in /root: access(2) leaves
        # other users' capabilities out, but for these securebits.
        ids = [f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "--securebits=+no_setuid_fixup"]
        as_other = ["setpriv", *ids, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        by_root, by_other = packed(SCRATCH / "root"), packed(SCRATCH / "other", *as_other)
        self.assertEqual(by_root.read_bytes(), by_other.read_bytes())
        staged = next((SCRATCH / "other").rglob("bin/iptables_exporter"))
        self.assertEqual(staged.stat().st_uid, OTHER, "it was another user who packed it")
        with tarfile.open(by_other) as archive:
            members = archive.getmembers()
        self.assertGreater(len(members), 20)
        self.assertEqual({(one.uid, one.gid, one.uname, one.gname) for one in members}, {(0, 0, "root", "root")})

    def test_unpacked_and_removed_as_documented(self) -> None:
        """Of a tarball that somebody else has packed, in another way."""
        mount("tmpfs", LOCAL)
        self.addCleanup(subprocess.run, ["umount", LOCAL], check=True)
        (LOCAL / "another").touch()
        source = SCRATCH / "source"
        source.mkdir()
        foreign = ["tar", f"--owner=:{OTHER}", f"--group=:{OTHER}", "-C", SOURCES]
        foreign += ["-czf", source / "iptables_exporter-1.tar.gz", "contrib/install.md", "contrib/systemd"]
        subprocess.run(foreign, check=True)

        def follow(command: str) -> set[Path]:
            """The files that are there then."""
            found = re.search(rf"^ +({command}.*)", INSTALL, re.MULTILINE)[1].replace("sudo ", "")
            subprocess.run(found, shell=True, cwd=source, check=True)
            return {path for path in LOCAL.rglob("*") if not path.is_dir()}

        before = {LOCAL / "another"}
        files = follow("sudo tar -C /usr/local") - before
        self.assertGreater(len(files), 10)
        self.assertEqual({path.stat().st_uid for path in files}, {0})
        self.assertEqual(follow("tar -tf"), before, "removed, and nothing else")


if __name__ == "__main__":
    isolate("cpack", "setpriv", "tar")
    mount("tmpfs", SCRATCH)
    unittest.main(verbosity=2)
