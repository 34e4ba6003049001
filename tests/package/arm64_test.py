"""The program that contrib/package/release has made for 64-bit ARM, at work under qemu.

Usage: arm64_test.py DIRECTORY
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import support
from packaged import program_of
from support import FIXTURES, ExporterTestCase, Network

QEMU = "qemu-aarch64-static"


class Arm64(ExporterTestCase):
    def steady(self, page: bytes) -> list[bytes]:
        """But for what differs from run to run, and for nf_tables' netlink, which qemu does not pass on."""
        differs = rb".*iptables_(exporter_build|scrape_duration|last_success|unshown|legacy_reads)"
        return [line for line in page.splitlines() if not re.match(differs, line)]

    def test_golden_files(self) -> None:
        dumps = sorted(FIXTURES.glob("*.save"))
        self.assertGreater(len(dumps), 10)
        for dump in dumps:
            with self.subTest(dump=dump.name):
                golden = dump.with_suffix(".prom").read_bytes()
                run = support.run("--input", dump, before=[QEMU])
                self.assertEqual(run.status, 0, run)
                self.assertEqual(self.steady(run.out), self.steady(golden))

    def test_live(self) -> None:
        for backend in ("nft", "legacy"):
            with self.subTest(backend=backend), Network(backend) as network:
                network.restore(b"*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
                                b'-A INPUT -i lo -m comment --comment "it\\"s \xc3\xbc" -j ACCEPT\nCOMMIT\n')
                network.send_udp(5353, b"x" * 100, b"y" * 50)
                arguments = ("--backend", backend)
                run = network.export(*arguments, before=[QEMU])
                self.assertEqual(run.status, 0, run)
                with network.entered():
                    native = subprocess.run([native_program, *arguments], capture_output=True, check=True)
                self.assertEqual(self.steady(run.out), self.steady(native.stdout))
                self.assertRegex(run.out, rb'\niptables_rule_packets_total\{.*"-i lo .*\} 2\n')


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with support.public_directory() as unpacked:
        [arm64] = Path(sys.argv[1]).glob("*aarch64.tar.gz")
        [amd64] = Path(sys.argv[1]).glob("*x86_64.tar.gz")
        native_program = program_of(amd64, unpacked / "amd64")
        os.environ["IPTABLES_EXPORTER"] = str(program_of(arm64, unpacked / "arm64"))
        support.main(support.netfilter, run=lambda: unittest.main(argv=sys.argv[:1], verbosity=2))
