#!/usr/bin/env python3
"""Completions go on behind a comma, with what is not in the list yet."""

from __future__ import annotations

import shutil
import subprocess
import unittest
from pathlib import Path

COMPLETIONS = Path(__file__).resolve().parents[2] / "contrib/completions"
# As bash cuts it into words.
CASES = {
    ("--family", "i"): {"ipv4", "ipv6"},
    ("--family", "ipv4,"): {"ipv4,ipv6"},
    ("-b", "nft,l"): {"nft,legacy"},
    ("--sum-by", "chain,table,r"): {"chain,table,rule"},
    ("--sum-by", "s"): {"source", "sport"},
    ("--sum-by", "=", "chain,s"): {"chain,source", "chain,sport"},
}


class Completions(unittest.TestCase):
    def test_bash(self) -> None:
        complete = (
            'compopt() { :; }; source "$1"; shift; COMP_WORDS=(iptables_exporter "$@"); COMP_CWORD=$#;'
            '_iptables_exporter iptables_exporter "${@: -1}" "${@: -2:1}"; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        for words, expected in CASES.items():
            command = ["bash", "-c", complete, "bash", COMPLETIONS / "iptables_exporter.bash", *words]
            self.assertEqual(set(subprocess.check_output(command, text=True).split()), expected, words)

    @unittest.skipUnless(shutil.which("fish"), "needs fish")
    def test_fish(self) -> None:
        complete = 'source $argv[1]; complete -C "iptables_exporter $argv[2]"'
        for words, expected in CASES.items():
            line = " ".join(words).replace(" = ", "=")
            command = ["fish", "--no-config", "-c", complete, COMPLETIONS / "iptables_exporter.fish", line]
            out = subprocess.check_output(command, text=True)
            found = {text.split("\t")[0].rpartition("=")[2] for text in out.splitlines()}
            self.assertEqual(found, expected, line)


if __name__ == "__main__":
    unittest.main()
