"""Each system call made to fail, and the program stopped and killed at each of them, by strace.

Not for a build with sanitizers, which make system calls of their own.
"""

from __future__ import annotations

import os
import re
import signal
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, run as run_command

from fault_case import FaultCase
from oracle import read_metrics
from support import Run, eventually, finish, main, mode, netfilter, no_sanitizer, sees_all_locks, syscall_injection, value

# How each of these might really fail; all others with EIO. The kernel tells that brk(2) failed by
# an address lower than the one asked for.
FAILURES = {
    "brk": "retval=0",
    "clone": "error=EAGAIN",
    "clone3": "error=EAGAIN",
    "fchmod": "error=EPERM",
    "flock": "error=ENOLCK",
    "mmap": "error=ENOMEM",
    "openat": "error=EMFILE",
    "pipe2": "error=EMFILE",
    "poll": "error=ENOMEM",
    "renameat": "error=EBUSY",
    "signalfd4": "error=EMFILE",
    "vfork": "error=EAGAIN",
    "wait4": "error=ECHILD",
    "write": "error=ENOSPC",
}
# What can be done without: that these fail is nobody's business. A pipe is then smaller, leftovers
# stay until another run, and that of a run without a lock may be taken for one; what the kernel does
# not tell is not known, and what the page that stands does not tell is not known either. Whom we ask of legacy
# tables may not answer or not end.
DISPENSABLE = re.compile(
    r"(brk|fcntl|flock|getdents64|geteuid|munmap|prctl|prlimit64|readlink|rt_sigaction|rt_sigprocmask)\("
    r'|access\("/(proc/self/net|sys/module)/'
    r"|poll\(\[\{fd=2,|(connect|getsockopt|recvfrom|sendto|setsockopt|socket|socketpair)\("
    r'|poll\(\[\{fd=\d+, events=(POLLIN|0)\}\], 1, |read\(\d+, "[?!]|kill\(|wait4\(\d+, NULL, 0,'
    r'|newfstatat\(\d|fstat\(|openat\((\d+, "\."|\d+, "ip6?_tables_names"|AT_FDCWD, "/proc/)'
    r'|inotify_add_watch\(|access\("(/var)?/run/xtables\.lock"'  # of the file: the directory will do
    # Of names of legacy tables, of signals that did come, and of the page that stands: it has some thousand bytes.
    r'|read\(\d+, .*, (512|128|\d{4})\) |openat\(AT_FDCWD, "[^"]*\.prom"'
)
# What looks at the lock of legacy tables. Without it, the page says that nobody looked.
WATCHING = re.compile(
    r'inotify_init|statx\(|newfstatat\(AT_FDCWD, "/proc/self/ns/pid"|ioctl\('
    r'|openat\(AT_FDCWD, "/proc/locks"|read\(\d+, .*, (4096|8191|16384)\)'
)
PROTECTED = "iptables_legacy_reads_protected"
TEMPORARY = re.compile(r"\.\S+\.tmp")


@dataclass(frozen=True)
class Call:
    name: str
    ordinal: int  # among the process's calls of this name
    text: str


class SyscallCase(FaultCase):
    def setUp(self) -> None:
        super().setUp()
        self.log = self.directory / "strace.log"
        # So that there is a lock to look at, and a table with as many entries as that of DUMP.
        for command in "-F", "-A", "-A":
            run_command(["iptables-legacy", command, "INPUT"], check=True)

    def traced(self, *injections: str) -> dict:
        """Options for a run on the target under strace; the command that it runs is not traced."""
        expressions = [f"--inject={injection}" for injection in injections]
        return {"before": ("strace", f"--output={self.log}", *expressions, "--")}

    def export_traced(self, *injections: str, timeout: str = "60") -> Run:
        return self.export("-o", self.target, "--timeout", timeout, **self.traced(*injections))

    def calls(self) -> list[Call]:
        """What the last traced run did from its search for iptables-save to its messages."""
        seen: Counter[str] = Counter()
        calls = []
        for line in self.log.read_text(errors="replace").splitlines():
            if match := re.match(r"(\w+)\(", line):
                seen[match[1]] += 1
                calls.append(Call(match[1], seen[match[1]], line))
        first = next(i for i, call in enumerate(calls) if f"{self.bin}/iptables-save" in call.text)
        return [call for call in calls[first:] if not re.match(r"exit_group|write\(2,|poll\(\[{fd=2,", call.text)]

    def only(self, name: str, part: str = "") -> Call:
        """The call that does so in a successful run."""
        (call,) = (call for call in self.successful if call.name == name and part in call.text)
        return call

    def trace_success(self) -> list[Call]:
        self.write_old_output()
        self.assert_success(self.export_traced())
        self.successful = self.calls()
        return self.successful

    def clean_up_and_check(self) -> None:
        """After whatever was left behind, the next run leaves nothing but its file."""
        self.assert_no_process_left()
        self.fake("dump")
        run = self.export("-o", self.target)
        self.assert_success(run)
        self.assert_whole(self.target.read_bytes())
        self.assert_only_target()


class Failing(SyscallCase):
    def ends(self, usual: int) -> set[int]:
        """The exit statuses that the last run may have; without a failing call it had `usual`."""
        text = self.log.read_text(errors="replace")
        failed = re.search(r"^.*\(INJECTED\)$", text, re.MULTILINE)
        if not failed:  # how many calls there are is a matter of time
            return {usual}
        if DISPENSABLE.match(failed[0]) or WATCHING.match(failed[0]):
            return {usual}
        if failed[0].startswith("close("):  # not done then: the end of a dump may never come
            return {usual, 1}
        if failed[0].startswith("getrandom("):  # for whichever comes first, the ruleset or the page
            return {1, 3}
        return {3 if f'"{self.target.parent}"' in text[: failed.end()] else 1}

    def assert_every_failure_ends_well(self, script: str, usual: int, after: str = "") -> None:
        """From the call with this text on."""
        old = self.write_old_output()
        self.fake(script)
        self.export_traced()
        calls = self.calls()
        calls = calls[next(i for i, call in enumerate(calls) if after in call.text) :]
        self.assertGreater(len(calls), 20)
        for call in calls:
            failure = FAILURES.get(call.name, "error=EIO")
            with self.subTest(f"{failure} of {call.text}"):
                self.target.write_bytes(old)
                timeout = "0.5" if call.name == "close" else "60"
                run = self.export_traced(f"{call.name}:{failure}:when={call.ordinal}", timeout=timeout)
                self.assertIn(run.status, self.ends(usual), run)
                self.assert_ends_well(run, old)
                if run.status == 0 and call.name != "close":  # which leaves no time to look at locks
                    failed = re.search(r"^.*\(INJECTED\)$", self.log.read_text(errors="replace"), re.M)
                    is_watched = not (failed and WATCHING.match(failed[0]))
                    families = read_metrics(self.target.read_bytes())
                    self.assertEqual(value(families, PROTECTED), str(int(is_watched)))
                self.assert_only_target()
                self.assert_no_process_left()

    def test_while_all_goes_well(self) -> None:
        self.assert_every_failure_ends_well("dump", 0)

    def test_while_collecting_fails(self) -> None:
        """Up to the end of the command, it is what it is while all goes well."""
        self.assert_every_failure_ends_well("echo no luck today >&2; exit 1", 1, after="wait4(")

    def test_what_cannot_be_done_without(self) -> None:
        """These must not pass for success."""
        self.trace_success()
        old = self.target.read_bytes()
        directory = f'"{self.target.parent}"'
        spawning = next(c.name for c in self.successful if c.name in ("clone3", "clone", "vfork"))
        for call, error, status, message in (
            (self.only("openat", directory), "EACCES", 3, "Permission denied"),
            (self.only("openat", "O_EXCL"), "EROFS", 3, "Read-only"),
            (self.only("write"), "ENOSPC", 3, "No space"),
            (self.only("write"), "EDQUOT", 3, "quota"),
            (self.only("write"), "EIO", 3, "Input/output"),
            (self.only("write"), "EPIPE", 3, "Broken pipe"),
            (self.only("fchmod"), "EPERM", 3, "not permitted"),
            (self.only("fsync"), "EIO", 3, "Input/output"),
            (self.only("fsync"), "ENOSPC", 3, "No space"),
            (self.only("renameat"), "EACCES", 3, "Permission denied"),
            (self.only(spawning), "EAGAIN", 1, "temporarily unavailable"),
            (self.only(spawning), "ENOMEM", 1, "memory"),
            (next(c for c in self.successful if c.name == "pipe2"), "ENFILE", 1, "Too many open files"),
            (next(c for c in self.successful if "poll([{fd=" in c.text and "}, {" in c.text), "ENOMEM", 1, "memory"),
        ):
            with self.subTest(f"{error} from {call.text}"):
                self.target.write_bytes(old)
                run = self.export_traced(f"{call.name}:error={error}:when={call.ordinal}")
                if status == 3:
                    self.assert_old_output_stands(run, old, message)
                else:
                    self.assert_collecting_failed(run, self.target.read_bytes(), message)

    def test_interrupted_calls_are_made_again(self) -> None:
        calls = [c for c in self.trace_success() if c.name in ("poll", "read", "write")]
        self.assertGreater(len(calls), 4)
        for call in calls:
            with self.subTest(call.text):
                self.target.unlink()
                self.assert_success(self.export_traced(f"{call.name}:error=EINTR:when={call.ordinal}"))
                self.assert_whole(self.target.read_bytes())


class Killing(SyscallCase):
    def test_killed_at_every_call(self) -> None:
        """Whole is the old file or the new one; what is left over goes with the next run."""
        calls = self.trace_success()
        old = self.target.read_bytes()
        for call in calls:
            with self.subTest(call.text):
                self.target.write_bytes(old)
                run = self.export_traced(f"{call.name}:signal=KILL:when={call.ordinal}")
                self.assertIn(run.status, (-signal.SIGKILL, 0), run)
                self.assert_whole(self.target.read_bytes())
                left = [name for name in os.listdir(self.target.parent) if name != self.target.name]
                self.assertTrue(all(TEMPORARY.fullmatch(name) for name in left), left)
                self.assertLess(len(left), 2)
        self.clean_up_and_check()

    def test_ended_at_every_call(self) -> None:
        for call in self.trace_success():
            with self.subTest(call.text):
                run = self.export_traced(f"{call.name}:signal=TERM:when={call.ordinal}")
                self.assertIn((run.status, run.err), ((-signal.SIGTERM, b""), (0, b"")))
                self.assert_whole(self.target.read_bytes())
                self.assert_only_target()
                self.assert_no_process_left()


class Stopped(SyscallCase):
    """Something happens between the writing of the temporary file and its renaming."""

    def stop_before_renaming(self) -> tuple[Popen[bytes], Path]:
        """Starts a run and stops it after fsync(2); returns it and its temporary file."""
        before = set(os.listdir(self.target.parent))
        self.log.write_bytes(b"")
        process = self.start("-o", self.target, **self.traced("fsync:signal=STOP"))
        eventually(lambda: "stopped by SIGSTOP" in self.log.read_text(), "the program has stopped")
        (name,) = set(os.listdir(self.target.parent)) - before
        return process, self.target.parent / name

    def go_on(self, process: Popen[bytes], how: signal.Signals = signal.SIGCONT) -> Run:
        (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(pid), how)
        return finish(process)

    def test_temporary_file_is_nobodys_but_ours(self) -> None:
        names = set()
        for _ in range(3):
            process, temporary = self.stop_before_renaming()
            self.assertFalse(temporary.name.endswith(".prom"))
            self.assertTrue(stat.S_ISREG(temporary.lstat().st_mode))
            names.add(temporary.name)
            self.assert_success(self.go_on(process))
        self.assertEqual(len(names), 3, "a name that can be guessed")
        opened = [c.text for c in self.calls() if c.name == "openat" and "O_CREAT" in c.text]
        self.assertEqual(len(opened), 1)
        for flag in ("O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", ", 0600)"):
            self.assertIn(flag, opened[0])

    def test_taken_for_a_leftover_before_it_is_locked(self) -> None:
        """By another run, which removes it: another one takes its place."""
        self.trace_success()
        opening = self.only("openat", "O_EXCL")
        self.log.write_bytes(b"")
        process = self.start("-o", self.target, **self.traced(f"openat:signal=STOP:when={opening.ordinal}"))
        eventually(lambda: "stopped by SIGSTOP" in self.log.read_text(), "the program has stopped")
        (name,) = set(os.listdir(self.target.parent)) - {self.target.name}
        (self.target.parent / name).unlink()
        self.assert_success(self.go_on(process))
        self.assert_only_target()

    def test_other_run_meanwhile(self) -> None:
        """It must not take our temporary file; its page is newer, and stands."""
        process, temporary = self.stop_before_renaming()
        inode = temporary.stat().st_ino
        self.assert_success(self.export("-o", self.target))
        newer = self.target.stat().st_ino
        self.assertNotEqual(newer, inode)
        self.assertTrue(temporary.exists())
        self.assert_success(self.go_on(process))
        self.assertEqual(self.target.stat().st_ino, newer)
        self.assert_only_target()

    def test_directory_removed_meanwhile(self) -> None:
        process, temporary = self.stop_before_renaming()
        temporary.unlink()
        self.target.parent.rmdir()
        self.assert_output_failed(self.go_on(process), str(self.target))

    def test_directory_renamed_meanwhile(self) -> None:
        """The file stays in the directory in which it was begun."""
        process, _ = self.stop_before_renaming()
        self.target.parent.rename(self.directory / "renamed")
        self.target.parent.mkdir()
        self.assert_success(self.go_on(process))
        self.assert_whole((self.directory / "renamed" / "iptables.prom").read_bytes())
        self.assert_only_target([])

    def test_target_made_a_directory_meanwhile(self) -> None:
        process, _ = self.stop_before_renaming()
        self.target.mkdir()
        self.assert_output_failed(self.go_on(process), str(self.target))
        self.assert_only_target()

    def test_planted_leftovers_gain_nothing(self) -> None:
        """In a directory for all, others may give anything a name like that of a leftover."""
        process, temporary = self.stop_before_renaming()
        self.go_on(process, signal.SIGKILL)
        self.assertTrue(temporary.exists())
        self.clean_up_and_check()

        self.target.parent.chmod(0o1777)
        precious = self.directory / "precious"
        precious.write_bytes(b"precious")
        precious.chmod(0o600)
        before = precious.stat()

        def planted(number: int) -> Path:
            other = re.sub(r"[0-9a-f]{8,}", lambda digits: f"{number:0{len(digits[0])}x}", temporary.name)
            self.assertNotEqual(other, temporary.name)
            return temporary.with_name(other)

        planted(1).symlink_to(precious)
        planted(2).symlink_to("/dev/zero")
        os.mkfifo(planted(3))
        planted(4).mkdir()
        (planted(4) / "inside").touch()
        os.link(precious, planted(5))
        planted(6).write_bytes(b"of another")
        planted(7).symlink_to(self.target)
        for number in (1, 2, 3, 4, 6, 7):
            os.chown(planted(number), 65534, 65534, follow_symlinks=False)

        for script, status in (("dump", 0), ("exit 1", 1)):
            self.fake(script)
            run = self.export("-o", self.target)
            self.assertEqual(run.status, status, run)
            text = self.target.read_bytes()
            self.assert_tells_failure(text) if status else self.assert_whole(text)
            self.assertTrue(stat.S_ISREG(self.target.lstat().st_mode))
            self.assertEqual(mode(self.target), 0o644)
            self.assertEqual(precious.read_bytes(), b"precious")
            after = precious.stat()
            self.assertEqual(
                (after.st_mode, after.st_uid, after.st_mtime_ns),
                (before.st_mode, before.st_uid, before.st_mtime_ns),
            )
            self.assertTrue((planted(4) / "inside").exists())
            # All of them still stand but our own, for a link to precious is root's own file.
            standing = [n for n in range(1, 8) if os.path.lexists(planted(n))]
            self.assertEqual(standing, [1, 2, 3, 4, 6, 7])


if __name__ == "__main__":
    main(netfilter, syscall_injection, no_sanitizer, sees_all_locks, has_own_pids=False)
