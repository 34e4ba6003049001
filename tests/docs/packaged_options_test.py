#!/usr/bin/env python3
"""Packages, container and manifests start with the same options, the fuse among them, and say what lifts it."""

from __future__ import annotations

import re
import shlex
import unittest
from pathlib import Path

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
FUSE = ["--max-series", "10000"]


def found(pattern: str, file: str) -> str:
    return re.search(pattern, (CONTRIB / file).read_text(), re.MULTILINE)[1]


def words(pattern: str, file: str) -> list[str]:
    """Of a list in YAML or JSON."""
    return re.findall(r'[^\s,\[\]"]+(?:,\w+)?', found(pattern, file))


class PackagedOptions(unittest.TestCase):
    def test_are_the_same(self) -> None:
        options = shlex.split(found(r'^ARGS="(.*)"$', "systemd/iptables_exporter.default"))
        self.assertEqual(options[-2:], FUSE)
        service = found(r'^Environment="ARGS=(.*)"$', "systemd/iptables_exporter.service.in")
        self.assertEqual(shlex.split(service), options)
        self.assertEqual(words(r"^CMD (\[.*\])$", "container/Containerfile"), options)
        for name, file in (("command", "compose.yaml"), ("args", "daemonset.yaml")):
            given = words(rf"^ +{name}: (\[--output.*\])$", f"container/{file}")
            self.assertEqual(given, ["--output", "/textfile/iptables.prom", *options])
        nft_only = shlex.split(found(r'^Environment="ARGS=(.*)"$', "systemd/nft-only.conf"))
        self.assertEqual(nft_only, ["nft" if word == "legacy,nft" else word for word in options])

    def test_the_line_without_the_fuse_stands_there(self) -> None:
        options = found(r'^ARGS="(.*)"$', "systemd/iptables_exporter.default")
        lifted = found(r'^#ARGS="(--family ipv4,ipv6 --backend legacy,nft[^\n\']*)"$',
                       "systemd/iptables_exporter.default")  # fmt: skip
        self.assertEqual(f"{lifted} {' '.join(FUSE)}", options)


if __name__ == "__main__":
    unittest.main()
