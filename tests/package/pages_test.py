"""What a user reads names only files that his package has, and its links lead to them.

Usage: pages_test.py PACKAGE...
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

# Where another package's is meant: install.md tells of all ways, and the man page has a line for cron.
OTHERS = {"/etc/default/iptables_exporter", "/etc/sysconfig/iptables_exporter", "/usr/local/bin/iptables_exporter",
          "/usr/local/libexec/iptables_exporter-saved",
          "/usr/local/share/doc/iptables_exporter/examples"}  # fmt: skip
# What the reader makes; the tarball's options, too.
READERS = {"/usr/local/etc/default/iptables_exporter", "/etc/cron.d/iptables_exporter", "/etc/prometheus/iptables_exporter.rules.yml",
           "/etc/systemd/system/iptables_exporter.service.d",
           "/etc/systemd/system/iptables_exporter.service.d/nft-only.conf"}  # fmt: skip


def unpacked(package: Path, target: Path) -> Path:
    """As it is installed, below `target`."""
    root = target if package.suffix in (".deb", ".rpm") else target / "usr/local"
    root.mkdir(parents=True)
    if package.suffix == ".deb":
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    elif package.suffix == ".rpm":
        with package.open("rb") as file:
            archive = subprocess.check_output(["rpm2archive", "-"], stdin=file)
        subprocess.run(["tar", "-C", root, "-xz"], input=archive, check=True)
    else:
        subprocess.run(["tar", "-C", root, "--strip-components=1", "-xf", package], check=True)
    return target


def pages(root: Path) -> dict[Path, str]:
    """All that is text and for a reader."""
    found = {}
    for path in (Path(directory, name) for directory, _, names in os.walk(root) for name in names):
        if path.is_symlink() or path.suffix not in (".md", ".8", ".conf", ".service", ".timer", ".gz", ""):
            continue
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if not data.startswith((b"\x7fELF", b"#!")) and path.name not in ("THIRD_PARTY_NOTICES", "LICENSE", "copyright"):
            found[path] = data.decode()
    return found


class Pages(unittest.TestCase):
    def setUp(self) -> None:
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.roots = [unpacked(package, directory / package.suffix[1:]) for package in packages]

    def test_links(self) -> None:
        for root in self.roots:
            checked = 0
            for page, text in pages(root).items():
                if page.suffix != ".md":
                    continue
                for path, anchor in re.findall(r"\[[^]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
                    if re.match(r"\w+:", path):
                        continue
                    target = page.parent / path if path else page
                    self.assertTrue(target.is_file(), f"{page} leads to {path}")
                    if anchor:
                        headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
                        anchors = {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in headings}
                        self.assertIn(anchor, anchors, f"{page} leads to {path}")
                    checked += 1
            self.assertGreater(checked, 20, root)

    def test_files(self) -> None:
        named = r"(?<![\w.])/(?:etc|usr)/[\w./-]*iptables[-_]exporter(?:[\w./@-]*\w)?"
        for root in self.roots:
            found = {(page, path) for page, text in pages(root).items() for path in re.findall(named, text)}
            self.assertGreater(len(found), 10, root)
            for page, path in found:
                is_others = path in OTHERS and page.name in ("install.md", "reboot.md", "iptables_exporter.8.gz")
                if path not in READERS and not is_others:
                    self.assertTrue((root / path[1:]).exists(), f"{page} names {path}")

    def test_files_of_the_repository(self) -> None:
        for root in self.roots:
            for page, text in pages(root).items():
                before = ""
                for paragraph in text.split("\n\n"):
                    for path in re.findall(r"(?<![\w/.-])(?:contrib|fixtures|src|tests)/[\w./-]*\w", paragraph):
                        said = re.sub(r"\s+", " ", before + paragraph)
                        self.assertRegex(said, "source repository|clone of this repository", f"{page} names {path}")
                    before = paragraph if not paragraph.startswith("    ") else before + paragraph


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    packages = [Path(argument).resolve() for argument in sys.argv[1:]]
    unittest.main(argv=sys.argv[:1])
