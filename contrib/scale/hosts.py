"""Hosts whose cost is measured: dumps as of `iptables-save -c`, with counters at random."""

from __future__ import annotations

import base64
import hashlib
import random
import re

_BUILT_IN = {
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


def plain(rules: int) -> str:
    """Chains of a hundred rules; one rule in twenty has a comment, one in three drops."""
    lines = []
    for rule in range(rules):
        comment = f"-m comment --comment billing-{rule} " if rule % 20 == 0 else ""
        lines.append(
            f"-A svc-{rule // 100:04} -s 10.{rule >> 8 & 255}.{rule & 255}.0/24 -p tcp -m tcp"
            f" --dport {1024 + rule % 5000} {comment}-j {'DROP' if rule % 3 == 0 else 'ACCEPT'}\n"
        )
    return _dump(filter="".join(lines))


OWN_RULES = """\
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -m comment --comment "ssh, office" -j ACCEPT
-A INPUT -s 192.0.2.7/32 -p tcp -m tcp --dport 9100 -m comment --comment Prometheus -j ACCEPT
-A INPUT -i eth0 -m comment --comment "everything else" -j DROP
"""


def kubernetes(services: int, endpoints: int) -> str:
    """A node: what kube-proxy 1.29 sets up for services of one port each."""

    def chain(kind: str, *what: str) -> str:
        digest = hashlib.sha256("".join(what).encode()).digest()
        return f"KUBE-{kind}-{base64.b32encode(digest).decode()[:16]}"

    nat = """\
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" \
-j MASQUERADE --random-fully
"""
    for s in range(services):
        name = f"team-{s % 20}/service-{s}:http"
        service = chain("SVC", name, "tcp")
        to_service = (
            f"-d 10.96.{s // 250}.{s % 250 + 1}/32 -p tcp "
            f'-m comment --comment "{name} cluster IP" -m tcp --dport 80'
        )
        nat += f"-A KUBE-SERVICES {to_service} -j {service}\n"
        nat += f"-A {service} ! -s 10.244.0.0/16 {to_service} -j KUBE-MARK-MASQ\n"
        for e in range(endpoints):
            number = s * endpoints + e
            ip = f"10.244.{number // 250}.{number % 250 + 1}"
            endpoint = chain("SEP", name, "tcp", f"{ip}:8080")
            chance = ""
            if left := endpoints - 1 - e:
                chance = f"-m statistic --mode random --probability {1 / (left + 1):.11f} "
            comment = f'-m comment --comment "{name}"'
            nat += f"""\
-A {service} -m comment --comment "{name} -> {ip}:8080" {chance}-j {endpoint}
-A {endpoint} -s {ip}/32 {comment} -j KUBE-MARK-MASQ
-A {endpoint} -p tcp {comment} -m tcp -j DNAT --to-destination {ip}:8080
"""
    nat += """\
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last \
rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
"""

    new = "-m conntrack --ctstate NEW -m comment --comment"
    filter_ = f"""\
-A INPUT {new} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT {new} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
{OWN_RULES}\
-A FORWARD {new} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD {new} "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD {new} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT {new} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT {new} "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet \
connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 \
-j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack \
--ctstate RELATED,ESTABLISHED -j ACCEPT
"""
    return _dump(nat=nat, filter=filter_)


def docker(projects: int, containers: int) -> str:
    """What Docker 24 sets up for compose projects whose containers publish a port each."""
    bridges = ["br-" + hashlib.sha256(b"%d" % p).hexdigest()[:12] for p in range(projects)]

    def each_project(rules: str) -> str:
        return "".join(
            rules.format(bridge=bridge, net=f"172.{18 + p}.0") for p, bridge in enumerate(bridges)
        )

    def each_container(rule: str) -> str:
        return "".join(
            rule.format(bridge=bridge, ip=f"172.{18 + p}.0.{c + 2}", port=8000 + 100 * p + c)
            for p, bridge in enumerate(bridges)
            for c in range(containers)
        )

    nat = (
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
        "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n"
        + each_project("-A POSTROUTING -s {net}.0/16 ! -o {bridge} -j MASQUERADE\n")
        + each_container("-A POSTROUTING -s {ip} -d {ip} -p tcp -m tcp --dport 80 -j MASQUERADE\n")
        + each_project("-A DOCKER -i {bridge} -j RETURN\n")
        + each_container("""\
-A DOCKER ! -i {bridge} -p tcp -m tcp --dport {port} -j DNAT --to-destination {ip}:80
""")
    )
    filter_ = (
        OWN_RULES
        + "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n"
        + each_project("""\
-A FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o {bridge} -j DOCKER
-A FORWARD -i {bridge} ! -o {bridge} -j ACCEPT
-A FORWARD -i {bridge} -o {bridge} -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o {bridge} -j DROP
""")
        + each_container("""\
-A DOCKER -d {ip} ! -i {bridge} -o {bridge} -p tcp -m tcp --dport 80 -j ACCEPT
""")
        + "-A DOCKER-ISOLATION-STAGE-1 -j RETURN\n-A DOCKER-ISOLATION-STAGE-2 -j RETURN\n"
        "-A DOCKER-USER -j RETURN\n"
    )
    return _dump(nat=nat, filter=filter_)


def _dump(**tables: str) -> str:
    """Rules stand by chain there, in the order of the chains."""
    counters = random.Random(1)
    text = "# Generated by iptables-save v1.8.9 (nf_tables) on Thu Nov 26 12:00:00 2026\n"
    for table, rules in tables.items():
        chains = dict.fromkeys(_BUILT_IN[table])
        chains |= dict.fromkeys(sorted(set(re.findall(r"(?:-A|-j) ((?:KUBE|DOCKER|svc)\S*)", rules))))
        by_chain: dict[str, list[str]] = {chain: [] for chain in chains}
        for rule in rules.splitlines():
            packets = counters.randrange(10 ** counters.randrange(10))
            counted = f"[{packets}:{packets * counters.randrange(40, 1500)}] {rule}"
            by_chain[rule.split(" ", 2)[1]].append(counted)
        text += f"*{table}\n"
        for chain in chains:
            text += f":{chain} {'ACCEPT' if chain in _BUILT_IN[table] else '-'} [0:0]\n"
        text += "".join(f"{rule}\n" for rules in by_chain.values() for rule in rules) + "COMMIT\n"
    return text + "# Completed on Thu Nov 26 12:00:00 2026\n"
