#!/usr/bin/env python3
"""The recipes of README, install.md, man page and default file do what they are for, on every kind of ruleset."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from oracle import read_metrics
from served_case import ServedCase
from support import (
    Network,
    eventually,
    main,
    netfilter,
    node_exporter,
    private_namespaces,
    prometheus,
    run,
)

ROOT = Path(__file__).resolve().parents[2]
PAGES = [(ROOT / page).read_text() for page in ("README.md", "contrib/install.md")]

KINDS = [(backend, family) for backend in ("nft", "legacy") for family in ("ipv4", "ipv6")]
PACKETS = "iptables_rule_packets_total"

# Rule n counts 2^n packets, so that a sum says whose it is.
RULES = """\
INPUT -p tcp --dport 22 -j ACCEPT
INPUT -p tcp ! --dport 22 -j DROP
INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
INPUT -p tcp --dport 443 -m comment --comment "--dport 22 -j DROP" -j LOG
INPUT -p udp -m comment --comment "-i eth1 --dport 443 -p tcp" -j ACCEPT
INPUT -i eth0 -s 192.0.2.1 -j DROP
INPUT ! -i lo ! -s 192.0.2.1 -j REJECT
INPUT -p tcp --dport 4430:4439 -m comment --comment "-j"
DOCKER -j RETURN
f2b-sshd -j REJECT
KUBE-SVC-A -j ACCEPT
KUBE-SERVICES -m comment --comment svc -j KUBE-SVC-A
""".splitlines()
ALL = [2**n for n in range(len(RULES))]

# What the series of rules count, from the smallest.
EXPECTED = {
    """--select '{comment!=""}' --sum-by table,chain,comment""": [8, 16, 128, 2048],
    """--select '{comment!=""}' --sum-by table,comment""": [8, 16, 128, 2048],
    """--select '{target=~"DROP|REJECT"}'""": [2, 32, 64, 512],
    """--select '{chain!~"KUBE-.*|cali-.*|DOCKER.*"}'""": [*ALL[:8], 512],
    """--select '{chain!~"KUBE-S(VC|EP)-.*"}' --sum-by table,chain,comment""":
        [8, 16, 1 + 2 + 4 + 32 + 64, 128, 256, 512, 2048],
    """--select '{chain=~"DOCKER.*|f2b-.*"}' --sum-by table,chain,target""": [256, 512],
    """--select '{dport!=""}' --sum-by table,chain,protocol,dport,target""": [1, 2, 4, 8, 128],
    """--select '{dport=~"(.*,)?443(,.*)?"}'""": [4, 8],
    """--select '{chain="INPUT"}' --sum-by table,chain,in_interface,source,target""":
        [2, 8, 1 + 4 + 16, 32, 64, 128],
    """--select '{table="filter",chain!~"KUBE-.*"}' --sum-by table,chain,protocol,dport,target""":
        [*ALL[:8], 256, 512],
}  # fmt: skip


def of_family(family: str, text: str) -> str:
    if family == "ipv4":
        return text
    for ipv4, ipv6 in (
        ("172.17.0.2:", "[fd00:17::2]:"),
        ("172.17.0.2/32", "fd00:17::2/128"),
        ("172.17.0.0/16", "fd00:17::/64"),
        ("172.18.0.0/16", "fd00:18::/64"),
        ("10.96.0.1/32", "fd00:96::1/128"),
        ("10.244.0.1:", "[fd00:244::1]:"),
        ("127.0.0.0/8", "::1/128"),
        ("127.0.0.1/32", "::1/128"),
        ("192.0.2.1", "2001:db8::1"),
        ("icmp-port", "icmp6-port"),
    ):
        text = text.replace(ipv4, ipv6)
    return text


def recipes_of_pages() -> list[str]:
    return re.findall(r"^    (--\S.*?)(?: +#.*)?$", "".join(PAGES), re.MULTILINE)


def man_page_recipes() -> list[str]:
    source = (ROOT / "contrib/man/iptables_exporter.8").read_text().replace(r"\(dq", '"')
    return re.findall(r"^# iptables_exporter (-.*)", source, re.MULTILINE)


def default_file_recipes() -> list[str]:
    """And the example in install.md; as systemd reads them, without the sources."""
    pages = "".join((ROOT / "contrib" / name).read_text() for name in ("systemd/iptables_exporter.default", "install.md"))
    values = re.findall(r'^ *#?ARGS="(?:--family ipv4,ipv6 --backend legacy,nft )?(.*)"$', pages, re.MULTILINE)
    return [value.replace('\\"', '"') for value in values if "{" in value]


class Recipes(ServedCase):
    def save(self, backend: str, family: str) -> Path:
        """The path of a dump of RULES that the real iptables took and printed. The counters are put in
        here: some versions of ip6tables-nft take none."""
        command = f"{'ip' if family == 'ipv4' else 'ip6'}tables-{backend}"
        with Network(backend) as network:
            for chain in sorted({rule.split()[0] for rule in RULES} - {"INPUT"}):
                network.run(command, "--wait", "-N", chain)
            for rule in RULES:
                network.run(command, "--wait", "-A", *shlex.split(of_family(family, rule)))
            dump = network.run(f"{command}-save", "-c").decode()
        packets = {rule.split()[0]: [] for rule in RULES}  # by chain
        for number, rule in zip(ALL, RULES):
            packets[rule.split()[0]].append(number)

        def with_counters(found: re.Match[str]) -> str:
            return f"[{packets[found[1]].pop(0)}:0] -A {found[1]}"

        path = self.directory / f"{backend}-{family}.save"
        path.write_text(re.sub(r"(?m)^\[0:0\] -A (\S+)", with_counters, dump))
        return path

    def test_each_has_its_series_wherever_they_go(self) -> None:
        """promtool, node_exporter and Prometheus take all of it."""
        recipes = [*recipes_of_pages(), *man_page_recipes(), *default_file_recipes()]
        self.assertGreaterEqual(len(recipes), len(EXPECTED))
        self.assertLessEqual(set(EXPECTED), set(recipes), "the expectation of a recipe that is gone")
        wanted = {}
        for backend, family in KINDS:
            dump = self.save(backend, family)
            for number, recipe in enumerate(recipes):
                name = f"{backend}-{family}-{number}"
                target = self.target.with_name(f"{name}.prom")
                with self.subTest(recipe, backend=backend, family=family):
                    options = shlex.split(recipe)
                    # So that all of them go into one directory.
                    self.assert_success(run("--netns", name, "-i", dump, "-o", target, *options))
                    if (backend, family) == KINDS[0]:  # it reads of names and types, not of labels' values
                        with target.open("rb") as metrics:
                            subprocess.run(["promtool", "check", "metrics"], stdin=metrics, check=True,
                                           capture_output=True)  # fmt: skip
                    families = read_metrics(target.read_bytes())
                    samples = families[PACKETS].samples if PACKETS in families else {}
                    counted = sorted(int(packets) for packets in samples.values())
                    self.assertEqual(counted, EXPECTED[recipe] if "--hash" not in recipe else ALL)
                    wanted.update({series: float(packets) for series, packets in samples.items()})
        self.start_node_exporter()
        self.start_prometheus("1s")
        served = read_metrics(self.scrape())
        self.assertEqual(served["node_textfile_scrape_error"].samples, {(): "0"})
        self.assertEqual({series: float(n) for series, n in served[PACKETS].samples.items()}, wanted)
        in_prometheus = {tuple(pair for pair in series if pair[1]): n for series, n in wanted.items()}
        eventually(lambda: self.query(PACKETS) == in_prometheus, "Prometheus has all of it")


# --- daemons that the hash is to leave alone ----------------------------------------------------

OWN = """\
-t nat -A POSTROUTING -o eth0 -j MASQUERADE
-t raw -A OUTPUT -o lo -j ACCEPT
-t filter -A INPUT -i lo -j ACCEPT
-t filter -A INPUT -p tcp --dport 22 -j ACCEPT
"""
# Each of these is somebody's change.
CHANGES = """\
-t filter -A INPUT -p tcp --dport 9 -j ACCEPT
-t filter -I INPUT -j DROP
-t filter -P FORWARD DROP
-t filter -N mine
-t nat -A POSTROUTING -s 192.0.2.1 -j MASQUERADE
-t nat -D POSTROUTING -o eth0 -j MASQUERADE
"""
# What happens to a host, step by step: the first starts the daemon and the last stops it.
DAEMONS = {
    "fail2ban": [
        """\
-t filter -N f2b-sshd
-t filter -A f2b-sshd -j RETURN
-t filter -I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
""",
        "-t filter -I f2b-sshd 1 -s 192.0.2.1 -j REJECT --reject-with icmp-port-unreachable\n",
        "-t filter -D f2b-sshd -s 192.0.2.1 -j REJECT --reject-with icmp-port-unreachable\n",
        """\
-t filter -D INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-t filter -F f2b-sshd
-t filter -X f2b-sshd
""",
    ],
    "Docker": [
        """\
-t nat -N DOCKER
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-t nat -A DOCKER -i docker0 -j RETURN
-t filter -N DOCKER
-t filter -N DOCKER-ISOLATION-STAGE-1
-t filter -N DOCKER-ISOLATION-STAGE-2
-t filter -A FORWARD -j DOCKER-ISOLATION-STAGE-1
-t filter -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-t filter -A FORWARD -o docker0 -j DOCKER
-t filter -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-t filter -A FORWARD -i docker0 -o docker0 -j ACCEPT
-t filter -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
""",
        # docker run -p 8080:80 -p 127.0.0.1:8081:80
        """\
-t nat -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-t filter -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-t raw -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
-t raw -A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8081 -j DROP
""",
        # docker network create
        """\
-t nat -I POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE
-t nat -I DOCKER -i br-0123456789ab -j RETURN
-t filter -I FORWARD -o br-0123456789ab -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-t filter -I FORWARD -o br-0123456789ab -j DOCKER
-t filter -I FORWARD -i br-0123456789ab ! -o br-0123456789ab -j ACCEPT
-t filter -I FORWARD -i br-0123456789ab -o br-0123456789ab -j ACCEPT
-t filter -N DOCKER-FORWARD
-t filter -I FORWARD -j DOCKER-FORWARD
""",
        """\
-t filter -D FORWARD -j DOCKER-FORWARD
-t filter -D FORWARD -j DOCKER-ISOLATION-STAGE-1
-t filter -D FORWARD -o docker0 -j DOCKER
-t filter -D FORWARD -i docker0 -o docker0 -j ACCEPT
-t filter -F DOCKER-ISOLATION-STAGE-1
-t filter -X DOCKER-FORWARD
-t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
""",
    ],
    "kube-proxy": [
        """\
-t filter -N KUBE-SERVICES
-t filter -N KUBE-FORWARD
-t filter -I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes portals" -j KUBE-SERVICES
-t filter -I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-t nat -N KUBE-SERVICES
-t nat -N KUBE-POSTROUTING
-t nat -N KUBE-MARK-MASQ
-t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-t nat -I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-t nat -I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully
""",
        # a full sync
        """\
-t nat -F KUBE-SERVICES
-t nat -N KUBE-SVC-ERIFXISQEP7F7OF4
-t nat -N KUBE-SEP-AAAAAAAAAAAAAAAA
-t nat -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4
-t nat -A KUBE-SVC-ERIFXISQEP7F7OF4 -j KUBE-SEP-AAAAAAAAAAAAAAAA
-t nat -A KUBE-SEP-AAAAAAAAAAAAAAAA -p tcp -m tcp -j DNAT --to-destination 10.244.0.1:53
""",
        """\
-t nat -F KUBE-SERVICES
-t nat -D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-t filter -D FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
""",
    ],
}  # fmt: skip


class QuietHash(ServedCase):
    def test_moves_with_changes_and_not_with_daemons(self) -> None:
        for daemon, steps in DAEMONS.items():
            end = "Docker's, but with DOCKER-USER" if daemon == "Docker" else f"{daemon}'s"
            recipe = next(text for text in PAGES[1].splitlines() if text.endswith(f"# without {end}"))
            for backend, family in KINDS:
                with self.subTest(daemon, backend=backend, family=family), Network(backend) as network:
                    self.network, self.family = network, family
                    self.options = shlex.split(recipe, comments=True)
                    self.check(steps, ["-t filter -A DOCKER-USER -j DROP"] if daemon == "Docker" else [])

    def check(self, steps: list[str], more_changes: list[str]) -> None:
        self.iptables(OWN)
        if more_changes:
            self.iptables("-t filter -N DOCKER-USER\n-t filter -A FORWARD -j DOCKER-USER")
        before = self.hashes()
        self.assertEqual(len(before), 3)
        for step in steps:
            self.iptables(step)
            self.assertEqual(self.hashes(), before, step)
        for change in [*CHANGES.splitlines(), *more_changes]:
            self.iptables(change)
            after = self.hashes()
            self.assertNotEqual(after, before, change)
            before = after

    def iptables(self, lines: str) -> None:
        command = f"{'ip' if self.family == 'ipv4' else 'ip6'}tables-{self.network.backend}"
        for line in of_family(self.family, lines).splitlines():
            self.network.run(command, "--wait", *shlex.split(line))

    def hashes(self) -> dict:
        source = ("--family", self.family, "--backend", self.network.backend)
        exported = self.network.export(*source, *self.options)
        self.assert_success(exported)
        return exported.metrics["iptables_ruleset_hash"].samples


if __name__ == "__main__":
    main(private_namespaces, netfilter, node_exporter, prometheus)
