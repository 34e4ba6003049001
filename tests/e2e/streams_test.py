"""stdout and stderr that take nothing."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from fault_case import FaultCase, sh
from oracle import read_metrics
from support import finish, main


class Streams(FaultCase):
    """stdout and stderr that take nothing."""

    def test_stdout_full(self) -> None:
        with open("/dev/full", "wb") as full:
            self.assert_output_failed(self.export(stdout=full), "stdout", "No space")
            self.assert_output_failed(self.export("--help", stdout=full), "stdout")
            self.fake_large_dump()
            self.assert_output_failed(self.export(stdout=full), "stdout")

    def test_stdout_closed(self) -> None:
        self.assert_output_failed(self.export(before=sh(">&-")), "stdout")

    def test_stderr_closed(self) -> None:
        run = self.export(before=sh("2>&-"))
        self.assert_success(run)
        self.assert_whole(run.out)

        self.fake("echo no luck today >&2; exit 1")
        run = self.export(before=sh("2>&-"))
        self.assertEqual(run.status, 1)
        self.assert_tells_failure(run.out)

    def test_stderr_full(self) -> None:
        self.fake("exit 1")
        run = self.export(before=sh("2>/dev/full"))
        self.assertEqual(run.status, 1)
        self.assert_tells_failure(run.out)

    def test_stderr_that_takes_nothing(self) -> None:
        """What it does not take within a second is dropped."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        self.fake("seq 10 >&2; dump")
        started = time.monotonic()
        run = self.export("-o", self.target, stderr=writer)
        self.assertEqual(run.status, 0)
        self.assertGreater(time.monotonic() - started, 1)
        self.assert_whole(self.target.read_bytes())
        os.set_blocking(reader, False)
        read = b""
        with suppress(BlockingIOError):
            while True:
                read += os.read(reader, 65536)
        self.assertEqual(read.strip(b"x"), b"")
        os.close(reader)
        os.close(writer)

    def test_all_closed(self) -> None:
        """What is opened then must not take their place: no message may get into the file."""
        seen = self.directory / "seen"
        self.fake(f"for fd in 0 1 2; do readlink /proc/$PPID/fd/$fd; done >{seen}; dump")
        self.assertEqual(self.export("-o", self.target, before=sh("<&- >&- 2>&-")).status, 0)
        self.assertEqual(seen.read_text(), "/dev/null\n" * 3)

        for script, status in (("dump", 0), ("echo look out >&2; dump", 0), ("exit 1", 1)):
            with self.subTest(script):
                self.fake(script)
                run = self.export("-o", self.target, before=sh("<&- >&- 2>&-"))
                self.assertEqual(run.status, status)
                text = self.target.read_bytes()
                self.assert_tells_failure(text) if status else self.assert_whole(text)
                self.assert_only_target()

    def test_reader_that_has_had_enough(self) -> None:
        """As in `| head -1`: silent death by SIGPIPE, or a message where that is ignored."""
        self.fake_large_dump()
        for ignored in (False, True):
            with self.subTest(ignored=ignored):
                process = self.start(before=("env", "--ignore-signal=PIPE") if ignored else ())
                assert process.stdout
                self.assertTrue(process.stdout.readline().startswith(b"# HELP "))
                process.stdout.close()
                process.stdout = None
                run = finish(process)
                if ignored:
                    self.assert_output_failed(run, "stdout", "Broken pipe")
                else:
                    self.assertEqual((run.status, run.err), (-signal.SIGPIPE, b""))

    def test_reader_that_is_slow_on_a_non_blocking_pipe(self) -> None:
        self.fake_large_dump()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        process = self.start(stdout=writing)
        os.close(writing)
        with open(reading, "rb") as out:
            text = b"".join(iter(lambda: out.read(4096), b""))
        self.assert_success(finish(process))
        read_metrics(text)


if __name__ == "__main__":
    main()
