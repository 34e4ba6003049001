"""Whatever its iptables-save does, the program ends and says so, and never takes a part for the whole."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

from fault_case import DUMP, FaultCase
from support import eventually, executable, finish, main, mounted, processes, value


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
        self.assert_says(run, f"error: iptables-save is not in {directories} (install iptables); no counters are written")

    def test_a_file_in_path(self) -> None:
        """It is passed over, as a shell does."""
        self.assert_success(self.export(path=f"{self.dump}:{self.path}"))

    def test_duration_is_that_of_the_command(self) -> None:
        self.fake("sleep 0.3; dump")
        begin = time.monotonic()
        run = self.export()
        duration = float(value(run.metrics, "iptables_scrape_duration_seconds"))
        self.assertGreaterEqual(duration, 0.3)
        self.assertLessEqual(duration, time.monotonic() - begin)

    def test_not_executable(self) -> None:
        (self.bin / "iptables-save").chmod(0o644)
        with mounted(Path("/usr/sbin"), "--bind", str(self.bin)):
            run = self.export()
        self.assert_collecting_failed(run, run.out, "/iptables-save is not executable; no counters are written\n")

    def test_not_a_program(self) -> None:
        for junk in (b"\x7fELF junk", b"#!/nonexistent/interpreter\n", b""):
            with self.subTest(junk):
                executable(self.bin / "iptables-save", "").write_bytes(junk)
                self.assert_fails("iptables-save")

    def test_exit_statuses(self) -> None:
        for status in (1, 127):
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
        self.assertEqual(run.err, b"<3>iptables_exporter: error: iptables-save exited with status 1; no counters are written\n")
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
                self.assertEqual(run.err, b"iptables_exporter: error: iptables-save exited with status 1; no counters are written\n")

    def test_killed_by_a_signal(self) -> None:
        before, during, after = "", f"head -c 100 {self.dump};", "dump;"
        for name, output in (("KILL", before), ("SEGV", during), ("TERM", after), ("PIPE", after)):
            with self.subTest(name, output=output):
                self.fake(f"{output} kill -{name} $$")
                self.assert_fails(f"signal {int(signal.Signals[f'SIG{name}'])}")

    def test_output_cut_off_though_status_is_0(self) -> None:
        """Where it is cut decides nothing: a unit test cuts a dump at each byte."""
        for end in (b"# Gen", b"*filter\n", b"[7:8]\n", b"udp -j ACC", b'"two', b"COMMIT\n"):
            with self.subTest(end):
                self.fake("dump", DUMP[: DUMP.index(end) + len(end)])
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
                zombie = Path(f"/proc/{children.read_text().split()[-1]}/stat")
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
        run = self.export()
        self.assertEqual(run.status, 0)
        self.assert_says(run, "warning: there are no rules: the kernel has no table of iptables")

    def test_output_in_drops(self) -> None:
        self.fake(f"dd bs=7 if={self.dump} status=none")
        run = self.export()
        self.assert_success(run)
        self.assert_whole(run.out)

    def test_slow_is_waited_for_asleep(self) -> None:
        for script in ("dump; sleep 0.5", *(f"dump; exec {fd}>&-; sleep 0.5" for fd in (1, 2))):
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


if __name__ == "__main__":
    main()
