"""Test cases about legacy tables that change, with a lock of their own."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support import SYSTEM_PATH, ExporterTestCase, Run, executable, mounted, nobody_with, run

PACKETS = 6000
BUSY = "-s 10.0.0.1/32"  # the rule that stands at so many
LEGACY = ("--backend", "legacy")
LOCK = Path("/run/xtables.lock")
# The rights of the packaged unit, which may not read the lock file.
UNIT = tuple("--groups=0" if word == "--clear-groups" else word for word in nobody_with("net_admin", "net_raw"))
PROTECTED = "iptables_legacy_reads_protected"


def disturbed(seconds: str) -> str:
    return (
        f"error: iptables-legacy-save: legacy tables kept changing for {seconds} seconds (--timeout); "
        "counters read during a change may be 0, so none are written: see who opens or holds xtables.lock "
        "(fuser /run/xtables.lock), or allow more time"
    )


def rules(count: int, packets: int = PACKETS) -> str:
    lines = [f"[{packets}:{100 * packets}] -A INPUT {BUSY}"]
    lines += [f"[1:100] -A FORWARD -s 10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32" for i in range(1, count)]
    chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    return f"*filter\n{chains}{chr(10).join(lines)}\nCOMMIT\n"


class ResetsCase(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mounted(Path("/run"), "-t", "tmpfs", "none"))  # a lock of our own

    def packets(self, run: Run) -> int:
        samples = run.metrics["iptables_rule_packets_total"].samples
        return next(int(packets) for labels, packets in samples.items() if ("rule", BUSY) in labels)

    def assert_protected(self, run: Run, protected: bool) -> None:
        self.assert_success(run)
        samples = run.metrics[PROTECTED].samples
        self.assertEqual(list(samples.values()), [str(int(protected))])


class ScriptedCase(ResetsCase):
    """A command in the place of iptables-legacy-save that does at each call what it is told."""

    def setUp(self) -> None:
        super().setUp()
        self.bin = self.directory / "bin"
        self.calls = self.directory / "calls"
        # So that there is something to protect, and as many rules as are shown; it makes the lock file too.
        subprocess.run(["iptables-legacy-restore"], input=rules(2).encode(), check=True)

    def command(self, *calls: str, name: str = "iptables-legacy-save") -> str:
        """A PATH. Each call begins with the next of these; the last one is all others' too."""
        self.calls.write_text("")
        self.calls.chmod(0o666)
        cases = "".join(f"{i}) {call};;\n" for i, call in enumerate(calls[:-1]))
        (self.directory / "zeros").write_text(rules(2, 0))
        (self.directory / "right").write_text(rules(2))
        executable(
            self.bin / name,
            f'#!/bin/sh\ncd {self.directory}\nn=$(wc -c <calls)\nprintf x >>calls\nshow() {{ cat "$1"; }}\n'
            f"case $n in\n{cases}*) {calls[-1]};;\nesac\n",
        )
        return f"{self.bin}:{SYSTEM_PATH}"

    def tries(self) -> int:
        return self.calls.stat().st_size

    def run_on(self, path: str, *arguments: str, **options: object) -> Run:
        return run(*(arguments or LEGACY), path=path, **options)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def holder(self) -> Iterator[None]:
        with LOCK.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
