"""Names of chains that hide or move rules, made as any program with CAP_NET_ADMIN may make them."""

from __future__ import annotations

import ctypes
import subprocess

from oracle import labels
from support import SYSTEM_PATH, ExporterTestCase, Network, Run, executable, main, netfilter, run, value

LEGACY = ("--backend", "legacy")


def libiptc() -> str | None:
    try:
        ctypes.CDLL("libip4tc.so.2")
    except OSError:
        return "needs libip4tc.so.2"
    return None


def make_chain(network: Network, name: bytes) -> None:
    """An empty one in the legacy table filter, whatever its name; iptables would refuse it."""
    library = ctypes.CDLL("libip4tc.so.2", use_errno=True)
    library.iptc_init.restype = ctypes.c_void_p
    with network.entered():
        handle = ctypes.c_void_p(library.iptc_init(b"filter"))
        made = library.iptc_create_chain(name, handle) and library.iptc_commit(handle)
    if not made:
        raise OSError(ctypes.get_errno(), f"a chain {name!r}")


class ChainNames(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("legacy"))
        self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP")
        self.network.iptables("-A", "FORWARD", "-j", "DROP")
        self.network.iptables("-A", "INPUT", "-p", "tcp", "-m", "comment", "--comment", "http & https")
        self.network.iptables("-A", "OUTPUT", "-j", "DROP")

    def assert_fails(self, run: Run, message: str) -> None:
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, message)
        self.assertEqual(value(run.metrics, "iptables_scrape_success", labels(backend="legacy")), "0")
        self.assertNotIn("iptables_rules", run.metrics)

    def test_a_name_that_opens_quotes(self) -> None:
        make_chain(self.network, b'z - [0:0]\n[1:2] -A z -j f - "')
        self.assert_fails(self.network.export(*LEGACY), "this could be the end of a chain's name with a newline")

    def test_a_name_that_ends_the_table(self) -> None:
        """All rules of INPUT would be of a table that nobody looks at."""
        for chain in "FORWARD", "OUTPUT":
            self.network.iptables("-F", chain)
        make_chain(self.network, b"x - [0:0]\nCOMMIT\n*y\n:INPUT")
        run = self.network.export(*LEGACY, "--timeout", "0.5")
        self.assert_fails(run, "for 0.5 seconds (--timeout), other tables or other numbers of rules were read")

    def test_ordinary_names(self) -> None:
        for name in b"COMMIT", b"*y", b"#x", b'a"b', b"[1:2]":
            make_chain(self.network, name)
        run = self.network.export(*LEGACY)
        self.assert_success(run)
        rules = run.metrics["iptables_rules"].samples
        self.assertEqual((len(rules), sum(map(int, rules.values()))), (8, 4))


class NumbersOfRules(ExporterTestCase):
    """A command that shows something else than the kernel has."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.directory / "calls"
        self.calls.touch()
        subprocess.run(["iptables-legacy", "-F"], check=True)
        subprocess.run(["iptables-legacy", "-A", "INPUT"], check=True)

    def path_of(self, sed: str, name: str = "iptables-legacy-save") -> str:
        """The real command, but for the first call, whose output is edited."""
        real = "/usr/sbin/iptables-legacy-save -c"
        once = f"[ $(wc -c <{self.calls}) = 0 ] || exec {real}; printf x >{self.calls}; {real} | sed '{sed}'"
        executable(self.directory / "bin" / name, f"#!/bin/sh\n{once}\n")
        return f"{self.directory}/bin:{SYSTEM_PATH}"

    def test_what_is_read_again(self) -> None:
        for edit in "/-A INPUT/d", "/:INPUT/a :x - [0:0]", "s/^.filter/*y/":
            with self.subTest(edit):
                self.calls.write_text("")
                result = run(*LEGACY, path=self.path_of(edit))
                self.assert_success(result)
                self.assertEqual(self.calls.read_text(), "x")
                rules = result.metrics["iptables_rules"].samples
                self.assertEqual((len(rules), sum(map(int, rules.values()))), (3, 1))

    def test_where_nobody_knows_whose_rules_it_shows(self) -> None:
        path = self.path_of("/^#/d; /-A INPUT/d", "iptables-save")
        self.assert_success(result := run(path=path))
        self.assertEqual(sum(map(int, result.metrics["iptables_rules"].samples.values())), 0)


if __name__ == "__main__":
    main(netfilter, libiptc)
