#!/usr/bin/env python3
"""iptables_exporter-saved loads whatever is saved, and nothing of that reaches the host."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path

from oracle import without_comments
from saved_case import SAVED, SavedCase
from support import eventually, main, mounted, netfilter, private_namespaces

NO_SYS_ADMIN = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


class Host(SavedCase):
    """Of its firewall, nothing changes, whatever is loaded."""

    def setUp(self) -> None:
        super().setUp()
        self.before = self.everything()

    def everything(self) -> list[bytes]:
        saves = [without_comments(self.network.run(f"{family}tables-{backend}-save", "-c"))
                 for family in ("ip", "ip6") for backend in ("nft", "legacy")]  # fmt: skip
        return [*saves, self.network.run("nft", "list", "ruleset"), self.network.run("ipset", "save"),
                self.network.run("sysctl", "net.ipv4.ip_forward", "kernel.printk")]  # fmt: skip

    def tearDown(self) -> None:
        self.assertEqual(self.everything(), self.before)
        super().tearDown()

    def test_rules_stay_to_the_byte(self) -> None:
        self.rules.write_text(SAVED.replace("DROP", "ACCEPT").replace("-i lo", "-i eth7"))
        self.rehearse()
        self.assertEqual(self.differing(), {"filter"})

    def test_a_command_that_changes_all_that_it_can(self) -> None:
        changes = ("iptables -F", "iptables-legacy -P INPUT DROP", "ipset create x hash:ip", "nft flush ruleset",
                   "sysctl -w net.ipv4.ip_forward=1", "ip link set lo down",
                   "! echo 0 >/proc/sys/kernel/printk", "! touch /mine", "touch /tmp/mine /var/tmp/mine",
                   '! find /proc /sys -path "/proc/[0-9]*" -prune -o -path /proc/sys/net -prune -o -type f -writable -print | grep .')  # fmt: skip
        self.rehearse(RESTORE=" && ".join(changes))
        self.assertIn('backend="legacy",chain="INPUT",family="ipv4",policy="DROP"', self.page.read_text())
        self.assertFalse(Path("/tmp/mine").exists() or Path("/var/tmp/mine").exists())

    def test_interfaces_are_those_of_the_namespace(self) -> None:
        self.rehearse(RESTORE="ip link set lo mtu 1234 && [ $(cat /sys/class/net/lo/mtu) = 1234 ]")

    def test_a_namespace_that_is_none(self) -> None:
        """PrivateNetwork= of systemd is left out without a word where it cannot be had, and so it is here."""
        self.command("unshare", 'case "$*" in *--rehearse*) while [ $1 != -- ]; do shift; done; shift; exec "$@" ;;'
                     ' *) exec /usr/bin/unshare "$@" ;; esac')  # fmt: skip
        self.assert_nobody_knows("did not leave the host's network namespace")

    def test_mounts_reach_nobody(self) -> None:
        """With an unshare that leaves mounts shared, as before util-linux 2.27."""
        self.command("unshare", 'case "$*" in *--load*) set -- --propagation unchanged "$@" ;; esac; exec /usr/bin/unshare "$@"')
        subprocess.run(["mount", "--make-rshared", "/"], check=True)
        self.addCleanup(subprocess.run, ["mount", "--make-rprivate", "/"], check=True)
        before = Path("/proc/self/mounts").read_text()
        self.rehearse()
        self.assertEqual(Path("/proc/self/mounts").read_text(), before)

    def test_unshare_is_refused(self) -> None:
        self.assert_nobody_knows("there are no namespaces to load into: unshare", "Operation not permitted", before=NO_SYS_ADMIN)

    def test_the_second_unshare_is_refused(self) -> None:
        """As where the number of namespaces is limited: the old page does not stand."""
        self.rehearse()
        self.rules.write_text(SAVED + "# changed\n")
        self.command("unshare", 'case "$*" in *--rehearse*) echo refused >&2; exit 1 ;; *) exec /usr/bin/unshare "$@" ;; esac')
        failed = self.look()
        self.assertEqual((failed.returncode, failed.stderr), (1, "refused\n"))
        self.assertEqual(self.page.read_text(), "")

    def test_mounts_are_refused(self) -> None:
        """So that what loads could get to systemd: then nothing is loaded."""
        self.command("mount", "echo refused >&2; exit 32")
        self.assert_nobody_knows("cannot be loaded into a network namespace: refused")


class Traps(SavedCase):
    def test_restore_through_systemctl(self) -> None:
        """Which would load into the host's firewall, by whatever name it is called."""
        asked = self.directory / "asked"
        self.command("systemctl", f"echo asked >{asked}")
        for command in ("systemctl restart ferm", f"{self.bin}/systemctl --quiet reload ferm", "sh -c 'systemctl start x'"):
            with self.subTest(command):
                said = command.removeprefix("sh -c ").strip("'").replace(f"{self.bin}/", "")
                self.assert_nobody_knows(f'RESTORE calls "{said}"', "systemctl cat", RESTORE=command)
                self.assertFalse(asked.exists())
        self.rehearse(RESTORE="systemctl is-active ferm || iptables -P INPUT DROP")

    def test_sockets_of_the_host_are_out_of_reach(self) -> None:
        """Of systemd, D-Bus and all others, which are below /run; so is the rest of what runs there."""
        for name in ("systemd/private", "dbus/system_bus_socket", "docker.sock", "netns/blue"):
            path = Path("/run", name)
            path.parent.mkdir(exist_ok=True)
            path.touch()
            self.addCleanup(path.unlink)
        self.rehearse(RESTORE='[ "$(find /run /var/run/ ! -type d)" = "" ] && touch /run/lock/mine && [ $(ls -d /proc/[0-9]* | wc -l) -lt 9 ]')
        self.assertFalse(Path("/run/lock").exists())

    def test_restore_that_is_not_there(self) -> None:
        self.assert_nobody_knows("RESTORE cannot be run", "/nosuch/firewall", "not found", RESTORE="/nosuch/firewall start")
        self.assert_nobody_knows("RESTORE cannot be run", "ermission denied", RESTORE="/etc/passwd")

    def test_restore_that_fails_loads_what_it_loads(self) -> None:
        self.rehearse_saying("RESTORE ended with status 3", "half of it", RESTORE=f"iptables-restore </etc/iptables/rules.v4; echo half of it; exit 3")
        self.assertEqual(self.differing(), set())

    def test_restore_leaves_a_process_behind(self) -> None:
        """That holds what its output goes to."""
        self.rehearse(RESTORE="iptables-restore </etc/iptables/rules.v4; sleep 12345 & true")
        self.assertEqual(self.differing(), set())
        self.assertNotIn(b"sleep\0" + b"12345", b"".join(self.command_lines()))

    def command_lines(self) -> list[bytes]:
        lines = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(path.read_bytes())
            except OSError:  # it has just ended
                pass
        return lines

    def test_load_that_hangs(self) -> None:
        """A minute is a moment here."""
        self.command("timeout", '[ "$1 $2 $3" = "-k 5 60" ] && shift 3 && exec /usr/bin/timeout -k 0.1 0.5 "$@"')
        self.assert_nobody_knows("RESTORE did not end within a minute: so far", RESTORE="echo so far; sleep 1000")
        self.assert_nobody_knows("did not end within a minute", RESTORE="trap '' TERM; sleep 1000; sleep 1000")
        self.plugins.joinpath("15-ip4tables").write_text("#!/bin/sh\nsleep 1000\n")
        self.assert_nobody_knows("netfilter-persistent did not end within a minute")

    def test_program_that_fails(self) -> None:
        """Its message says why."""
        self.rehearse()
        failed = self.look("--nosuch")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("iptables_exporter: error: unknown option --nosuch", failed.stderr)
        self.assertEqual(self.page.read_text(), "")
        self.rehearse()
        self.assertEqual(self.differing(), set())

    def test_directory_into_which_others_may_write(self) -> None:
        """They could plant links there, which root would follow."""
        for mode, owner in ((0o777, 0), (0o1777, 0), (0o775, 0), (0o755, 65534)):
            with self.subTest(mode=mode, owner=owner), mounted_tmpfs(self.page.parent):
                os.chmod(self.page.parent, mode)
                os.chown(self.page.parent, owner, owner)
                victim = self.directory / "victim"
                victim.write_text("as it was")
                for name in (self.page.name, "rehearsed", "lock"):
                    os.symlink(victim, self.page.parent / name)
                refused = self.look()
                self.assertEqual(refused.returncode, 1)
                self.assert_one_line(refused.stderr, f"others than root may write into {self.page.parent}")
                stop = [self.script, "--stopped", self.page]
                subprocess.run(stop, env={**os.environ, "SERVICE_RESULT": "exit-code"}, check=True)
                self.assertEqual(victim.read_text(), "as it was")

    def test_wrong_usage(self) -> None:
        for arguments in ((), ("--help",), ("page.prom",)):
            done = subprocess.run([self.script, *arguments], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertRegex(done.stderr, r"\AUsage: .*\n\Z")


def mounted_tmpfs(path: Path) -> object:
    path.mkdir(exist_ok=True)
    return mounted(path, "-t", "tmpfs", "none")


class Lock(SavedCase):
    backend = "legacy"

    def test_nobody_waits_for_it_and_it_for_nobody(self) -> None:
        """The host's writers take /run/xtables.lock, which all network namespaces share."""
        lock = Path("/run/xtables.lock")
        lock.touch()
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            started = time.monotonic()
            self.rehearse()
            self.assertLess(time.monotonic() - started, 60)
        self.assertEqual(self.differing(), set())
        lock.unlink()
        self.rules.write_text(SAVED + "# changed\n")
        self.rehearse()
        self.assertFalse(lock.exists())


class OldPage(SavedCase):
    def test_stands_until_the_new_one_is_whole(self) -> None:
        self.rehearse()
        before = self.page.read_text()
        started = self.directory / "started"
        self.rules.write_text(SAVED + "# changed\n")
        gate = self.directory / "gate"
        os.mkfifo(gate)
        self.plugins.joinpath("15-ip4tables").write_text(f"#!/bin/sh\ntouch {started}\nread -r line <{gate}\n")
        pid = os.fork()
        if pid == 0:
            os._exit(self.look().returncode)
        eventually(started.exists, "loading has begun")
        self.assertEqual(self.page.read_text(), before)
        gate.write_text("go\n")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertNotEqual(self.page.read_text(), before)

    def test_emptied_when_killed(self) -> None:
        """By systemd's ExecStopPost=, however it was killed."""
        for result, emptied in (("success", False), ("timeout", True), ("signal", True), ("exit-code", True)):
            with self.subTest(result):
                self.rehearse()
                before = self.page.read_text()
                subprocess.run([self.script, "--stopped", self.page], env={**os.environ, "SERVICE_RESULT": result}, check=True)
                self.assertEqual(self.page.read_text(), "" if emptied else before)


if __name__ == "__main__":
    main(private_namespaces, netfilter)
