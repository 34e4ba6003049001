#!/usr/bin/env python3
"""The program, its man page, the README and the completions know the same options, labels and metrics.

IPTABLES_EXPORTER is the path of the program, which is asked for its options and labels; metrics are those
that src/metrics names.
"""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MAN_PAGE = (ROOT / "contrib/man/iptables_exporter.8").read_text()
Options = set[str]


def options_in(pattern: str, text: str) -> Options:
    """All that the groups of the pattern capture, with their hyphens."""
    found = re.finditer(pattern, text, re.MULTILINE)
    names = [name for match in found for name in match.groups() if name]
    return {f"-{name}" if len(name) == 1 else f"--{name}" for name in names}


def help_text() -> str:
    return subprocess.check_output([os.environ["IPTABLES_EXPORTER"], "--help"], text=True)


def in_help() -> Options:
    return options_in(r"^  (?:-(\w), |    )--([\w-]+)", help_text())


def in_man_page() -> Options:
    return options_in(r"^\.It (?:Fl (\w) , )?Fl -([\w-]+)", MAN_PAGE)


def in_readme() -> Options:
    use = re.search(r"^## Use\n(.*?)^## ", README, re.M | re.S)
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


# --- labels that --select, --sum-by and --hash know, in the order in which they are told --------


def labels_of_program() -> list[str]:
    """What it says of one that it does not know."""
    given = ("--family", "ipv4", "--backend", "nft", "--netns", "x", "--select", '{no_such_label=""}')
    said = subprocess.run([os.environ["IPTABLES_EXPORTER"], *given], capture_output=True, text=True).stderr
    return re.search(r"one of the labels (.*), not no_such_label", said)[1].split(", ")


def labels_of_help() -> list[str]:
    told = re.search(r"over the labels (.*?) if given", help_text(), re.DOTALL)[1]
    return [word for word in re.findall(r"\w+", told) if word not in ("NAME", "of", "label")]


def labels_of_readme() -> list[str]:
    table = README.partition("| label | value")[2].partition("\n\n")[0]
    return [name for cell in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)]


def labels_of_man_page() -> list[str]:
    told = MAN_PAGE.partition("\nThe labels are\n")[2].partition("\nif these options are given.")[0]
    return [name for line in re.findall(r"^\.Va (.*)", told, re.M) for name in re.findall(r"\w+", line)]


def labels_of_bash() -> list[str]:
    complete = (
        'source "$1"; COMP_WORDS=(iptables_exporter --sum-by ""); COMP_CWORD=2;'
        '_iptables_exporter iptables_exporter "" --sum-by; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    script = ROOT / "contrib/completions/iptables_exporter.bash"
    return subprocess.check_output(["bash", "-c", complete, "bash", script], text=True).split()


def labels_of_zsh() -> list[str]:
    source = (ROOT / "contrib/completions/_iptables_exporter").read_text()
    return re.search(r"--sum-by=.*:_values -s , label (.*?)'", source)[1].split()


def labels_of_fish() -> list[str]:
    source = (ROOT / "contrib/completions/iptables_exporter.fish").read_text()
    return re.search(r"-l sum-by -xa '\(\w+ (.*?)\)'", source)[1].split()


# --- metrics ------------------------------------------------------------------------------------


def metrics_of_source() -> set[str]:
    source = "".join(path.read_text() for path in sorted((ROOT / "src/metrics").iterdir()))
    found = set(re.findall(r'"(iptables_\w+)"', source))
    pairs = found & {"iptables_default", "iptables_rule"}  # of counters
    return (found - pairs) | {f"{name}_{unit}_total" for name in pairs for unit in ("bytes", "packets")}


def metrics_of_readme() -> set[str]:
    rows = re.findall(r"^\| (`iptables_.*?) \|", README, re.MULTILINE)
    return set(re.findall(r"iptables_\w+", " ".join(rows)))


def metrics_of_man_page() -> set[str]:
    items = re.findall(r"^\.It Va (iptables_.*)", MAN_PAGE.partition("\n.Sh METRICS\n")[2], re.MULTILINE)
    return set(re.findall(r"iptables_\w+", " ".join(items)))


class Names(unittest.TestCase):
    def test_options_are_the_same_everywhere(self) -> None:
        expected = in_help()
        self.assertIn("--output", expected)
        for place in (in_man_page, in_readme, in_bash, in_zsh, in_fish):
            with self.subTest(place.__name__):
                self.assertEqual(place(), expected)

    def test_labels_are_the_same_everywhere(self) -> None:
        """In one order, but that those of the sources come first in messages and last elsewhere."""
        expected = labels_of_program()
        self.assertEqual(expected[:4], ["family", "backend", "netns", "table"])
        expected = [*expected[3:], *expected[:3]]
        places = (labels_of_help, labels_of_readme, labels_of_man_page, labels_of_bash, labels_of_zsh, labels_of_fish)
        for place in places:
            with self.subTest(place.__name__):
                self.assertEqual(place(), expected)

    def test_metrics_are_the_same_everywhere(self) -> None:
        expected = metrics_of_source()
        self.assertIn("iptables_rule_packets_total", expected)
        for place in (metrics_of_readme, metrics_of_man_page):
            with self.subTest(place.__name__):
                self.assertEqual(place(), expected)


if __name__ == "__main__":
    unittest.main()
