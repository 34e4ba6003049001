"""A dump that comes, or does not, through what is no file."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from fault_case import DUMP, FaultCase
from support import eventually, finish, main


class Input(FaultCase):
    """A dump that comes, or does not, through what is no file."""

    def setUp(self) -> None:
        super().setUp()
        self.fifo = self.directory / "fifo"
        os.mkfifo(self.fifo)

    def wait_until_it_waits(self, pid: int) -> None:
        """With signals held back, for which it has a descriptor."""

        def waits() -> bool:
            links = []
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    links.append(os.readlink(link))
            return "anon_inode:[signalfd]" in links

        eventually(waits, "it waits for its input")

    def test_that_never_comes(self) -> None:
        terminal, typist = pty.openpty()
        pipe, writer = os.pipe()
        for what, name, arguments, stdin in (
            ("a FIFO without a writer", str(self.fifo), ("-i", self.fifo), subprocess.DEVNULL),
            ("a pipe", "stdin", ("-i", "-"), pipe),
            ("a pipe by name", "/dev/stdin", ("-i", "/dev/stdin"), pipe),
            ("a terminal", "stdin", ("-i", "-"), typist),
        ):
            with self.subTest(what):
                run = self.export(*arguments, "-o", self.target, "--timeout", "0.2", stdin=stdin)
                self.assert_collecting_failed(run, self.target.read_bytes())
                self.assert_says(run, f"error: {name}: did not end within 0.2 seconds (--timeout); no counters are written")
        for descriptor in (terminal, typist, pipe, writer):
            os.close(descriptor)

    def test_that_stops_in_the_middle(self) -> None:
        pipe, writer = os.pipe()
        os.write(writer, DUMP)
        run = self.export("-i", "-", "--timeout", "0.2", stdin=pipe)
        self.assert_collecting_failed(run, run.out, "stdin: did not end within 0.2 seconds (--timeout); no counters are written")
        os.close(pipe)
        os.close(writer)

    def test_that_comes_late(self) -> None:
        process = self.start("-i", self.fifo)
        self.wait_until_it_waits(process.pid)
        self.fifo.write_bytes(DUMP)
        run = finish(process)
        self.assert_success(run)
        self.assert_whole(run.out)

    def test_that_never_ends(self) -> None:
        """It is not read any longer than it is a dump."""
        for what, message in (("junk", "line 1: expected a line"), ("# comment", "line 4000001: "), ("", "line 4000001: ")):
            with self.subTest(what), subprocess.Popen(["yes", what], stdout=subprocess.PIPE) as yes:
                run = self.export("-i", "-", "--timeout", "1000", stdin=yes.stdout)
                self.assert_collecting_failed(run, run.out, f"stdin: {message}")
                yes.kill()

    def test_ended_while_waiting(self) -> None:
        old = self.write_old_output()
        for name in ("TERM", "INT", "HUP", "QUIT"):
            with self.subTest(name):
                process = self.start("-i", self.fifo, "-o", self.target)
                self.wait_until_it_waits(process.pid)
                number = signal.Signals[f"SIG{name}"]
                process.send_signal(number)
                run = finish(process)
                self.assertEqual((run.status, run.err), (-number, b""))
                self.assertEqual(self.target.read_bytes(), old)

    def test_ended_as_pid_1(self) -> None:
        for name in ("TERM", "INT", "HUP"):
            with self.subTest(name):
                process = self.start("-i", self.fifo, "-o", self.target, before=("unshare", "--pid", "--fork"))
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                eventually(lambda: children.read_text(), "it runs")  # noqa: B023
                pid = int(children.read_text())
                self.wait_until_it_waits(pid)
                number = signal.Signals[f"SIG{name}"]
                os.kill(pid, number)
                run = finish(process)
                self.assertEqual((run.status, run.err), (128 + number, b""))
                self.assertFalse(self.target.exists())


if __name__ == "__main__":
    main()
