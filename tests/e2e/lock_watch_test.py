"""iptables_legacy_reads_protected is 1 only where a change would have been noticed; and strangers who
open files beside the lock, or make locks of their own, neither stop a run nor make it long."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from resets_case import LEGACY, LOCK, PACKETS, UNIT, ScriptedCase, disturbed
from support import DEADLINE, Run, eventually, finish, is_stopped, main, mounted, netfilter, sees_all_locks, start

NEIGHBOUR = Path("/run/utmp")
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class LockWatch(ScriptedCase):
    def setUp(self) -> None:
        super().setUp()
        LOCK.chmod(0o600)
        for name in "begun", "done":
            os.mkfifo(self.directory / name, 0o666)
            (self.directory / name).chmod(0o666)

    def run_while(self, action: Callable[[subprocess.Popen[bytes]], object], *before: str) -> Run:
        """A run, in the midst of whose first read `action` happens."""
        path = self.command("echo >begun; read x <done; show right", "show right")
        process = start(*LEGACY, "--timeout", str(DEADLINE), path=path, before=before)
        try:
            (self.directory / "begun").read_text()
            action(process)
            (self.directory / "done").write_text("\n")
        except BaseException:
            process.kill()
            raise
        finally:
            run = finish(process)
        return run

    def assert_read_once(self, run: Run, protected: bool) -> None:
        self.assert_protected(run, protected)
        self.assertEqual((self.packets(run), self.tries()), (PACKETS, 1))

    def test_a_lock_file_that_is_replaced(self) -> None:
        """Who holds the one before writes as ever, and nothing tells of him."""
        other = Path("/run/other")

        def removed() -> None:
            LOCK.unlink()
            other.rename(LOCK)

        def renamed_away() -> None:
            LOCK.rename("/run/away")
            other.rename(LOCK)

        def renamed_away_and_back() -> None:
            LOCK.rename("/run/away")
            Path("/run/away").rename(LOCK)

        def renamed_over() -> None:
            other.rename(LOCK)

        def removed_and_back() -> None:
            os.link(LOCK, "/run/away")
            LOCK.unlink()
            Path("/run/away").rename(LOCK)

        for before in (), UNIT:
            for change in removed, renamed_away, renamed_away_and_back, renamed_over, removed_and_back:
                with self.subTest(change.__name__, before=before):
                    for path in LOCK, other:
                        path.unlink(missing_ok=True)
                        path.touch(0o600)
                    self.assert_read_once(self.run_while(lambda _: change(), *before), False)
                    self.assert_read_once(self.run_while(lambda _: None, *before), True)

    def test_a_directory_that_is_renamed(self) -> None:
        directory = self.directory / "locks"
        other = self.directory / "other"
        for path in directory, other:
            path.mkdir()
            (path / "lock").touch(0o600)

        def renamed() -> None:
            directory.rename(self.directory / "away")
            other.rename(directory)

        before = (*UNIT, "env", f"XTABLES_LOCKFILE={directory}/lock")
        self.assert_read_once(self.run_while(lambda _: renamed(), *before), False)

    def test_another_pid_namespace(self) -> None:
        """Its /proc/locks leaves out who holds the lock elsewhere."""
        before = ("unshare", "--pid", "--fork", "--mount-proc")
        self.assert_read_once(self.run_on(self.command("show right"), before=before), False)

    def test_a_lock_file_that_is_mounted_by_itself(self) -> None:
        """Who may read it watches the file, and sees those who open it by its own path."""
        elsewhere = self.directory / "elsewhere"
        elsewhere.touch(0o600)
        with mounted(LOCK, "--bind", elsewhere):
            self.assert_read_once(self.run_while(lambda _: None), True)
            run = self.run_while(lambda _: elsewhere.read_text())
        self.assert_protected(run, True)
        self.assertEqual(self.tries(), 2)

    def test_a_lock_file_of_two_names(self) -> None:
        """Who watches its directory does not see those who open it by the other name."""
        os.link(LOCK, "/run/other")
        self.assert_read_once(self.run_while(lambda _: None, *UNIT), False)
        self.assert_read_once(self.run_while(lambda _: None), True)

    def open_neighbour(self, times: int) -> None:
        """Two events each, of the directory."""
        for _ in range(times):
            os.close(os.open(NEIGHBOUR, os.O_RDONLY))

    def while_stopped(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: is_stopped(process.pid), "the program has stopped")
        self.open_neighbour(QUEUE)
        process.send_signal(signal.SIGCONT)

    def while_read(self, process: subprocess.Popen[bytes]) -> None:
        def is_idle() -> bool:
            """Whether it sleeps, for longer than it leaves events to gather."""
            looks = set()
            for _ in range(10):
                status = Path(f"/proc/{process.pid}/status").read_text()
                looks.add(status[status.index("voluntary_ctxt_switches") :])
                subprocess.run(["sleep", "0.005"], check=True)
            return len(looks) == 1

        for _ in range(8):
            self.open_neighbour(QUEUE // 6)
            eventually(is_idle, "the events have been read")

    def test_a_neighbour_who_opens_his_file_over_and_over(self) -> None:
        NEIGHBOUR.touch()
        with self.subTest("the queue is emptied meanwhile"):
            self.assert_read_once(self.run_while(self.while_read, *UNIT), True)
        with self.subTest("the queue is full"):
            self.assert_read_once(self.run_while(self.while_stopped, *UNIT), False)
        with self.subTest("the lock file itself is watched"):
            self.assert_read_once(self.run_while(self.while_stopped), True)

    @contextlib.contextmanager
    def many_locks(self, count: int) -> Iterator[int]:
        """Of a user without privileges: their owner."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setuid(pwd.getpwnam("nobody").pw_uid)
                for first in range(0, count, 1000):  # a file each, for who adds to a file walks its locks
                    file = os.memfd_create("locks")
                    for i in range(1000):
                        fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * i)
                os.write(writer, b"x")
                signal.pause()
            finally:
                os._exit(1)
        os.close(writer)
        try:
            self.assertEqual(os.read(reader, 1), b"x")
            yield child
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)

    def test_a_user_who_makes_locks(self) -> None:
        """To read all of them takes seconds: each page of /proc/locks walks them from the first."""
        path = self.command("show right")
        with self.many_locks(60_000):
            process = start(*LEGACY, "--timeout", "1", path=path)
            _, status, usage = os.wait4(process.pid, 0)  # what it prints fits into its pipes
            process.returncode = os.waitstatus_to_exitcode(status)
            self.assert_read_once(finish(process), False)
            self.assertLess(usage.ru_utime + usage.ru_stime, 1)
        self.assert_protected(self.run_on(path), True)

    def test_a_user_who_removes_locks(self) -> None:
        """Those behind them move up, and who reads page by page misses some."""
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cpus)})  # one list, the newest locks first
        self.addCleanup(os.sched_setaffinity, 0, cpus)
        log = self.directory / "strace.log"
        strace = ("strace", f"--output={log}", "--trace-path=/proc/locks", "--inject=read:signal=STOP:when=1", "--")
        without_leaks = {"LSAN_OPTIONS": "detect_leaks=0"}
        path = self.command("show zeros")
        with self.holder(), self.many_locks(1000) as owner:
            process = start(*LEGACY, "--timeout", "2", path=path, before=strace, variables=without_leaks)
            eventually(lambda: log.exists() and "stopped by SIGSTOP" in log.read_text(), "the program has stopped")
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(owner, signal.SIGKILL)
            eventually(lambda: f" {owner} " not in Path("/proc/locks").read_text(), "they are gone")
            os.kill(int(child), signal.SIGCONT)
            run = finish(process)
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, disturbed("2"))

    def test_locks_that_never_stop_changing(self) -> None:
        """One more at each read(2)."""
        log = self.directory / "strace.log"
        strace = ("strace", f"--output={log}", "--trace-path=/proc/locks", "--inject=read:signal=STOP", "--")
        without_leaks = {"LSAN_OPTIONS": "detect_leaks=0"}
        files = []
        with self.many_locks(1000):
            process = start(
                *LEGACY, "--timeout", "100", path=self.command("show right"), before=strace, variables=without_leaks
            )
            while process.poll() is None:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if children and is_stopped(int(children[0])):
                        files.append(Path("/run/utmp").open("w"))
                        fcntl.lockf(files[-1], fcntl.LOCK_EX, 1, 2 * len(files))
                        os.kill(int(children[0]), signal.SIGCONT)
            self.assert_read_once(finish(process), False)
        for file in files:
            file.close()

    def test_many_locks_that_stay(self) -> None:
        with self.many_locks(1000):
            self.assert_read_once(self.run_on(self.command("show right")), True)


if __name__ == "__main__":
    main(netfilter, sees_all_locks, has_own_pids=False)
