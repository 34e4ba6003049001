"""What the program's file was given goes to nobody; what the caller was given reaches iptables-save."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence

import support
from support import (
    NOBODY,
    SYSTEM_PATH,
    ExporterTestCase,
    Network,
    executable,
    filter_system_calls,
    main,
    netfilter,
    no_sanitizer,
    nobody_with,
    path_to_backend,
    private_namespaces,
)

ALL_CAPABILITIES = "cap_net_admin,cap_net_raw,cap_dac_read_search,cap_dac_override"
GIFTS = (
    ("root:root", "0755", ALL_CAPABILITIES),
    ("root:root", "4755"),
    ("root:shadow", "2755"),
    ("root:root", "6755"),
)
HINT = (
    "run as root or with ambient capabilities (the systemd unit, setpriv --ambient-caps); capabilities "
    "set with setcap are not passed to iptables-save"
)


def tools() -> str | None:
    for tool in ("setcap", "ipset"):
        if not shutil.which(tool):
            return f"needs {tool}"
    return None


class OfTheFile(ExporterTestCase):
    """A way to become what one is not must not be had by way of this program."""

    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))
        self.addCleanup(self.give, "root:root", "0755")

    def give(self, owner: str, mode: str, capabilities: str = "") -> None:
        """To the program's file."""
        subprocess.run(["chown", owner, support.EXPORTER], check=True)
        subprocess.run(["chmod", mode, support.EXPORTER], check=True)
        if capabilities:
            subprocess.run(["setcap", f"{capabilities}+ep", support.EXPORTER], check=True)

    @contextlib.contextmanager
    def given(self, gift: Sequence[str]) -> Iterator[None]:
        with self.subTest(gift):
            self.give(*gift)
            yield

    def status_of_command(self, before: Sequence[str]) -> dict[str, str]:
        """What proc(5) says of an iptables-save that the caller has put into PATH, and of the program."""
        # No shell, which would give up what is not its user's by itself.
        script = (
            f"#!{shutil.which('python3', path=SYSTEM_PATH)} -I\n"
            "import os, re, sys\n"
            "lines = open('/proc/self/status').readlines()\n"
            "lines += ['Cap' + line for line in open(f'/proc/{os.getppid()}/status') if 'CapPrm' in line]\n"
            "sys.exit(''.join(line for line in lines if re.match('Cap|[UG]id|Groups', line)))\n"
        )
        executable(self.directory / "bin" / "iptables-save", script)
        run = self.network.export(before=before, path=f"{self.directory}/bin:{SYSTEM_PATH}")
        self.assertEqual(run.status, 1, run)
        return dict(re.findall(r"[ ;](\w+):(?:\\t)([^;\n]*)", run.err.decode()))

    def test_would_work(self) -> None:
        """So that the other tests do not agree with a file system without such files."""
        shutil.copy2(shutil.which("cat"), self.directory / "cat")
        for owner, mode in (("root:root", "4755"), ("root:shadow", "2755")):
            subprocess.run(["chown", owner, self.directory / "cat"], check=True)
            subprocess.run(["chmod", mode, self.directory / "cat"], check=True)
            cat = subprocess.run([*NOBODY, self.directory / "cat", "/etc/shadow"], capture_output=True)
            self.assertEqual(cat.returncode, 0, cat)

    def test_input_of_others(self) -> None:
        for gift in GIFTS:
            with self.given(gift):
                run = self.network.export("-i", "/etc/shadow", before=NOBODY)
                self.assertEqual(run.status, 1, run)
                self.assert_says(run, "error: cannot open /etc/shadow: Permission denied; no counters are written")

    def test_output_to_others(self) -> None:
        (self.directory / "dump.save").write_bytes(b"*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
        os.chown(self.target.parent, 0, os.stat("/etc/shadow").st_gid)
        self.target.parent.chmod(0o775)
        for gift in GIFTS:
            with self.given(gift):
                run = self.network.export("-i", self.directory / "dump.save", "-o", self.target, before=NOBODY)
                self.assert_output_failed(run, "Permission denied")
                self.assert_only_target([])

    def test_command_of_the_caller(self) -> None:
        for gift in GIFTS:
            with self.given(gift):
                status = self.status_of_command(NOBODY)
                for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapCapPrm"):
                    self.assertEqual(int(status[name], 16), 0, name)
                self.assertEqual(status["Uid"].split("\\t"), ["65534"] * 4)
                self.assertEqual(status["Gid"].split("\\t"), ["65534"] * 4)
                self.assertEqual(status["Groups"].strip(), "")

    def test_run_fails_as_without_and_says_what_helps(self) -> None:
        self.network.iptables("-A", "INPUT")
        without = self.network.export("--backend", "nft", before=NOBODY)
        self.assertEqual(without.status, 1, without)
        self.assert_messages(without, f"; the command lacks CAP_NET_ADMIN: {HINT}\n")
        for gift in GIFTS:
            with self.given(gift):
                run = self.network.export("--backend", "nft", before=NOBODY)
                self.assertEqual((run.status, run.err), (without.status, without.err))

    def test_real_user_root(self) -> None:
        """Who is root stays root, whoever owns the file."""
        self.network.iptables("-A", "INPUT")
        self.give("nobody:nogroup", "6755")
        run = self.network.export("--backend", "nft")
        self.assert_success(run)

    def test_inheritable_stays(self) -> None:
        """It gives nothing by itself, and the command's file may build on it."""
        self.give("root:root", "0755", "cap_net_raw")
        before = (*NOBODY, "--inh-caps=-all,+net_admin")
        status = self.status_of_command(before)
        self.assertEqual(int(status["CapInh"], 16), 1 << 12)
        self.assertEqual(int(status["CapPrm"], 16), 0)


class OfTheCommand(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))

    def assert_fails(self, message: str, *arguments: str, **options: object) -> None:
        run = self.network.export(*arguments, **options)
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, message)
        self.assertEqual(run.err.count(b"\n"), 1, run)

    def make_rules_with_ipset(self, *backends: str) -> None:
        self.network.run("ipset", "create", "banned", "hash:ip")
        for backend in backends:
            self.network.run(
                f"iptables-{backend}", "-A", "INPUT", *"-m set --match-set banned src -j DROP".split()
            )

    def test_ipset_on_nft(self) -> None:
        self.make_rules_with_ipset("nft")
        nft = ("--backend", "nft")
        with_both = nobody_with("net_admin", "net_raw")
        self.assert_success(self.network.export(*nft))
        self.assert_success(self.network.export(*nft, before=with_both))
        lacks = f"Can't open socket to ipset.; no counters are written; the command lacks CAP_NET_RAW: {HINT}\n"
        self.assert_fails(lacks, *nft, before=nobody_with("net_admin"))
        needs = "Can't open socket to ipset.; no counters are written; for ipsets the command needs AF_INET (RestrictAddressFamilies=)\n"
        self.assert_fails(needs, *nft, before=with_both, preexec_fn=deny_af_inet)

    def test_ipset_on_legacy(self) -> None:
        self.make_rules_with_ipset("legacy")
        before = nobody_with("net_admin", "net_raw", "dac_read_search")
        self.assert_success(self.network.export("--backend", "legacy", before=before))

    def test_no_hint_where_something_else_failed(self) -> None:
        script = "#!/bin/sh\necho unknown match >&2\nexit 1\n"
        executable(self.directory / "bin" / "iptables-save", script)
        run = self.network.export(before=NOBODY, path=f"{self.directory}/bin:{SYSTEM_PATH}")
        self.assert_says(run, "error: iptables-save exited with status 1: unknown match; no counters are written")

    def test_root_without_capabilities(self) -> None:
        """What root hands on is the bounding set."""
        self.network.iptables("-A", "INPUT")
        bounded = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
        self.assert_fails(f"; the command lacks CAP_NET_ADMIN: {HINT}\n", "--backend", "nft", before=bounded)

    def test_plain_command_lacks_what_its_backend_needs(self) -> None:
        self.network.run("iptables-legacy", "-A", "INPUT")
        self.network.iptables("-A", "INPUT")
        for backend, lacks in (
            ("nft", "CAP_NET_ADMIN"),
            ("legacy", "CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH"),
        ):
            path = path_to_backend(self.directory / backend, backend)
            self.assert_fails(f"; the command lacks {lacks}: {HINT}\n", before=NOBODY, path=path)


def deny_af_inet() -> None:
    """As systemd's RestrictAddressFamilies=AF_NETLINK does."""
    load, jump_if_equal, ret = 0x20, 0x15, 0x06
    number, domain = 0, 16  # in struct seccomp_data
    call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]  # socket(2)
    filter_system_calls(
        [
            (load, 0, 0, number),
            (jump_if_equal, 0, 3, call),
            (load, 0, 0, domain),
            (jump_if_equal, 1, 0, socket.AF_NETLINK),
            (ret, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),
            (ret, 0, 0, 0x7FFF0000),
        ]
    )


if __name__ == "__main__":
    main(private_namespaces, netfilter, tools, no_sanitizer)
