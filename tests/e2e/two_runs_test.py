"""Two runs on one file: older counters never replace newer ones, however long who read them was held up."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

from fault_case import DUMP, FaultCase
from oracle import read_metrics
from support import Run, eventually, finish, main, netfilter, no_sanitizer, syscall_injection

LAST_SUCCESS = "iptables_last_success_timestamp_seconds"


class TwoRuns(FaultCase):
    def fake_packets(self, packets: int) -> None:
        self.fake("dump", DUMP.replace(b"[1:2]", b"[%d:2]" % packets))

    def packets(self) -> int:
        """What the page says of the one rule in INPUT."""
        samples = read_metrics(self.target.read_bytes())["iptables_rule_packets_total"].samples
        return next(int(packets) for labels, packets in samples.items() if ("chain", "INPUT") in labels)

    def hold_up(self, *arguments: str, at: Sequence[str] = ("--inject=fsync:signal=STOP",)) -> Popen[bytes]:
        """A run that has collected and is stopped before it renames."""
        log = self.directory / "strace.log"
        log.write_bytes(b"")
        strace = ("strace", f"--output={log}", *at, "--")
        process = self.start("-o", self.target, *arguments, before=strace)
        eventually(lambda: "stopped by SIGSTOP" in log.read_text(), "the program has stopped")
        return process

    def go_on(self, process: Popen[bytes]) -> Run:
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGCONT)
        return finish(process)

    def test_who_is_held_up_does_not_go_back(self) -> None:
        self.fake_packets(200)
        process = self.hold_up()
        self.fake_packets(190012)
        self.assert_success(self.export("-o", self.target))
        self.assert_success(self.go_on(process))
        self.assertEqual(self.packets(), 190012)
        self.assert_only_target()

    def test_who_is_held_up_while_he_asks_the_kernel(self) -> None:
        """His dump is read by then."""
        (self.bin / "ip6tables-save").symlink_to("iptables-save")
        nft = DUMP.replace(b"v1.8.9 on", b"v1.8.9 (nf_tables) on").replace(b"[1:2]", b"[200:2]")
        first = ("--inject=sendto:signal=STOP:when=2",)  # of netlink; the other one starts for legacy tables
        names = "/proc/self/net/ip_tables_names"  # whether it may be read is what is asked last
        last = ("--inject=access:signal=STOP", f"--trace-path={names}", "--quiet=path-resolution")
        for at in first, last:
            with self.subTest(at):
                self.fake("dump", nft)
                process = self.hold_up("-f", "ipv6", at=at)
                self.fake_packets(190012)
                self.assert_success(self.export("-o", self.target, "-f", "ipv6"))
                self.assert_success(self.go_on(process))
                self.assertEqual(self.packets(), 190012)
                self.target.unlink()

    def test_a_failure_that_is_held_up_hides_no_success(self) -> None:
        self.fake("exit 3")
        process = self.hold_up()
        self.fake_packets(200)
        self.assert_success(self.export("-o", self.target))
        run = self.go_on(process)
        self.assertEqual(run.status, 1)
        self.assert_messages(run, "exited with status 3")
        self.assertEqual(self.packets(), 200)
        self.assert_only_target()

    def test_of_several_sources_one_may_be_newer(self) -> None:
        """What one run writes of two families, the other writes of one."""
        (self.bin / "ip6tables-save").symlink_to("iptables-save")
        self.fake_packets(200)
        process = self.hold_up("-f", "ipv4,ipv6")
        self.fake("case $0 in */ip6*) exit 3;; esac; dump")
        run = self.export("-o", self.target, "-f", "ipv4,ipv6")
        self.assertEqual(run.status, 1)
        newer = self.target.read_bytes()
        self.assert_success(self.go_on(process))
        self.assertEqual(self.target.read_bytes(), newer)

    def test_a_later_failure_does_not_keep_a_success_out(self) -> None:
        self.fake_packets(200)
        self.assert_success(self.export("-o", self.target))
        process = self.hold_up()
        self.fake("exit 3")
        self.assertEqual(self.export("-o", self.target).status, 1)
        self.assert_success(self.go_on(process))
        self.assertEqual(self.packets(), 200)

    def test_slow_runs_that_end_in_order_both_write(self) -> None:
        """The one that began first may well end last."""
        begun = [self.directory / f"begun{i}" for i in range(2)]
        processes = []
        for i in range(2):
            os.mkfifo(self.directory / f"go{i}")
            self.fake(f": >{begun[i]}; read x <{self.directory}/go{i}; dump", DUMP.replace(b"[1:2]", b"[%d:2]" % i))
            processes.append(self.start("-o", self.target, "--timeout", "100"))
            eventually(begun[i].exists, "iptables-save runs")
            self.dump = self.directory / f"dump{i + 1}"  # each reads its own
        for i in (1, 0):
            (self.directory / f"go{i}").write_text("\n")
            self.assert_success(finish(processes[i]))
            self.assertEqual(self.packets(), i)

    def test_a_page_of_the_future_is_replaced(self) -> None:
        """The clock was wrong once."""
        self.fake_packets(200)
        self.assert_success(self.export("-o", self.target))
        page = self.target.read_bytes()
        for later in (10, 1e9):
            future = f"\n{LAST_SUCCESS} {time.time() + later}\n".encode()
            self.target.write_bytes(re.sub(rb"\n%s .*\n" % LAST_SUCCESS.encode(), future, page))
            self.fake_packets(300)
            self.assert_success(self.export("-o", self.target))
            self.assertEqual(self.packets(), 300)


if __name__ == "__main__":
    main(netfilter, syscall_injection, no_sanitizer)
