"""No counter that stands is ever shown as 0, whoever changes legacy tables meanwhile.

Each change replaces the whole table with one whose counters are 0, and then adds the old ones back.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from resets_case import BUSY, LEGACY, LOCK, PACKETS, PROTECTED, UNIT, ResetsCase, ScriptedCase, disturbed, rules
from support import (
    DEADLINE,
    NOBODY,
    Network,
    eventually,
    finish,
    main,
    mounted,
    netfilter,
    run,
    sees_all_locks,
    start,
)

FAILED = {f"iptables_{name}" for name in ("exporter_build_info", "scrape_duration_seconds", "scrape_success")}


class RealWriter(ResetsCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("legacy"))

    @contextlib.contextmanager
    def writer(self) -> Iterator[None]:
        """Somebody who changes the table without pause."""
        change = "iptables-legacy -w -{} OUTPUT -s 10.0.0.2"
        script = f"while {change.format('A')} && {change.format('D')}; do :; done"
        with self.network.entered():
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sh", "-c", script])
        try:
            yield
            self.assertIsNone(process.poll(), "the writer has failed")
        finally:
            process.kill()
            process.wait()

    def test_beside_a_writer_without_pause(self) -> None:
        self.network.restore(rules(2000).encode())
        end = time.monotonic() + 2
        with self.writer():
            while time.monotonic() < end:
                run = self.network.export(*LEGACY, "--timeout", "0.5")
                if run.status == 0:
                    self.assertEqual(self.packets(run), PACKETS)
                else:
                    self.assert_says(run, disturbed("0.5"))

    def test_no_writer_finds_the_lock_taken(self) -> None:
        self.network.restore(rules(2).encode())
        with self.network.entered():
            reader = start(*LEGACY, "--timeout", str(DEADLINE))
            for _ in range(20):
                for change in ("-A", "-D"):  # which without --wait fail at once
                    self.network.run("iptables-legacy", change, "OUTPUT", "-s", "10.0.0.2")
                    if reader.poll() is not None:
                        self.assert_protected(finish(reader), True)
                        reader = start(*LEGACY, "--timeout", str(DEADLINE))
            self.assert_protected(finish(reader), True)

    def test_a_quiet_host_with_the_rights_of_the_unit(self) -> None:
        self.network.restore(rules(2).encode())
        self.assert_protected(self.network.export(*LEGACY, before=UNIT), True)

    def test_nft_needs_no_protection(self) -> None:
        with Network("nft") as network:
            network.iptables("-A", "INPUT")
            run = network.export("--backend", "nft")
        self.assert_success(run)
        self.assertNotIn(PROTECTED, run.metrics)


class Scripted(ScriptedCase):
    def test_who_opens_the_lock_meanwhile_disturbs(self) -> None:
        path = self.command(f": <{LOCK}; show zeros", f"show zeros; : <{LOCK}", "show right")
        run = self.run_on(path)
        self.assert_protected(run, True)
        self.assertEqual((self.packets(run), self.tries()), (PACKETS, 3))

    def test_who_holds_it_before_disturbs(self) -> None:
        path = self.command("show zeros", "show right")
        with self.holder():
            process = start(*LEGACY, path=path)
            eventually(lambda: self.tries() == 1, "a try")
            time.sleep(0.1)  # in which it must not try again
            self.assertEqual(self.tries(), 1)
        run = finish(process)
        self.assert_protected(run, True)
        self.assertEqual((self.packets(run), self.tries()), (PACKETS, 2))

    def test_who_opened_it_before_and_holds_it_after_disturbs(self) -> None:
        # No event tells of that one: the lock is taken between, on what was opened before.
        with LOCK.open() as file:
            os.mkfifo(self.directory / "begun")
            os.mkfifo(self.directory / "locked")
            path = self.command("echo >begun; read x <locked; show zeros", "show right")
            process = start(*LEGACY, path=path)
            (self.directory / "begun").read_text()
            fcntl.flock(file, fcntl.LOCK_EX)
            (self.directory / "locked").write_text("\n")
            time.sleep(0.1)
        self.assertEqual(self.packets(finish(process)), PACKETS)

    def test_a_lock_held_for_ever(self) -> None:
        path = self.command("show zeros")
        with self.holder():
            process = start(*LEGACY, "--timeout", "2", path=path)
            _, status, usage = os.wait4(process.pid, 0)  # what it prints fits into its pipes
            process.returncode = os.waitstatus_to_exitcode(status)
            run = finish(process)
        self.assertEqual((run.status, self.tries()), (1, 1))
        self.assert_says(run, disturbed("2"))
        self.assertEqual(set(run.metrics), FAILED)
        self.assertGreaterEqual(float(*run.metrics["iptables_scrape_duration_seconds"].samples.values()), 2)
        self.assertLess(usage.ru_utime + usage.ru_stime, 1)

    def test_it_rests_as_long_as_it_reads(self) -> None:
        """Beside somebody who changes tables without pause it does not burn a core."""
        run = self.run_on(self.command(f": <{LOCK}; sleep 0.1; show zeros"), *LEGACY, "--timeout", "2")
        self.assert_says(run, disturbed("2"))
        self.assertGreater(self.tries(), 1)
        self.assertLess(self.tries(), 15)  # 20 without a rest

    def test_the_others_do_not_suffer(self) -> None:
        path = self.command("show right", name="iptables-nft-save")
        self.command("show zeros")
        with self.holder():
            run = self.run_on(path, "--backend", "legacy,nft", "--timeout", "0.5")
        self.assertEqual(run.status, 1)
        self.assert_messages(run, disturbed("0.5"))
        self.assertEqual(self.packets(run), PACKETS)
        success = run.metrics["iptables_scrape_success"].samples
        self.assertEqual(success, {(("backend", "legacy"),): "0", (("backend", "nft"),): "1"})

    def test_a_signal_ends_the_wait(self) -> None:
        path = self.command("show zeros")
        for before, status in ((), -signal.SIGTERM), (("unshare", "--pid", "--fork"), 128 + signal.SIGTERM):
            self.calls.write_text("")
            with self.subTest(before), self.holder():
                process = start(*LEGACY, path=path, before=before)
                eventually(lambda: self.tries() == 1, "a try")
                time.sleep(0.1)  # in which it comes to wait
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                os.kill(int(children) if before else process.pid, signal.SIGTERM)
                run = finish(process)
                self.assertEqual((run.status, run.out, run.err), (status, b"", b""))

    def test_a_failure_is_no_reason_to_try_again(self) -> None:
        run = self.run_on(self.command(f": <{LOCK}; exit 3"))
        self.assert_says(run, "error: iptables-legacy-save exited with status 3; no counters are written")
        self.assertEqual(self.tries(), 1)

    def test_where_nobody_knows_what_it_is_the_dump_tells(self) -> None:
        says = "echo '# Generated by iptables-save v1.8.9 on'; show {}; echo '# Completed on Thu'"
        first, second = says.format("zeros"), says.format("right")
        path = self.command(f": <{LOCK}; {first}", second, name="iptables-save")
        run = self.run_on(path, "--timeout", "60")
        self.assert_protected(run, True)
        self.assertEqual(self.packets(run), PACKETS)

    def test_other_places_of_the_lock(self) -> None:
        own = self.directory / "own.lock"
        own.touch()
        variables = {"XTABLES_LOCKFILE": str(own)}
        path = self.command(f": <{own}; show zeros", f": <{LOCK}; show right")
        run = self.run_on(path, variables=variables)
        self.assert_protected(run, True)
        self.assertEqual((self.packets(run), self.tries()), (PACKETS, 2))

        path = self.command(f": <{LOCK}; show zeros", "show right")
        run = self.run_on(path, variables={"XTABLES_LOCKFILE": ""})  # which iptables takes for none
        self.assert_protected(run, True)
        self.assertEqual((self.packets(run), self.tries()), (PACKETS, 2))

        LOCK.unlink()
        with mounted(Path("/var"), "-t", "tmpfs", "none"):
            Path("/var/run").mkdir()
            Path("/var/run/xtables.lock").touch()
            run = self.run_on(self.command(": </var/run/xtables.lock; show zeros", "show right"))
        self.assertEqual(self.packets(run), PACKETS)

    def test_overlayfs(self) -> None:
        """Where stat(2) tells a device that /proc/locks does not."""
        lower, upper = self.directory / "lower", self.directory / "upper"
        lower.mkdir()
        upper.mkdir()
        (lower / "xtables.lock").touch()
        with mounted(upper, "-t", "tmpfs", "none"):
            (upper / "upper").mkdir()
            (upper / "work").mkdir()
            options = f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work,xino=off"
            with mounted(Path("/run"), "-t", "overlay", "-o", options, "none"):
                path = self.command("show zeros", "show right")
                with self.holder():
                    process = start(*LEGACY, path=path)
                    eventually(lambda: self.tries() == 1, "a try")
                    time.sleep(0.1)  # in which it must not try again
                    self.assertEqual(self.tries(), 1)
                run = finish(process)
        self.assert_protected(run, True)
        self.assertEqual(self.packets(run), PACKETS)

    def test_what_cannot_be_watched(self) -> None:
        path = self.command("show right")
        with self.subTest("a lock file that is mounted there and that we may not read"):
            (self.directory / "theirs").touch(0o600)
            with mounted(LOCK, "--bind", self.directory / "theirs"):
                self.assert_protected(self.run_on(path, before=UNIT), False)
        with self.subTest("a link"):
            LOCK.rename("/run/elsewhere")
            LOCK.symlink_to("/run/elsewhere")
            self.assert_protected(self.run_on(path), False)
            LOCK.unlink()
        with self.subTest("no lock file"):
            self.assert_protected(self.run_on(path), False)
        LOCK.touch()
        with self.subTest("no inotify instance left"), no_inotify_for_nobody():
            self.assert_protected(self.run_on(path, before=NOBODY), False)
        self.assert_protected(self.run_on(path, before=NOBODY), True)


@contextlib.contextmanager
def no_inotify_for_nobody() -> Iterator[None]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        libc = ctypes.CDLL(None)
        while libc.inotify_init() >= 0:
            pass
        os.write(writer, b"x")
        signal.pause()
    try:
        os.read(reader, 1)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


if __name__ == "__main__":
    main(netfilter, sees_all_locks, has_own_pids=False)
