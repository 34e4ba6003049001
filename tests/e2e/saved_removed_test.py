#!/usr/bin/env python3
"""A package that is removed leaves nothing of iptables_exporter-saved, and one that comes again finds nothing."""

from __future__ import annotations

import subprocess

from saved_case import SCRIPT, SavedCase
from support import main, netfilter, private_namespaces

PACKAGE = SCRIPT.parents[1] / "package"


class Removed(SavedCase):
    def test_by_either_package(self) -> None:
        """Of a host with legacy tables, on which more is made."""
        self.network.run("iptables-legacy", "-t", "raw", "-nL")
        for script, argument in (("postrm", "remove"), ("postun", "0")):
            with self.subTest(script):
                self.rehearse()
                subprocess.run(["sh", PACKAGE / script, argument], check=True)
                self.assertFalse(self.page.parent.exists())

    def test_empty_page_is_made_anew(self) -> None:
        """Which a package makes that comes again."""
        self.rehearse()
        before = self.page.read_text()
        self.page.write_text("")
        self.rehearse()
        self.assertEqual(self.page.read_text(), before)


if __name__ == "__main__":
    main(private_namespaces, netfilter)
