#!/usr/bin/env python3
"""The program, its man page, the README and the completions know the same options.

IPTABLES_EXPORTER is the path of the program.
"""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Options = set[str]


def options_in(pattern: str, text: str) -> Options:
    """All that the groups of the pattern capture, with their hyphens."""
    found = re.finditer(pattern, text, re.MULTILINE)
    names = [name for match in found for name in match.groups() if name]
    return {f"-{name}" if len(name) == 1 else f"--{name}" for name in names}


def in_help() -> Options:
    help_text = subprocess.check_output([os.environ["IPTABLES_EXPORTER"], "--help"], text=True)
    return options_in(r"^  (?:-(\w), |    )--([\w-]+)", help_text)


def in_man_page() -> Options:
    source = (ROOT / "contrib/man/iptables_exporter.8").read_text()
    return options_in(r"^\.It (?:Fl (\w) , )?Fl -([\w-]+)", source)


def in_readme() -> Options:
    use = re.search(r"^## Use\n(.*?)^## ", (ROOT / "README.md").read_text(), re.M | re.S)
    rows = re.findall(r"^\| (`-.*?) \|", use[1] if use else "", re.MULTILINE)
    return set(re.findall(r"`(--?[\w-]+)", " ".join(rows)))


def in_bash() -> Options:
    complete = (
        'source "$1"; COMP_WORDS=(iptables_exporter -); COMP_CWORD=1;'
        '_iptables_exporter iptables_exporter - iptables_exporter; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    script = ROOT / "contrib/completions/iptables_exporter.bash"
    return set(subprocess.check_output(["bash", "-c", complete, "bash", script], text=True).split())


def in_zsh() -> Options:
    source = (ROOT / "contrib/completions/_iptables_exporter").read_text()
    return options_in(r"^  '[^']*'\{-(\w)\+?,--([\w-]+)|^  '\*?--([\w-]+)", source)


def in_fish() -> Options:
    source = (ROOT / "contrib/completions/iptables_exporter.fish").read_text()
    return options_in(r"^complete -c iptables_exporter (?:-s (\w) )?-l ([\w-]+)", source)


class OptionsTest(unittest.TestCase):
    def test_are_the_same_everywhere(self) -> None:
        expected = in_help()
        self.assertIn("--output", expected)
        for place in (in_man_page, in_readme, in_bash, in_zsh, in_fish):
            with self.subTest(place.__name__):
                self.assertEqual(place(), expected)


if __name__ == "__main__":
    unittest.main()
