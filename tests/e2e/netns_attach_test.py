#!/usr/bin/env python3
"""The network namespaces of containers, which have no name: install.md's commands give them one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from served_case import ServedCase
from support import eventually, executable, main, mounted, netfilter, private_namespaces, run, value

INSTALL = (Path(__file__).resolve().parents[2] / "contrib/install.md").read_text()
SECTION = re.search(r"^## Network namespaces\n(.*?)^## ", INSTALL, re.MULTILINE | re.DOTALL)[1]


class Containers(ServedCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mounted(Path("/run"), "-t", "tmpfs", "none"))
        container = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.addCleanup(container.wait)
        self.addCleanup(container.kill)
        self.pid = str(container.pid)
        own = Path("/proc/self/ns/net").readlink()
        eventually(lambda: Path(f"/proc/{self.pid}/ns/net").readlink() != own, "a namespace of its own")
        rule = ["iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "22"]
        subprocess.run(["nsenter", f"--net=/proc/{self.pid}/ns/net", *rule], check=True)
        # What `docker inspect` says.
        docker = executable(self.directory / "bin/docker", f'#!/bin/sh\n[ "$1 $4" = "inspect web" ] && echo {self.pid}\n')
        self.path = f"{docker.parent}:{self.path}"

    def follow(self, pattern: str) -> None:
        command = re.search(pattern, SECTION)[1].replace("sudo ", "")
        for word, meant in (("NAME", "web"), ("CONTAINER", "web"), ("PID", self.pid)):
            command = command.replace(word, meant)
        subprocess.run(["sh", "-ec", command], env={"PATH": self.path}, check=True)

    def assert_counted(self) -> None:
        exported = run("--netns", "web", path=self.path)
        self.assert_success(exported)
        of_chain = (("chain", "INPUT"), ("netns", "web"), ("table", "filter"))
        self.assertEqual(value(exported.metrics, "iptables_rules", of_chain), "1")

    def test_attached(self) -> None:
        self.follow(r"(sudo ip netns attach .*)")
        self.assert_counted()
        self.follow(r"`(sudo ip netns delete .*?)`")
        self.assertEqual(run("--netns", "web", path=self.path).status, 1)

    def test_linked(self) -> None:
        self.follow(r"`(sudo mkdir -p /run/netns; .*?)`")
        self.assert_counted()


if __name__ == "__main__":
    main(private_namespaces, netfilter)
