"""The Prometheus of three Debians side by side, on one fleet: silent for half an hour while all is well, then six
losses page, of the right host, and are resolved.

A minute is a second here.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

from fleet import ROOT, a_fleet, eventually, ipset, prometheus, support
from fleet_test import LOST, OPENED, daemons

SUITES = ("trixie", "sid")  # beside this machine's own
ROOTS = Path("/mnt")  # a tmpfs in our own mount namespace: nothing to clean up


def make_roots() -> None:
    """In a mount namespace of our own, while there is a network."""
    clone_newns = 0x00020000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newns) != 0:
        sys.exit("unshare: no mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", ROOTS], check=True)
    for suite in SUITES:
        command = [ROOT / "contrib/debian-root", suite, ROOTS / suite, "prometheus"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def server(suite: str) -> list[str]:
    """That suite's Prometheus, with its libraries."""
    root = ROOTS / suite
    (loader,) = root.glob("lib64/ld-linux-*")
    libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
    return [str(loader), "--library-path", libraries, str(root / "usr/bin/prometheus")]


def debian() -> str | None:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            return f"needs {tool}"
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        return "needs debian-archive-keyring"
    return None


class Versions(unittest.TestCase):
    def test_losses_page(self) -> None:
        servers = [["prometheus"], *(server(suite) for suite in SUITES)]
        with a_fleet(servers).running() as self.fleet:
            began = time.time()
            self.fleet.configure()
            web_1, web_2, web_3, db_1, docker_1 = self.fleet.hosts.values()
            docker_1.every_second = daemons(docker_1)
            for address in self.fleet.servers:
                version = self.fleet.get("status/buildinfo", address=address)["version"]
                print(address, version, file=sys.stderr)
            time.sleep(35)
            self.assert_paged(began, set())

            web_1.iptables("--flush INPUT")
            web_2.network.run("nft", "delete", "table", "ip", "filter")
            web_3.iptables("--flush", "ip6tables-nft")
            db_1.iptables("--policy INPUT ACCEPT")
            db_1.iptables("--flush", "ip6tables-nft")
            for rule in range(7, 1, -1):  # what a truncated file leaves
                docker_1.iptables(f"--wait --delete INPUT {rule}")
            self.assert_paged(began, {
                (LOST, "web-1"), (OPENED, "web-1"), (LOST, "web-2"), (OPENED, "web-2"), (LOST, "web-3"),
                (OPENED, "db-1"), (LOST, "db-1"), (LOST, "docker-1"),
            })  # fmt: skip

            docker_1.every_second = lambda second: None
            for host in self.fleet.hosts.values():
                host.load_rules()
            for address in self.fleet.servers:
                eventually(lambda: not self.fleet.firing(address), lambda: self.fleet.firing(address))

    def assert_paged(self, since: float, expected: set[tuple[str, str]]) -> None:
        """By each Prometheus, and no other page since."""
        for address in self.fleet.servers:
            def paged(address: str = address) -> set[tuple[str, str]]:
                return {one for one in self.fleet.fired_since(since, address) if one[0] in (LOST, OPENED)}

            eventually(lambda: expected <= paged(), lambda: (address, expected - paged()))
            self.assertEqual(paged(), expected, address)
            if not expected:
                self.assertEqual(self.fleet.fired_since(since, address), set(), address)


if __name__ == "__main__":
    if "E2E_ISOLATED" not in os.environ and not (support.private_namespaces() or support.netfilter() or debian()):
        make_roots()
    support.main(support.netfilter, support.node_exporter, prometheus, ipset, debian)
