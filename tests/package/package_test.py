#!/usr/bin/env python3
"""Installs the packages on private machines with the real node_exporter, and lives with them.

Usage: package_test.py FILE.deb FILE.tar.gz [unittest's arguments]

One is an overlay of this machine; of Debian 12 and 13, one that this is not comes from debootstrap.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from machine import Machine, isolate, mount
from packaged import (OUTPUT_DIRECTORY, SERVICE, TIMER, add_rules, collect, directory, drop_in, has, modified, names,
                      new_machine, shows_all_rules, shows_rule)
from support import eventually

SOURCES = Path(__file__).resolve().parents[2]
MAN_PAGE = SOURCES / "contrib/man/iptables_exporter.8"
README = SOURCES / "README.md"
INSTALL = SOURCES / "contrib/install.md"

deb: Path
tarball: Path
OTHER = "bookworm" if platform.freedesktop_os_release().get("VERSION_CODENAME") == "trixie" else "trixie"
DEBOOTSTRAP_LOG = directory / "debootstrap.log"


PROBE = f"""#!/usr/bin/python3
import ctypes, errno, os, socket

def io_uring():
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")

def file(directory):
    open(directory + "/x", "x").close()
    os.unlink(directory + "/x")

attempts = {{"io_uring": io_uring}}
for family in ("AF_UNIX", "AF_PACKET"):
    attempts[family] = lambda family=family: socket.socket(getattr(socket, family), socket.SOCK_DGRAM)
attempts["/proc/1"] = lambda: os.stat("/proc/1")
for directory in ("/run/open", "/dev/shm", "/etc/open", "{OUTPUT_DIRECTORY}"):
    attempts[directory] = lambda directory=directory: file(directory)
lines = []
for name, attempt in attempts.items():
    try:
        attempt()
        lines.append(name + " ok")
    except OSError as error:
        lines.append(name + " " + errno.errorcode[error.errno])
with open("{OUTPUT_DIRECTORY}/probe", "w") as out:
    print(*lines, sep=chr(10), file=out)
"""


def intervals(machine: Machine, count: int) -> list[float]:
    """The times between the next `count` + 1 versions of the file that node_exporter serves."""
    times = [modified(machine)]
    while len(times) < count + 2:
        eventually(lambda: modified(machine) != times[-1], "a new file")
        times.append(modified(machine))
    return [later - earlier for earlier, later in zip(times[1:], times[2:])]


def set_args(machine: Machine, line: str) -> None:
    machine.run("sed -i '/^ARGS=/d' /etc/default/iptables_exporter")
    with (machine.root / "etc/default/iptables_exporter").open("a") as file:
        file.write(line + "\n")


def install(machine: Machine, package: str = "new.deb") -> str:
    return machine.output(f"apt-get install --yes --quiet /root/{package}")


class Contents(unittest.TestCase):
    def test_lintian(self) -> None:
        lintian = ["lintian", "--allow-root", "--fail-on", "error,warning", deb]
        result = subprocess.run(lintian, capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)

    def test_man_page(self) -> None:
        man = ["man", "--warnings", "--local-file", "--ditroff", MAN_PAGE]
        result = subprocess.run(man, capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn(documented_cron_line(), MAN_PAGE.read_text())

    def test_tarball_needs_no_library(self) -> None:
        unpack_tarball(directory / "unpacked")
        subprocess.run(["chroot", directory / "unpacked/bin", "/iptables_exporter", "--version"],
                       check=True, stdout=subprocess.DEVNULL)


class Debian(unittest.TestCase):
    machine: Machine

    @classmethod
    def setUpClass(cls) -> None:
        cls.machine = new_machine("this", Path("/"), deb)
        cls.addClassCleanup(cls.machine.stop)
        cls.machine.boot()
        cls.names_before = names(cls.machine)

    def journal(self) -> list[str]:
        return self.machine.output(f"journalctl --quiet --output cat --unit {SERVICE}").splitlines()

    def is_failed(self) -> bool:
        return SERVICE in self.machine.output("systemctl --failed --plain --no-legend")

    def test_01_first_run_at_installation_and_boot(self) -> None:
        # So that no tick of the timer can be taken for the first run.
        drop_in(self.machine, TIMER, "[Timer]\nOnCalendar=\nOnCalendar=yearly\n")
        add_rules(self.machine)
        install(self.machine)
        eventually(lambda: shows_all_rules(self.machine), "rules of all sources after installation")

        self.machine.stop()
        self.machine.boot()
        eventually(lambda: modified(self.machine) > 0, "node_exporter serves the file after boot")
        success = 'scrape_success{backend="nft",family="ipv6"} 1'
        eventually(lambda: has(self.machine, success), "a run at boot")

        # No legacy tables as yet, so that it needs no legacy commands.
        self.machine.run("mv /usr/sbin/xtables-legacy-multi /root")
        collect(self.machine)
        self.machine.run("mv /root/xtables-legacy-multi /usr/sbin")

        add_rules(self.machine)
        drop_in(self.machine, TIMER, "")
        self.machine.run(f"systemctl daemon-reload; systemctl restart {TIMER}")

    def test_02_units_are_clean_and_hardened(self) -> None:
        units = f"{SERVICE} {TIMER}"
        self.assertEqual(self.machine.output(f"systemd-analyze verify {units}"), "")
        security = f"systemd-analyze security --offline=true --threshold=%d {SERVICE}"
        self.machine.run(security % 17)
        self.machine.run(documented("install -D -t .*\n +sudo systemctl daemon-reload"))
        self.machine.run(security % 11)
        collect(self.machine)
        self.assertTrue(shows_rule(self.machine.page(), "ipv6", "nft"))
        self.assertNotIn('backend="legacy"', self.machine.page())
        self.machine.run(f"rm -r /etc/systemd/system/{SERVICE}.d; systemctl daemon-reload")

    def probe(self) -> dict[str, str]:
        """What happens to those who try, from within the service."""
        self.machine.run("install -d -m 1777 /run/open /etc/open; install -m 755 /dev/null /usr/local/bin/probe")
        (self.machine.root / "usr/local/bin/probe").write_text(PROBE)
        start = "ExecStart=\nExecStart=/usr/local/bin/probe\n"
        drop_in(self.machine, SERVICE, f"[Service]\n{start}")
        self.machine.run(f"systemctl stop {TIMER}; systemctl daemon-reload")
        collect(self.machine)
        text = self.machine.output(f"cat {OUTPUT_DIRECTORY}/probe; rm {OUTPUT_DIRECTORY}/probe")
        self.machine.run(f"rm -r /etc/systemd/system/{SERVICE}.d /etc/open; systemctl daemon-reload")
        self.machine.run(f"systemctl start {TIMER}")
        return dict(line.split(" ") for line in text.splitlines())

    def test_02_nothing_but_the_output_is_in_reach(self) -> None:
        self.assertEqual(
            self.probe(),
            {
                "io_uring": "EPERM",
                "AF_UNIX": "EAFNOSUPPORT",
                "AF_PACKET": "EAFNOSUPPORT",
                "/proc/1": "ok",  # to the group root, whatever ProtectProc= says
                "/run/open": "EROFS",
                "/dev/shm": "EACCES",
                "/etc/open": "EROFS",
                OUTPUT_DIRECTORY: "ok",
            },
        )

    def test_02_other_processes_are_hidden_where_only_nft_is(self) -> None:
        self.machine.run(documented("install -D -t .*\n +sudo systemctl daemon-reload"))
        self.assertEqual(self.probe()["/proc/1"], "ENOENT")

    def test_02_local_users_are_kept_out(self) -> None:
        """As the README has it."""
        lines = re.findall(r"`(Group=\w+|RuntimeDirectoryMode=\d+)`", README.read_text())
        self.assertEqual(len(lines), 2)
        drop_in(self.machine, SERVICE, "[Service]\n" + "\n".join(lines) + "\n")
        self.machine.run("systemctl daemon-reload")
        collect(self.machine)
        read = f"setpriv --reuid=nobody --regid=nogroup --clear-groups cat {OUTPUT_DIRECTORY}/iptables.prom"
        self.assertIn("Permission denied", self.machine.output(read, check=False))
        self.assertTrue(shows_all_rules(self.machine), "node_exporter reads it")
        self.machine.run(f"rm -r /etc/systemd/system/{SERVICE}.d; systemctl daemon-reload")
        collect(self.machine)

    def test_02_only_nft_with_an_ipset(self) -> None:
        """Which takes two rights that the drop-in names."""
        self.machine.run("ipset create banned hash:ip; iptables-nft -A INPUT -m set --match-set banned src")
        self.machine.run("nft add table inet foreign; nft add chain inet foreign in "
                         "'{ type filter hook input priority 0; policy accept; }'; nft add rule inet foreign in accept")
        self.machine.run(documented("install -D -t .*\n +sudo systemctl daemon-reload"))
        failed = 'scrape_success{backend="nft",family="ipv4"} 0'
        succeeded = 'scrape_success{backend="nft",family="ipv4"} 1'
        self.machine.run(f"systemctl stop {TIMER}; systemctl start {SERVICE}", check=False)
        self.assertTrue(has(self.machine, failed))
        self.assertIn("the command lacks CAP_NET_RAW", "\n".join(self.journal()))
        conf = f"/etc/systemd/system/{SERVICE}.d/nft-only.conf"
        self.machine.run(f"sed -i '/ipset/,$ s/^#\\([A-Z]\\)/\\1/' {conf}; systemctl daemon-reload")
        collect(self.machine)
        self.assertTrue(has(self.machine, succeeded))
        self.assertTrue(has(self.machine, 'unshown_tables{backend="nft",family="ipv4",reason="nft"} 1'))
        self.machine.run(f"rm -r /etc/systemd/system/{SERVICE}.d; systemctl daemon-reload")
        self.machine.run("nft delete table inet foreign; iptables-nft -F INPUT; ipset destroy banned")
        self.machine.run(f"systemctl start {TIMER}")

    def test_03_stays_fresh_and_quiet(self) -> None:
        self.machine.run("journalctl --rotate; journalctl --vacuum-time=1s")
        for interval in intervals(self.machine, 2):
            self.assertAlmostEqual(interval, 15, delta=3)
        self.assertIn("node_textfile_scrape_error 0\n", self.machine.page())
        self.assertEqual(self.journal(), [])

    def test_04_drop_in_changes_the_interval(self) -> None:
        drop_in(self.machine, TIMER, "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\n")
        self.machine.run(f"systemctl daemon-reload; systemctl restart {TIMER}")
        for interval in intervals(self.machine, 2):
            self.assertAlmostEqual(interval, 5, delta=2)

    def test_05_failure_shows_and_heals(self) -> None:
        leftover = f"{OUTPUT_DIRECTORY}/.iptables_exporter.0123456789abcdef.tmp"
        self.machine.run(f"setpriv --reuid _iptables_exporter --clear-groups touch {leftover}")
        broken = self.machine.root / "usr/local/sbin/ip6tables-nft-save"
        broken.write_text("#!/bin/sh\necho broken >&2\nexit 4\n")
        broken.chmod(0o755)
        eventually(self.is_failed, "the service is listed as failed")
        self.assertTrue(has(self.machine, 'scrape_success{backend="nft",family="ipv6"} 0'))
        self.assertTrue(shows_rule(self.machine.page(), "ipv6", "legacy"))
        self.assertRegex("\n".join(self.journal()), "iptables_exporter: error: .*broken")
        self.assertNotIn(leftover, names(self.machine))

        broken.unlink()
        eventually(lambda: not self.is_failed(), "the service has healed")
        eventually(lambda: shows_all_rules(self.machine), "the rules are back")

    def test_05_a_held_lock_is_noticed_without_a_right_more(self) -> None:
        self.machine.run(f"systemctl stop {TIMER}; systemctl start {SERVICE}")
        for family in ("ipv4", "ipv6"):  # 0, for the machine has a PID namespace of its own
            series = f'legacy_reads_protected{{backend="legacy",family="{family}"}} 0'
            self.assertTrue(has(self.machine, series))
        set_args(self.machine, 'ARGS="--family ipv4,ipv6 --backend legacy,nft --timeout 2"')
        self.machine.run(f"flock /run/xtables.lock systemctl start {SERVICE}", check=False)
        for backend, success in (("legacy", 0), ("nft", 1)):
            series = f'scrape_success{{backend="{backend}",family="ipv4"}} {success}'
            self.assertTrue(has(self.machine, series))
        self.assertIn("xtables.lock", "\n".join(self.journal()))
        self.machine.run(f"systemctl start {TIMER}")

    def test_06_options_survive_unquoting(self) -> None:
        samples = (self.machine.root / "etc/default/iptables_exporter").read_text()
        sample = next(line for line in samples.splitlines() if "--select" in line)
        set_args(self.machine, sample.lstrip("#"))
        self.machine.run("iptables-nft -N KUBE-X; iptables-nft -A KUBE-X -p tcp --dport 10")
        collect(self.machine)
        series = re.findall(r"^iptables_rule_packets_total(.*)", self.machine.page(), re.MULTILINE)
        self.assertEqual(series, [
            '{chain="OUTPUT",dport="9",protocol="udp",table="filter",target=""} 1'
        ])

    def test_07_as_the_go_exporter_was(self) -> None:
        before = self.journal()
        set_args(self.machine, 'ARGS=""')
        collect(self.machine)
        self.assertTrue(has(self.machine, "scrape_success 1"))
        self.assertTrue(has(self.machine, 'unshown_tables{reason="legacy"} 1'))
        self.assertEqual(self.journal(), before, "no line, though there was a warning")

    def test_07_what_is_wrong_with_options_is_told_at_once(self) -> None:
        set_args(self.machine, 'ARGS="--famly ipv4"')
        self.assertIn("famly", self.machine.output(documented(r"systemctl start iptables_exporter \|\| .*")))
        self.machine.run("mv /etc/default/iptables_exporter /root/options")
        collect(self.machine)
        self.assertTrue(shows_all_rules(self.machine), "without the file of options, as with the package's")
        self.machine.run("mv /root/options /etc/default/iptables_exporter")
        set_args(self.machine, 'ARGS=""')
        collect(self.machine)

    def test_07_node_exporter_in_a_container(self) -> None:
        """Which has the host's root elsewhere, and another /run."""
        directory_there = re.search(r"textfile.directory=(/host\S+)`", INSTALL.read_text())[1]
        node_exporter = (
            "prometheus-node-exporter --web.listen-address=127.0.0.1:9101 --collector.disable-defaults"
            f" --collector.textfile --collector.textfile.directory={directory_there}"
        )
        self.machine.run(
            "unshare --mount sh -ec 'mkdir -p /host/root; mount --rbind / /host/root;"
            f" mount -t tmpfs none /run; exec {node_exporter}' >/dev/null 2>&1 &"
        )
        eventually(lambda: self.machine.page(9101), "the other node_exporter serves")
        page = self.machine.page(9101)
        self.assertIn("node_textfile_scrape_error 0\n", page)
        self.assertRegex(page, r"(?m)^iptables_scrape_success(\{.*\})? 1$")

    def test_07_network_namespaces(self) -> None:
        """Two and the host's own, on one node_exporter, in install.md's words."""
        enable = documented("systemctl enable --now iptables_exporter@NAME")
        before = names(self.machine)
        self.machine.run("journalctl --rotate; journalctl --vacuum-time=1s")
        for port, name in enumerate(("blue", "red-2"), start=1):
            self.machine.run(f"ip netns add {name}")
            rule = f"-A INPUT -p tcp --dport {port}"
            for iptables in ("iptables-nft", "ip6tables-legacy"):
                self.machine.run(f"ip netns exec {name} {iptables} {rule}")
            self.machine.run(enable.replace("NAME", name))
        set_args(self.machine, 'ARGS="--family ipv4,ipv6 --backend legacy,nft --sum-by dport"')

        def ports() -> set[tuple[str | None, str | None]]:
            series = re.findall("^iptables_rule_packets_total{(.*)}", self.machine.page(), re.M)
            labels = [dict(re.findall(r'(\w+)="(.*?)"', text)) for text in series]
            return {(of_one.get("netns"), of_one.get("dport")) for of_one in labels}

        theirs = {("blue", "1"), ("red-2", "2")}
        eventually(lambda: {port for port in ports() if port[0]} == theirs, "rules of both")
        eventually(lambda: (None, "9") in ports(), "rules of the host")
        instance = "iptables_exporter@blue"
        units = f"{instance}.service {instance}.timer iptables_exporter-output@blue.service"
        self.assertEqual(self.machine.output(f"systemd-analyze verify --man=no {units}"), "")
        self.machine.run(f"systemd-analyze security --threshold=17 {instance}.service")
        self.assertIn("node_textfile_scrape_error 0\n", self.machine.page())

        self.machine.run("ip netns delete red-2")
        red = "iptables_exporter@red-2.service"
        failed = "systemctl --failed --plain --no-legend"
        eventually(lambda: red in self.machine.output(failed), "a namespace that has gone is noticed")
        self.machine.run("systemctl disable --now iptables_exporter@blue.timer iptables_exporter@red-2.timer")
        eventually(lambda: names(self.machine) == before, "they are gone without a trace")
        page = self.machine.page()
        self.assertNotIn("netns", page)
        self.assertIn("node_textfile_scrape_error 0\n", page)
        left = "systemctl list-units --all --plain --no-legend '*@blue*' '*@red*'"
        self.assertEqual(self.machine.output(left), "")
        complaints = "journalctl --quiet --output cat --unit prometheus-node-exporter"
        # There is no D-Bus for its collector of units, which is another's matter.
        ours = r"(?im)^(?!.*name=systemd).*level=error"
        self.assertNotRegex(self.machine.output(complaints), ours)
        self.machine.run("systemctl enable --now iptables_exporter@blue.timer")  # for its removal
        set_args(self.machine, 'ARGS=""')

    def test_08_upgrade(self) -> None:
        self.upgrade_to("9.0.1")
        defaults = self.machine.root / "etc/default/iptables_exporter"
        self.assertIn('\nARGS=""\n', defaults.read_text())
        self.machine.run(f"systemctl is-active --quiet {TIMER}")

        self.machine.run(f"systemctl disable --now {TIMER}")
        self.upgrade_to("9.0.2")
        self.assertEqual(self.machine.output(f"systemctl is-enabled {TIMER}", False), "disabled\n")
        self.assertEqual(self.machine.output(f"systemctl is-active {TIMER}", False), "inactive\n")
        self.machine.run(f"systemctl enable --now {TIMER}")

    def upgrade_to(self, version: str) -> None:
        since = f"systemctl show --value --property ActiveEnterTimestampMonotonic {TIMER}"
        before = self.machine.output(since)
        unpacked = directory / version
        subprocess.run(["dpkg-deb", "-R", deb, unpacked], check=True)
        control = unpacked / "DEBIAN/control"
        fields = re.sub("^Version: .*", f"Version: {version}", control.read_text(), flags=re.M)
        control.write_text(fields)
        package = self.machine.root / f"root/{version}.deb"
        subprocess.run(["dpkg-deb", "-b", unpacked, package], check=True, stdout=subprocess.DEVNULL)
        active = self.machine.run(f"systemctl is-active {TIMER}", check=False).returncode == 0
        install(self.machine, package.name)
        self.assertEqual(self.machine.output(since) != before, active, "the timer was restarted")

    def test_09_remove(self) -> None:
        set_args(self.machine, 'ARGS="--no-such-option"')
        eventually(self.is_failed, "the service is listed as failed")
        leftover = f"{OUTPUT_DIRECTORY}/.iptables_exporter.0123456789abcdef.tmp"
        self.machine.run(f"touch {leftover} {OUTPUT_DIRECTORY}/of-another")
        self.machine.run("apt-get remove --yes --quiet iptables-exporter")
        self.assertEqual(self.machine.output(f"ls -A {OUTPUT_DIRECTORY}"), "of-another\n")
        self.machine.run(f"rm -r {OUTPUT_DIRECTORY}")
        self.assertEqual(self.machine.output(f"systemctl is-active {TIMER}", False), "inactive\n")
        self.assertFalse(self.is_failed())
        page = self.machine.page()
        self.assertNotIn("iptables_", page)
        self.assertIn("node_textfile_scrape_error 0\n", page)
        self.assertIn("/etc/default/iptables_exporter", names(self.machine))

    def test_10_purge_leaves_nothing(self) -> None:
        self.machine.run("apt-get purge --yes --quiet iptables-exporter")
        self.machine.run(f"rm -r /etc/systemd/system/{TIMER}.d")  # the test's own
        left = names(self.machine) - self.names_before
        self.assertEqual({name.split(":")[0] for name in left}, {"_iptables_exporter"}, "the user stays")


def documented(pattern: str) -> str:
    """The command, or commands, of install.md that match, as root gives them."""
    return re.search(rf"^ +sudo ({pattern}.*)", INSTALL.read_text(), re.MULTILINE)[1].replace("sudo ", "")


def documented_cron_line() -> str:
    return re.search(r"^ +(\* \* \* \* \* root .*\n)", INSTALL.read_text(), re.MULTILINE)[1]


class Tarball(unittest.TestCase):
    def test_documented_steps(self) -> None:
        machine = new_machine("tarball", Path("/"), tarball)
        self.addCleanup(machine.stop)
        shutil.copy(tarball, machine.root / "root")
        machine.boot()
        add_rules(machine)
        machine.run("cd /root; " + documented("tar -C(?:.*\n){4}"))
        eventually(lambda: shows_all_rules(machine), "rules of all sources")
        self.assertIn("node_textfile_scrape_error 0\n", machine.page())
        options = "/usr/local/etc/default/iptables_exporter"
        machine.run(f"mkdir -p /usr/local/etc/default; echo 'ARGS=\"\"' >{options}")
        machine.run("cd /root; " + documented("tar -C"))
        collect(machine)
        self.assertTrue(has(machine, "scrape_success 1"), "the options survive another unpacking")


class DebianWithCron(unittest.TestCase):
    def test_documented_line(self) -> None:
        cron_machine.run("prometheus-node-exporter >/dev/null 2>&1 &")
        eventually(lambda: has(cron_machine, "scrape_success 1"), "cron has run it")
        self.assertIn('rule_packets_total{chain="OUTPUT",rule="-p udp', cron_machine.page())


class OtherDebian(unittest.TestCase):
    def test_install_and_first_run(self) -> None:
        self.assertEqual(debootstrap.wait(), 0, DEBOOTSTRAP_LOG.read_text())
        machine = new_machine("other", directory / OTHER, deb)
        self.addCleanup(machine.stop)
        machine.boot()
        add_rules(machine)
        install(machine)
        eventually(lambda: shows_all_rules(machine), "rules of all sources after installation")
        self.assertIn("node_textfile_scrape_error 0\n", machine.page())
        verify = f"systemd-analyze verify --man=no {SERVICE} {TIMER}"
        self.assertEqual(machine.output(verify), "")


def unpack_tarball(target: Path) -> None:
    target.mkdir(exist_ok=True)
    options = ["--strip-components=1", "--no-overwrite-dir"]
    subprocess.run(["tar", "-C", target, *options, "-xf", tarball], check=True)


def start_cron_machine() -> Machine:
    machine = new_machine("cron", Path("/"), tarball)
    root = machine.root
    if not (root / "usr/sbin/cron").exists():
        subprocess.run(["mount", "--bind", "/dev", root / "dev"], check=True)
        install_cron = "apt-get install --yes --quiet --no-install-recommends cron"
        subprocess.run(["chroot", root, *install_cron.split()], check=True, capture_output=True)
        subprocess.run(["umount", root / "dev"], check=True)
    unpack_tarball(root / "usr/local")
    (root / "etc/cron.d/iptables_exporter").write_text(documented_cron_line())
    machine.start("/usr/sbin/cron", "-f")
    add_rules(machine)
    return machine


def start_debootstrap() -> subprocess.Popen[bytes]:
    """The other Debian, from where this machine has its own from."""
    fields = "$(COMPONENT) $(LABEL) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]
    targets = subprocess.check_output(command, text=True)
    mirror = re.search(r"^main Debian (\S+)$", targets, re.MULTILINE)[1]
    include = "--include=systemd-sysv,iptables,prometheus-node-exporter"
    command = ["debootstrap", "--variant=minbase", include, OTHER, directory / OTHER, mirror]
    # So that none of its children outlives it.
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *command]
    with DEBOOTSTRAP_LOG.open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    isolate(
        "/lib/systemd/systemd", "prometheus-node-exporter", "iptables-legacy", "iptables-nft",
        "debootstrap", "lintian", "man",
    )
    deb, tarball = (Path(sys.argv.pop(1)).resolve() for _ in range(2))
    mount("tmpfs", directory)
    debootstrap = start_debootstrap()
    try:
        cron_machine = start_cron_machine()
        try:
            unittest.main(failfast=True, verbosity=2)
        finally:
            cron_machine.stop()
    finally:
        debootstrap.kill()
        debootstrap.wait()
