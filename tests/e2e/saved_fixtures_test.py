#!/usr/bin/env python3
"""No file that iptables-save wrote differs from itself: loaded, saved and loaded again, it has its hash."""

from __future__ import annotations

import re

from support import FIXTURES, ExporterTestCase, Network, main, netfilter, private_namespaces


class Fixtures(ExporterTestCase):
    def test_each_on_each_backend(self) -> None:
        loaded = set()
        for path in sorted(FIXTURES.glob("*.save")):
            command = "ip6tables" if b"ip6tables" in path.read_bytes() else "iptables"
            for backend in ("nft", "legacy"):
                with self.subTest(path.name, backend=backend):
                    loaded |= self.check(f"{command}-{backend}", path.read_bytes(), path.stem)
        # Others are of modules that this machine has not, or hold what iptables-restore does not take back:
        # a newline in a comment.
        self.assertLessEqual({"docker", "ipv6", "kube", "router", "server", "ufw"}, loaded)

    def check(self, command: str, dump: bytes, name: str) -> set[str]:
        backend = command.partition("-")[2]
        with Network(backend) as running, Network(backend) as after_reboot:
            for network in (running, after_reboot):
                for name_of_set in set(re.findall(rb"--match-set (\S+)", dump)):
                    network.run("ipset", "create", name_of_set, "hash:net")
            try:
                running.run(f"{command}-restore", stdin=dump)
            except AssertionError:
                return set()
            saved = running.run(f"{command}-save")
            after_reboot.run(f"{command}-restore", stdin=saved)
            self.assertEqual(*(self.hashes(network, command) for network in (running, after_reboot)))
        return {name}

    def hashes(self, network: Network, command: str) -> dict:
        family = "ipv6" if command.startswith("ip6") else "ipv4"
        exported = network.export("--family", family, "--backend", network.backend)
        self.assertEqual(exported.status, 0, exported)
        return exported.metrics["iptables_ruleset_hash"].samples


if __name__ == "__main__":
    main(private_namespaces, netfilter)
