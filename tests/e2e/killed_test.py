"""The program is ended or killed: the file is whole."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from fault_case import FaultCase
from support import eventually, finish, main


class Killed(FaultCase):
    """Somebody ends the program; at each of its system calls: syscalls_test.py."""

    def test_ended_while_collecting(self) -> None:
        old = self.write_old_output()
        started = self.directory / "started"
        for name in ("TERM", "INT", "HUP", "QUIT"):
            for output in ("", f"head -c 100 {self.dump};", "trap '' TERM INT;"):
                with self.subTest(name, output=output):
                    started.unlink(missing_ok=True)
                    self.fake(f"{output} : >{started}; sleep 1000")
                    process = self.start("-o", self.target)
                    eventually(started.exists, "iptables-save runs")
                    number = signal.Signals[f"SIG{name}"]
                    process.send_signal(number)
                    run = finish(process)
                    self.assertEqual((run.status, run.err), (-number, b""))
                    self.assert_no_process_left()
                    self.assertEqual(self.target.read_bytes(), old)
                    self.assert_only_target()

    def test_ended_as_pid_1(self) -> None:
        """As in a container: the kernel does not let a signal kill it."""
        old = self.write_old_output()
        started = self.directory / "started"
        for name in ("TERM", "INT", "HUP"):
            with self.subTest(name):
                started.unlink(missing_ok=True)
                self.fake(f"head -c 100 {self.dump}; : >{started}; sleep 1000")
                process = self.start("-o", self.target, before=("unshare", "--pid", "--fork"))
                eventually(started.exists, "iptables-save runs")
                (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                number = signal.Signals[f"SIG{name}"]
                os.kill(int(pid), number)
                run = finish(process)
                self.assertEqual((run.status, run.err), (128 + number, b""))
                self.assertEqual(self.target.read_bytes(), old)
                self.assert_only_target()

    def test_ignored_signals_stay_ignored(self) -> None:
        """As nohup wants it."""
        started, proceed = self.directory / "started", self.directory / "proceed"
        self.fake(f": >{started}; while ! [ -e {proceed} ]; do sleep 0.01; done; dump")
        process = self.start(before=("env", "--ignore-signal=HUP"))
        eventually(started.exists, "iptables-save runs")
        process.send_signal(signal.SIGHUP)
        proceed.touch()
        run = finish(process)
        self.assert_success(run)
        self.assert_whole(run.out)

    def test_blocked_signals_stay_blocked(self) -> None:
        """Who blocked them wants to have them later."""
        started, proceed = self.directory / "started", self.directory / "proceed"
        self.fake(f": >{started}; while ! [ -e {proceed} ]; do sleep 0.01; done; dump")
        process = self.start(before=("env", "--block-signal=TERM"))
        eventually(started.exists, "iptables-save runs")
        process.send_signal(signal.SIGTERM)
        status = Path(f"/proc/{process.pid}/status")

        def is_pending() -> bool:
            pending = re.search(r"ShdPnd:\s*(\w+)", status.read_text())
            return bool(pending and int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)

        eventually(lambda: process.poll() is not None or is_pending(), "the signal waits")
        proceed.touch()
        self.assert_success(finish(process))

    def test_leaves_files_of_others_alone(self) -> None:
        names = [
            ".iptables.prom",
            "iptables.prom.bak",
            ".iptables_exporter.tmp",
            ".iptables_exporter.0000000000000001.tmp.bak",
            ".iptables.exporter.0000000000000002.tmp",
            ".iptables_exporter.0000000000000003.TMP",
            "other.prom",
            ".tmp",
        ]
        for name in names:
            (self.target.parent / name).touch()
        another_users = self.target.parent / ".iptables_exporter.0000000000000004.tmp"
        another_users.touch()
        os.chown(another_users, 65534, 65534)
        fifo = self.target.parent / ".iptables_exporter.0000000000000005.tmp"
        os.mkfifo(fifo)
        self.assert_success(self.export("-o", self.target))
        self.assert_only_target([*names, another_users.name, fifo.name, self.target.name])


if __name__ == "__main__":
    main()
