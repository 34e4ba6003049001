#!/usr/bin/env python3
"""A daemon's rules are in no saved file: with the --hash for it, a reboot restores the firewall all the same."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from saved_case import SavedCase
from support import FIXTURES, Network, main, netfilter, private_namespaces

INSTALL = (Path(__file__).resolve().parents[2] / "contrib/install.md").read_text()

OWN = """\
*nat
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""
FAIL2BAN = """\
*filter
:f2b-sshd - [0:0]
-I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A f2b-sshd -s 192.0.2.1/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
"""
FAIL2BAN_BESIDE_DOCKER = """\
*filter
:f2b-nginx - [0:0]
-I DOCKER-USER -p tcp -m multiport --dports 80,443 -j f2b-nginx
-A f2b-nginx -j RETURN
COMMIT
"""
# As Docker 28 does it, with Swarm.
DOCKER_28 = """\
*raw
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -p tcp -m tcp --dport 80 -j DROP
-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8081 -j DROP
COMMIT
*nat
:DOCKER - [0:0]
:DOCKER-INGRESS - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -o docker_gwbridge -m addrtype --src-type LOCAL -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o docker_gwbridge -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:8080
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INGRESS - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-INGRESS
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j ACCEPT
-A DOCKER-INGRESS -j RETURN
COMMIT
"""


def fixture(name: str) -> str:
    """What a daemon sets up, without others' chains and the host's policies."""
    text = (FIXTURES / f"rules/{name}.rules").read_text()
    return re.sub(r"(?m)^(.*\bcali[-:].*|:[A-Z]+ ACCEPT .*)\n", "", text)


DOCKER_24 = fixture("docker")
KUBE = fixture("kube")
RECIPES = {
    "fail2ban's": [(FAIL2BAN,)],
    "kube-proxy's": [(KUBE,)],
    "kube-proxy's and fail2ban's": [(KUBE, FAIL2BAN)],
    "Docker's": [(DOCKER_24,), (DOCKER_28,)],
    "Docker's and fail2ban's": [(DOCKER_24, FAIL2BAN), (DOCKER_28, FAIL2BAN, FAIL2BAN_BESIDE_DOCKER)],
}


class Daemons(SavedCase):
    def test_each_recipe(self) -> None:
        recipes = dict(re.findall(r"^    (--hash .*?) +# without (.*)$", INSTALL, re.MULTILINE))
        recipes = {name: shlex.split(options) for options, name in recipes.items()}
        for name, hosts in RECIPES.items():
            for daemons in hosts:
                with self.subTest(name, daemons=daemons[0][:20]):
                    self.check(["--family", "ipv4", "--backend", self.backend, *recipes[name]], daemons)

    def check(self, options: list[str], daemons: tuple[str, ...]) -> None:
        with Network(self.backend) as self.network:
            self.rules.write_text(OWN)
            self.network.restore(OWN.encode())
            for daemon in daemons:
                self.network.run(f"iptables-{self.backend}-restore", "--noflush", stdin=daemon.encode())
            self.rehearse(*options)
            self.assertEqual(self.differing(*options), set(), "of the daemons, nothing is saved")
            self.assertNotEqual(self.network.export(*options[:4]).metrics["iptables_ruleset_hash"].samples, self.saved())

            self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT")
            self.assertEqual(self.differing(*options), {"filter"})
            self.rules.write_bytes(self.network.save())
            self.rehearse(*options)
            self.assertEqual(self.differing(*options), set(), "what the daemons had set up is saved, too")

            self.network.restore(OWN.encode())
            self.assertEqual(self.differing(*options), {"filter"})
            self.network.iptables("-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT")
            self.assertEqual(self.differing(*options), set(), "the daemons have ended")


class DaemonsOnLegacy(Daemons):
    backend = "legacy"


if __name__ == "__main__":
    main(private_namespaces, netfilter)
