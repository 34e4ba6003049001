"""Whatever goes wrong around it, the program ends, says so, and leaves whole files behind."""

from __future__ import annotations

import os
import pty
import random
import re
import resource
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fault_case import DUMP, FaultCase
from oracle import read_metrics
from support import (
    NOBODY,
    Run,
    eventually,
    executable,
    finish,
    main,
    mode,
    mounted,
    processes,
    value,
)

LAST_SUCCESS = "iptables_last_success_timestamp_seconds"


class Command(FaultCase):
    """An iptables-save that misbehaves."""

    def assert_fails(self, *parts: str, timeout: str = "60") -> None:
        run = self.export("--timeout", timeout)
        self.assert_collecting_failed(run, run.out, *parts)
        self.assert_no_process_left()

    def test_missing(self) -> None:
        empty = self.directory / "empty"
        empty.mkdir()
        with mounted(Path("/usr/sbin"), "--bind", str(empty)):
            with mounted(Path("/usr/local/sbin"), "--bind", str(empty)):
                run = self.export(path="/usr/bin:/bin")
        self.assert_collecting_failed(run, run.out)
        directories = "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
        self.assert_says(run, f"error: iptables-save is not in {directories}: install iptables")

    def test_not_executable(self) -> None:
        (self.bin / "iptables-save").chmod(0o644)
        with mounted(Path("/usr/sbin"), "--bind", str(self.bin)):
            run = self.export()
        self.assert_collecting_failed(run, run.out, "/iptables-save is not executable\n")

    def test_not_a_program(self) -> None:
        for junk in (b"\x7fELF junk", b"#!/nonexistent/interpreter\n", b""):
            with self.subTest(junk):
                executable(self.bin / "iptables-save", "").write_bytes(junk)
                self.assert_fails("iptables-save")

    def test_exit_statuses(self) -> None:
        for status in (1, 3, 4, 127, 255):
            with self.subTest(status):
                self.fake(f"dump; echo no luck today >&2; exit {status}")
                self.assert_fails(f"status {status}", "no luck today")

    def test_exit_status_is_known_though_sigchld_is_ignored(self) -> None:
        """As some supervisors leave it; the kernel then keeps no status unless it is told to."""
        self.fake("exit 4")
        run = self.export("--allow-empty", before=("env", "--ignore-signal=CHLD"))
        self.assert_collecting_failed(run, run.out, "status 4")

    def test_stderr_is_made_one_printable_line(self) -> None:
        self.fake(r"printf 'one\ntwo\r\033[31mred\0\377\n' >&2; exit 1")
        self.assert_fails("one", "two", "red")

    def test_stderr_of_success_is_a_warning(self) -> None:
        self.fake("echo look out >&2; dump")
        run = self.export()
        self.assertEqual(run.status, 0, run)
        self.assert_messages(run, "iptables_exporter: warning: ", "look out")
        self.assert_whole(run.out)

    def test_journal_takes_the_priority_from_the_line(self) -> None:
        # The stream that systemd names is the one at stderr; here a shell knows its name.
        named = ("sh", "-c", 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$@"', "sh")
        self.fake("exit 1")
        run = self.export(before=named)
        self.assertEqual(run.err, b"<3>iptables_exporter: error: iptables-save exited with status 1\n")
        self.fake("echo look out >&2; dump")
        run = self.export(before=named)
        self.assertEqual(run.err, b"<4>iptables_exporter: warning: iptables-save: look out\n")

    def test_stderr_is_another_than_the_journal(self) -> None:
        """JOURNAL_STREAM merely inherited, as by a shell in a desktop."""
        self.fake("exit 1")
        device, inode = os.stat("/dev/null").st_dev, os.stat("/dev/null").st_ino
        for stream in ("8:1", f"{device}:{inode}", "", "junk"):
            with self.subTest(stream):
                run = self.export(variables={"JOURNAL_STREAM": stream})
                self.assertEqual(run.err, b"iptables_exporter: error: iptables-save exited with status 1\n")

    def test_killed_by_a_signal(self) -> None:
        before, during, after = "", f"head -c 100 {self.dump};", "dump;"
        for name in ("KILL", "SEGV", "TERM", "PIPE"):
            for output in (before, during, after):
                with self.subTest(name, output=output):
                    self.fake(f"{output} kill -{name} $$")
                    self.assert_fails(f"signal {int(signal.Signals[f'SIG{name}'])}")

    def test_output_cut_off_though_status_is_0(self) -> None:
        for length in range(1, len(DUMP)):
            with self.subTest(length):
                self.fake("dump", DUMP[:length])
                self.assert_fails("iptables-save")

    def test_hanging(self) -> None:
        for output in ("", "dump;", f"head -c 100 {self.dump};", "dump; exec >&- 2>&-;"):
            with self.subTest(output):
                self.fake(f"{output} sleep 1000")
                self.assert_fails("--timeout", timeout="0.2")

    def test_hanging_deaf_to_signals(self) -> None:
        self.fake("trap '' TERM INT HUP; while :; do sleep 1000; done")
        self.assert_fails("--timeout", timeout="0.2")

    def test_grandchild_that_holds_the_pipe(self) -> None:
        self.fake("sleep 1000 & dump")
        self.assert_fails("--timeout", timeout="0.2")

    def test_grandchild_that_left_the_group_and_holds_the_pipe(self) -> None:
        """It is not killed with the group, and must not be waited for."""
        self.fake("setsid sleep 1000 & dump; while ! grep -qs sleep /proc/$!/comm; do :; done")
        run = self.export("--timeout", "1")
        self.assert_collecting_failed(run, run.out, "--timeout")
        for pid in processes():
            os.kill(pid, signal.SIGKILL)
        self.assert_no_process_left()

    def test_endless_output(self) -> None:
        for command in ("yes '*filter'", "yes '# comment'", "tr '\\0' x </dev/zero"):
            with self.subTest(command):
                self.fake(f"exec {command}")
                self.assert_fails("iptables-save", timeout="0.2")

    def test_stopped_past_the_deadline(self) -> None:
        """What came in time is looked at before the command is said to have been killed."""
        for rules in (0, 5000):
            with self.subTest(rules):
                self.fake_large_dump(rules)
                self.fake("kill -STOP $PPID; dump", self.dump.read_bytes())
                process = self.start("--timeout", "1")
                stat = Path(f"/proc/{process.pid}/stat")
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                eventually(lambda: ") T " in stat.read_text(), "it is stopped")  # noqa: B023
                zombie = Path(f"/proc/{children.read_text().strip()}/stat")
                eventually(lambda: ") Z " in zombie.read_text(), "iptables-save is done")  # noqa: B023
                time.sleep(1.1)
                process.send_signal(signal.SIGCONT)
                run = finish(process)
                self.assert_success(run)
                self.assertEqual(run.out.count(b"\niptables_rule_bytes_total{"), rules + 2)

    def test_megabytes_to_stderr(self) -> None:
        flood = "yes 'a line of stderr' | head -c 8000000 >&2"
        self.fake(f"{flood}; dump")
        run = self.export()
        self.assertEqual(run.status, 0, run)
        self.assert_messages(run, "a line of stderr")
        self.assert_whole(run.out)
        self.assertLess(len(run.err), 100_000)

        self.fake(f"{flood}; exit 1")
        run = self.export()
        self.assert_collecting_failed(run, run.out, "status 1", "a line of stderr")
        self.assertLess(len(run.err), 100_000)

    def test_stdout_closed_early(self) -> None:
        self.fake("dump; exec >&-; sleep 0.1")
        run = self.export()
        self.assert_success(run)
        self.assert_whole(run.out)

        self.fake("dump; exec >&-; sleep 0.1; exit 3")
        self.assert_fails("status 3")
        self.fake("exec >&-; exit 0")
        self.assert_fails("no tables")

    def test_output_in_drops(self) -> None:
        self.fake(f"dd bs=7 if={self.dump} status=none")
        run = self.export()
        self.assert_success(run)
        self.assert_whole(run.out)

    def test_slow_is_waited_for_asleep(self) -> None:
        for script in ("dump; sleep 0.5", "sleep 0.5; dump", *(f"dump; exec {fd}>&-; sleep 0.5" for fd in (1, 2))):
            with self.subTest(script):
                self.fake(script)
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                run = self.export()
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                self.assert_success(run)
                self.assert_whole(run.out)
                self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 0.3)

    def test_gets_nothing_of_ours(self) -> None:
        """No environment, no descriptors, no stdin, no signals held back or ignored."""
        seen = self.directory / "seen"
        seen.mkdir()
        self.fake(
            f"cd {seen}\n"
            "cat /proc/$$/environ >environment\n"
            'while read -r line; do echo "$line"; done </proc/$$/status >status\n'
            "readlink /proc/$$/fd/0 >stdin\n"
            'printf "%s\\n" "$@" >arguments\n'
            "ls /proc/self/fd >descriptors\n"
            "dump"
        )
        reading, writing = os.pipe()
        try:
            run = self.export(
                variables={"LD_PRELOAD": "", "LC_ALL": "C.UTF-8", "XTABLES_LIBDIR": "/x", "SECRET": "x"},
                pass_fds=(reading, writing),
                stdin=subprocess.PIPE,
                before=("env", "--block-signal=USR1", "--ignore-signal=USR2"),
            )
        finally:
            os.close(reading)
            os.close(writing)
        self.assert_success(run)
        sbin = "/usr/local/sbin:/usr/sbin:/sbin"
        environment = sorted((seen / "environment").read_text().rstrip("\0").split("\0"))
        self.assertEqual(environment, ["LC_ALL=C", f"PATH={self.path}:{sbin}"])
        self.assertEqual((seen / "stdin").read_text(), "/dev/null\n")
        self.assertEqual((seen / "arguments").read_text(), "-c\n")
        # 3 is ls reading that directory.
        self.assertEqual((seen / "descriptors").read_text().split(), ["0", "1", "2", "3"])
        signals = dict(re.findall(r"(Sig\w+):\s(\w+)", (seen / "status").read_text()))
        self.assertEqual(int(signals["SigBlk"], 16), 0)
        glibcs_own = 0b11 << 31  # posix_spawn(3) ignores 32 and 33 in every child
        self.assertEqual(int(signals["SigIgn"], 16) & ~glibcs_own, 0)


class Messages(FaultCase):
    """One of each kind, to the letter: what else is said, or left out, is noticed."""

    def assert_failure_says(self, line: str, *arguments: str | Path, **options: object) -> None:
        with self.subTest(line):
            run = self.export(*arguments, **options)
            self.assert_collecting_failed(run, run.out)
            self.assert_says(run, f"error: {line}")

    def test_of_how_a_command_ended(self) -> None:
        """To root no hint is given about capabilities."""
        for script, line in (
            ("exit 1", "iptables-save exited with status 1"),
            (r"printf 'one\n\n\rtwo\n' >&2; exit 4", r"iptables-save exited with status 4: one; \x0dtwo"),
            ("echo why >&2; kill -KILL $$", "iptables-save was killed by signal 9 (Killed): why"),
            ("exit 0", "iptables-save: no tables (--allow-empty makes that a success)"),
            ("echo junk", "iptables-save: line 1: expected a line of iptables-save -c: junk"),
            ("echo '*filter'", "iptables-save: the dump is cut off: table filter of line 1 has no COMMIT"),
        ):
            self.fake(script)
            self.assert_failure_says(line)
        self.fake("echo why >&2; sleep 1000")
        self.assert_failure_says(
            "iptables-save did not end within 0.5 seconds (--timeout) and was killed: why", "--timeout", "0.5"
        )

    def test_of_commands_that_cannot_be_run(self) -> None:
        executable(self.bin / "iptables-save", "#!/nonexistent/interpreter\n")
        self.assert_failure_says("cannot run iptables-save: No such file or directory")

    def test_of_input_that_cannot_be_read(self) -> None:
        secret, missing = self.directory / "secret.save", self.directory / "missing.save"
        secret.write_bytes(DUMP)
        secret.chmod(0o600)
        self.assert_failure_says(f"cannot open {missing}: No such file or directory", "-i", missing)
        self.assert_failure_says(f"cannot read {self.directory}: Is a directory", "-i", self.directory)
        self.assert_failure_says(f"cannot open {secret}: Permission denied", "-i", secret, before=NOBODY)

    def test_of_input_that_is_no_dump(self) -> None:
        for dump, line in (
            (b"", "no tables (--allow-empty makes that a success)"),
            (b"\x7fELF\n", r"line 1: expected a line of iptables-save -c: \x7fELF"),
            (DUMP.partition(b"MIT")[0], "line 7: the dump is cut off in the middle of a line: COM"),
        ):
            self.dump.write_bytes(dump)
            self.assert_failure_says(f"{self.dump}: {line}", "-i", self.dump)
            with self.dump.open("rb") as stdin:
                self.assert_failure_says(f"stdin: {line}", "-i", "-", stdin=stdin)

    def test_of_an_ordinary_user(self) -> None:
        """No hint about rights where their lack is not the cause."""
        self.fake("exit 0")
        self.assert_failure_says("iptables-save: no tables (--allow-empty makes that a success)", before=NOBODY)

    def test_warnings(self) -> None:
        note = b"# Table `nat' is incompatible, use 'nft' tool.\n"
        self.fake("echo look out >&2; echo twice >&2; dump", DUMP + note)
        run = self.export("--max-series", "1")
        self.assertEqual(run.status, 0)
        self.assert_says(
            run,
            "warning: iptables-save: look out",
            "warning: iptables-save: twice",
            "warning: tables that only nft can show whole (nft list ruleset): nat of iptables-save",
            "warning: 1 rule series are left out (--max-series 1)",
        )

    def test_with_a_file_states_are_for_its_readers(self) -> None:
        run = self.export("--max-series", "1", "-o", self.target)
        self.assert_success(run)
        self.assertIn(b"\niptables_series_omitted 1\n", self.target.read_bytes())

    def test_few(self) -> None:
        """20 lines and 4 KiB, as printed, with a word on what is left out."""
        for what, script, left_out in (
            ("lines", "seq 1000 >&2", b""),
            ("escapes", "seq 100 | sed 's/$/\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33/' >&2", b""),
            ("the same", "yes 'cannot open connlabel.conf' | head -n 1000 >&2; echo last >&2", None),
        ):
            for end, status in (("dump", 0), ("exit 1", 1)):
                with self.subTest(what, status=status):
                    self.fake(f"{script}; {end}")
                    run = self.export()
                    self.assertEqual(run.status, status)
                    self.assertLessEqual(run.err.count(b"\n"), 20)
                    self.assertLessEqual(len(run.err), 4096)
                    if left_out is None:
                        self.assertEqual(run.err.count(b"connlabel.conf"), 1)
                        self.assertIn(b"last", run.err)
                    else:
                        self.assertRegex(run.err, rb"messages are left out\n\Z|more bytes\)\n\Z")

    def test_of_every_source_that_failed(self) -> None:
        """However much each has to say."""
        for name in ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"):
            executable(self.bin / f"{name}-save", "#!/bin/sh\nseq 1000 >&2\nkill -9 $$\n")
        run = self.export("--family", "ipv4,ipv6", "--backend", "nft,legacy")
        self.assertEqual(run.status, 1)
        self.assertLessEqual(len(run.err), 4096)
        for name in ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"):
            self.assertIn(f"error: {name}-save was killed by signal 9 (Killed): 1; 2; 3; ", run.err.decode())

    def test_with_a_long_name(self) -> None:
        name = "x" * 100_000
        for arguments in ((name,), ("--select", "{" + name), ("-o", f"{name}.prom")):
            with self.subTest(arguments[0][:10]):
                run = self.export(*arguments)
                self.assertIn(run.status, (2, 3))
                self.assertRegex(run.err, rb"xxx\.\.\. \(\d{5} more bytes\)\n")
                self.assertLessEqual(len(run.err), 4096)

    def test_of_wrong_usage(self) -> None:
        for arguments, lines in (
            (("stray",), ("unexpected argument stray (see iptables_exporter --help)",)),
            (("-o", "x"), ("--output x must end in .prom, or node_exporter does not read it (see "
                           "iptables_exporter --help)",)),
        ):  # fmt: skip
            with self.subTest(arguments):
                run = self.export(*arguments)
                self.assertEqual((run.status, run.out), (2, b""))
                self.assert_says(run, *(f"error: {line}" for line in lines))
        # Nothing of the library's own words is between these lines.
        for selector, expected, caret in (
            ("{table=filter}", "a string in quotes", "       ^"),
            ('{table=~"a("}', "a regular expression of RE2 (missing ): a()", "         ^"),
        ):
            run = self.export("-s", selector)
            self.assertEqual((run.status, run.out), (2, b""))
            self.assertEqual(
                run.err.decode(),
                f"iptables_exporter: error: --select: expected {expected} (see iptables_exporter --help)\n"
                f"{selector}\n{caret}\n",
            )

    def test_of_output_that_cannot_be_written(self) -> None:
        missing = self.directory / "missing"
        self.target.mkdir()
        for arguments, options, line in (
            (("-o", missing / "x.prom"), {}, f"cannot open directory {missing}: No such file or directory"),
            (("-o", self.target), {}, f"cannot replace {self.target}: Is a directory"),
            (("-o", "/proc/x.prom"), {},
             "cannot create a temporary file in /proc: No such file or directory"),
            ((), {"before": Streams.sh(">/dev/full")}, "cannot write stdout: No space left on device"),
            ((), {"before": Streams.sh(">&-")}, "cannot write stdout: Bad file descriptor"),
        ):  # fmt: skip
            with self.subTest(line):
                run = self.export(*arguments, **options)
                self.assertEqual(run.status, 3)
                self.assert_says(run, f"error: {line}")
        self.fake("exit 1")
        run = self.export("-o", self.target)
        self.assertEqual(run.status, 3)
        self.assert_says(
            run,
            "error: iptables-save exited with status 1",
            f"error: cannot replace {self.target}: Is a directory",
        )


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
                self.assert_says(run, f"error: {name}: did not end within 0.2 seconds (--timeout)")
        for descriptor in (terminal, typist, pipe, writer):
            os.close(descriptor)

    def test_that_stops_in_the_middle(self) -> None:
        pipe, writer = os.pipe()
        os.write(writer, DUMP)
        run = self.export("-i", "-", "--timeout", "0.2", stdin=pipe)
        self.assert_collecting_failed(run, run.out, "stdin: did not end within 0.2 seconds (--timeout)")
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


class Killed(FaultCase):
    """Somebody ends the program, or several of it run at once."""

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

    def test_ended_at_random_moments(self) -> None:
        self.write_old_output()
        for delay in random_delays(self.duration_of_a_run(), 40):
            process = self.start("-o", self.target)
            time.sleep(delay)
            number = random.choice([signal.SIGTERM, signal.SIGINT])
            process.send_signal(number)
            run = finish(process)
            self.assertIn(run.status, (0, -number), run)
            self.assertEqual(run.err, b"")
            self.assert_whole(self.target.read_bytes())
            self.assert_only_target()
            self.assert_no_process_left()

    def test_killed_at_random_moments(self) -> None:
        self.fake_numbered_dump(1)
        self.assert_success(self.export("-o", self.target))
        most_leftovers = 0
        with self.watched_target() as numbers_seen:
            for number, delay in enumerate(random_delays(self.duration_of_a_run(), 80), 2):
                self.number.write_text(f"{number}\n")
                process = self.start("-o", self.target)
                time.sleep(delay)
                process.kill()
                finish(process)
                leftovers = set(os.listdir(self.target.parent)) - {self.target.name}
                self.assertFalse([name for name in leftovers if name.endswith(".prom")])
                most_leftovers = max(most_leftovers, len(leftovers))
        self.assertGreater(len(numbers_seen), 1, "no run came to its end before it was killed")
        self.assertLess(most_leftovers, 3)

        self.assert_success(self.export("-o", self.target))
        self.assert_only_target()

    def test_two_writers_at_once(self) -> None:
        self.fake_numbered_dump(1)
        self.assert_success(self.export("-o", self.target))
        runs: list[Run] = []

        def write(first: int) -> None:
            for number in range(first, first + 30):
                self.number.write_text(f"{number}\n")
                runs.append(self.export("-o", self.target))

        with self.watched_target():
            writers = [threading.Thread(target=write, args=(first,)) for first in (100, 200, 300)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
        self.assertEqual(len(runs), 90)
        for run in runs:
            self.assert_success(run)
        self.assert_only_target()

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

    # A dump whose counters are all the same number, another one in each run: a torn file would mix
    # them. The file of a run takes several writes.
    NUMBERED_RULES = 1000

    def fake_numbered_dump(self, number: int) -> None:
        self.number = self.directory / "number"
        self.number.write_text(f"{number}\n")
        rule = b"[N:N] -A INPUT -p udp -m udp --dport %d\n"
        rules = b"".join(rule % port for port in range(self.NUMBERED_RULES))
        dump = b"*filter\n:INPUT ACCEPT [N:N]\n" + rules + b"COMMIT\n"
        # A number that is being written reads as empty.
        self.fake(f'read n <{self.number} || n=1; sed "s/N/$n/g" {self.dump}', dump)

    def duration_of_a_run(self) -> float:
        begin = time.monotonic()
        self.assert_success(self.export("-o", self.target))
        return time.monotonic() - begin

    @contextmanager
    def watched_target(self) -> Iterator[set[bytes]]:
        """Reads the target over and over, as node_exporter might; it must always be whole."""
        torn: list[bytes] = []
        ending = self.target.read_bytes().splitlines()[-1]  # the same in all
        numbers_seen: set[bytes] = set()
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                text = self.target.read_bytes()
                counters = re.findall(rb"(?m)^iptables_(?:rule|default)_\w+_total\{.*\} (\d+)$", text)
                numbers_seen.update(counters)
                if len(counters) != 2 * (self.NUMBERED_RULES + 1) or len(set(counters)) != 1:
                    torn.append(text)
                if not text.endswith(b"\n%s\n" % ending):
                    torn.append(text)
                time.sleep(0.001)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield numbers_seen
        finally:
            done.set()
            watcher.join()
        self.assertEqual([len(text) for text in torn], [])
        read_metrics(self.target.read_bytes())


def random_delays(duration: float, count: int) -> list[float]:
    """Moments in a run that takes so long and after it. They decide nothing: each must do."""
    return [random.uniform(0, 1.2 * duration) for _ in range(count)]


class Target(FaultCase):
    """An output file that cannot be written, or that something else is in the place of."""

    def test_directory_missing(self) -> None:
        run = self.export("-o", self.directory / "missing" / "iptables.prom")
        self.assert_output_failed(run, str(self.directory / "missing"))
        self.assertFalse((self.directory / "missing").exists())

    def test_directory_is_a_file(self) -> None:
        run = self.export("-o", self.dump / "iptables.prom")
        self.assert_output_failed(run, str(self.dump))
        self.assertEqual(self.dump.read_bytes(), DUMP)

    def test_directory_removed_meanwhile(self) -> None:
        self.fake(f"rm -r {self.target.parent}; dump")
        run = self.export("-o", self.target)
        self.assert_output_failed(run, str(self.target.parent))
        self.assertFalse(self.target.parent.exists())

    def test_directory_that_may_be_written_but_not_read(self) -> None:
        os.chown(self.target.parent, 65534, 65534)
        self.target.parent.chmod(0o300)
        self.assert_success(self.export("-o", self.target, before=NOBODY))
        self.assert_whole(self.target.read_bytes())

    def test_read_only(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "none"):
            old = self.write_old_output()
            subprocess.run(["mount", "-o", "remount,ro", self.target.parent], check=True)
            run = self.export("-o", self.target)
            self.assert_old_output_stands(run, old, str(self.target.parent), "Read-only")

    def test_full(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "-o", "size=64k", "none"):
            old = self.write_old_output()
            self.fake_large_dump()
            run = self.export("-o", self.target)
            self.assert_old_output_stands(run, old, str(self.target), "No space")

    def test_full_to_the_last_byte(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "-o", "size=64k", "none"):
            old = self.write_old_output()
            filler = self.target.parent / "filler"
            with self.assertRaises(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            for script in ("dump", "exit 1"):
                self.fake(script)
                run = self.export("-o", self.target)
                self.assertEqual(run.status, 3, run)
                self.assert_messages(run, str(self.target), "No space")
                self.assertEqual(self.target.read_bytes(), old)
                self.assert_only_target(["filler", "iptables.prom"])

    def test_out_of_inodes(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "-o", "nr_inodes=2", "none"):
            old = self.write_old_output_in_place()
            run = self.export("-o", self.target)
            self.assert_old_output_stands(run, old, str(self.target.parent), "No space")

    def write_old_output_in_place(self) -> bytes:
        """For where there is no room for a second file."""
        run = self.export()
        self.assert_success(run)
        self.target.write_bytes(run.out)
        return run.out

    def test_collecting_and_writing_fail(self) -> None:
        """Both are told; that nothing was written is what the status says."""
        self.fake("echo no luck today >&2; exit 1")
        run = self.export("-o", self.directory / "missing" / "iptables.prom")
        self.assertEqual(run.status, 3)
        self.assert_messages(run, "no luck today", str(self.directory / "missing"))
        self.assertEqual(run.err.count(b"\n"), 2)

    def test_target_is_a_directory(self) -> None:
        (self.target / "inside").mkdir(parents=True)
        run = self.export("-o", self.target)
        self.assert_output_failed(run, str(self.target))
        self.assertTrue((self.target / "inside").is_dir())
        self.assert_only_target()

    def test_planted_symlink_is_replaced_not_followed(self) -> None:
        self.target.parent.chmod(0o1777)
        pointed_at = self.directory / "precious"
        for kind in ("file", "nothing", "directory", "itself", "root's, into the same directory"):
            with self.subTest(kind):
                if kind == "file":
                    pointed_at.write_bytes(b"precious")
                elif kind == "directory":
                    pointed_at.mkdir()
                self.target.unlink(missing_ok=True)
                if kind.startswith("root's"):
                    self.target.symlink_to("other.prom")
                else:
                    self.target.symlink_to(self.target if kind == "itself" else pointed_at)
                    os.chown(self.target, 65534, 65534, follow_symlinks=False)
                self.assert_success(self.export("-o", self.target))
                self.assertFalse(self.target.is_symlink())
                self.assert_whole(self.target.read_bytes())
                self.assert_only_target()
                if kind == "file":
                    self.assertEqual(pointed_at.read_bytes(), b"precious")
                    pointed_at.unlink()
                elif kind == "nothing":
                    self.assertFalse(pointed_at.exists())
                elif kind == "directory":
                    self.assertEqual(os.listdir(pointed_at), [])

    def test_symlink_of_the_package_stays(self) -> None:
        """Replaced, it would serve one run's counters for ever."""
        served = self.directory / "run" / "iptables.prom"
        self.target.parent.chmod(0o777)
        for target, owner, before in (
            (served, 0, ()),
            ("../run/iptables.prom", 0, NOBODY),
            (served, 65534, NOBODY),
        ):
            with self.subTest(target=target, owner=owner):
                self.target.unlink(missing_ok=True)
                self.target.symlink_to(target)
                os.chown(self.target, owner, owner, follow_symlinks=False)
                run = self.export("-o", self.target, before=before)
                message = (
                    f"iptables_exporter: error: cannot replace {self.target}: it is a link to {target}; "
                    "write there, or remove the link first\n"
                )
                self.assertEqual((run.status, run.err.decode()), (3, message))
                self.assertEqual(os.readlink(self.target), str(target))
                self.assert_only_target()

    def test_symlinked_directory(self) -> None:
        (self.directory / "link").symlink_to(self.target.parent)
        self.assert_success(self.export("-o", self.directory / "link" / "iptables.prom"))
        self.assert_whole(self.target.read_bytes())
        self.assert_only_target()

    def test_relative_to_the_working_directory(self) -> None:
        self.assert_success(self.export("-o", "iptables.prom", cwd=self.target.parent))
        self.assert_whole(self.target.read_bytes())

    def test_owned_by_another(self) -> None:
        self.target.write_text("old")
        os.chown(self.target, 65534, 65534)
        self.target.chmod(0o600)
        self.assert_success(self.export("-o", self.target))
        self.assertEqual((self.target.stat().st_uid, mode(self.target)), (0, 0o644))
        self.assert_whole(self.target.read_bytes())

    def test_other_user_may_not_write(self) -> None:
        old = self.write_old_output()
        run = self.export("-o", self.target, before=NOBODY)
        self.assert_old_output_stands(run, old, str(self.target.parent), "Permission denied")

    def test_other_user_may_not_replace(self) -> None:
        """In a sticky directory, only the owner."""
        old = self.write_old_output()
        self.target.parent.chmod(0o1777)
        run = self.export("-o", self.target, before=NOBODY)
        self.assert_old_output_stands(run, old, str(self.target), "not permitted")

    def test_longest_name(self) -> None:
        """The temporary file's name must not be longer than the name it stands for may be."""
        name = "x" * 250 + ".prom"
        self.assert_success(self.export("-o", self.target.parent / name))
        self.assert_only_target([name])
        too_long = self.export("-o", self.target.parent / f"x{name}")
        self.assert_output_failed(too_long, "name too long")
        self.assert_only_target([name])


class OldOutput(FaultCase):
    """The old file is read for its last success, whatever it is."""

    def failed_last_success(self, before: tuple[str, ...] = ()) -> str | None:
        """What a failing run carries over."""
        self.fake("exit 1")
        run = self.export("-o", self.target, before=before)
        text = self.target.read_bytes()
        self.assert_collecting_failed(run, text)
        self.assert_only_target()
        family = read_metrics(text).get(LAST_SUCCESS)
        return family.samples[()] if family else None

    def test_carried_over_again_and_again(self) -> None:
        old = value(read_metrics(self.write_old_output()), LAST_SUCCESS)
        for _ in range(3):
            self.assertEqual(self.failed_last_success(), old)

    def test_none(self) -> None:
        self.assertIsNone(self.failed_last_success())
        self.assertIsNone(self.failed_last_success())

    def test_junk(self) -> None:
        for junk in (
            b"",
            b"\0" * 100_000,
            bytes(range(256)) * 100,
            LAST_SUCCESS.encode(),
            *(
                b"\n%s %s\n" % (LAST_SUCCESS.encode(), number)
                for number in (b"", b"x", b"1x", b"nan", b"inf", b"1e999", b"-1", b"1 2", b"0x10")
            ),
        ):
            with self.subTest(junk[-60:]):
                self.target.write_bytes(junk)
                self.assertIsNone(self.failed_last_success())

    def test_of_another_user(self) -> None:
        self.write_old_output()
        os.chown(self.target, 65534, 65534)
        self.assertIsNone(self.failed_last_success())

    def test_of_an_ordinary_user(self) -> None:
        """As in the package: not root, in a directory of its own."""
        os.chown(self.target.parent, 65534, 65534)
        self.assert_success(self.export("-o", self.target, before=NOBODY))
        old = value(read_metrics(self.target.read_bytes()), LAST_SUCCESS)
        for _ in range(2):
            self.assertEqual(self.failed_last_success(NOBODY), old)
            self.assertEqual(self.target.stat().st_uid, 65534)

    def test_of_root_for_an_ordinary_user(self) -> None:
        old = value(read_metrics(self.write_old_output()), LAST_SUCCESS)
        os.chown(self.target.parent, 65534, 65534)
        self.assertEqual(self.failed_last_success(NOBODY), old)

    def test_of_the_future(self) -> None:
        self.target.write_text(f"\n{LAST_SUCCESS} 99999999999\n")
        self.assertIsNone(self.failed_last_success())

    def test_fifo(self) -> None:
        """Whether it has nobody at its other end, or one who is silent, or one who says the right thing."""
        old = self.write_old_output()
        for text in (None, b"", old):
            self.target.unlink()
            os.mkfifo(self.target)
            with ExitStack() as writer:
                if text is not None:
                    fd = os.open(self.target, os.O_RDWR)
                    writer.callback(os.close, fd)
                    os.write(fd, text)
                self.assertIsNone(self.failed_last_success())
            self.assertTrue(self.target.is_file())

    def test_device_that_never_ends(self) -> None:
        """Read as a file, it would go on for ever."""
        os.mknod(self.target, stat.S_IFCHR | 0o644, os.stat("/dev/zero").st_rdev)
        with self.target.open("rb") as zeros:
            self.assertEqual(zeros.read(3), b"\0\0\0")
        self.assertIsNone(self.failed_last_success())
        self.assertTrue(self.target.is_file())

    def test_symlink_is_not_followed(self) -> None:
        """Not even to a good file."""
        self.write_old_output()
        good, fifo = self.directory / "good", self.directory / "fifo"
        self.target.parent.chmod(0o777)
        self.target.rename(good)
        os.mkfifo(fifo)
        for pointed_at in (good, fifo, "/dev/zero", "/dev/tty", self.target):
            with self.subTest(pointed_at):
                self.target.unlink(missing_ok=True)
                self.target.symlink_to(pointed_at)
                os.chown(self.target, 65534, 65534, follow_symlinks=False)  # or it is not replaced
                self.assertIsNone(self.failed_last_success())
                self.assertFalse(self.target.is_symlink())

    def test_huge(self) -> None:
        """Larger than memory may be; it is not read whole."""
        with self.target.open("wb") as file:
            file.truncate(1 << 40)
        self.assertIsNone(self.failed_last_success())


class Streams(FaultCase):
    """stdout and stderr that take nothing."""

    @staticmethod
    def sh(redirection: str) -> tuple[str, ...]:
        return ("sh", "-c", f'exec "$@" {redirection}', "sh")

    def test_stdout_full(self) -> None:
        with open("/dev/full", "wb") as full:
            self.assert_output_failed(self.export(stdout=full), "stdout", "No space")
            self.assert_output_failed(self.export("--help", stdout=full), "stdout")
            self.fake_large_dump()
            self.assert_output_failed(self.export(stdout=full), "stdout")

    def test_stdout_closed(self) -> None:
        self.assert_output_failed(self.export(before=self.sh(">&-")), "stdout")

    def test_stderr_closed(self) -> None:
        run = self.export(before=self.sh("2>&-"))
        self.assert_success(run)
        self.assert_whole(run.out)

        self.fake("echo no luck today >&2; exit 1")
        run = self.export(before=self.sh("2>&-"))
        self.assertEqual(run.status, 1)
        self.assert_tells_failure(run.out)

    def test_stderr_full(self) -> None:
        self.fake("exit 1")
        run = self.export(before=self.sh("2>/dev/full"))
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
        self.assertEqual(self.export("-o", self.target, before=self.sh("<&- >&- 2>&-")).status, 0)
        self.assertEqual(seen.read_text(), "/dev/null\n" * 3)

        for script, status in (("dump", 0), ("echo look out >&2; dump", 0), ("exit 1", 1)):
            with self.subTest(script):
                self.fake(script)
                run = self.export("-o", self.target, before=self.sh("<&- >&- 2>&-"))
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
