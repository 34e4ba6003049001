"""Tables that filter and that no source shows: rulesets in the style of those who make them."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

from oracle import labels, read_metrics
from support import (
    SYSTEM_PATH,
    ExporterTestCase,
    Network,
    Run,
    main,
    netfilter,
    no_sanitizer,
    nobody_with,
    private_namespaces,
    syscall_injection,
    unshown,
    value,
)

ALL = ("--family", "ipv4,ipv6", "--backend", "legacy,nft", "--allow-empty")
SOURCES = [
    labels(backend=backend, family=family) for family in ("ipv4", "ipv6") for backend in ("legacy", "nft")
]
BACKENDS = ("legacy", "nft")
NFT_WARNING = "warning: nft tables that are not counted (nft list ruleset)"
LEGACY_WARNING = "warning: legacy tables that are not counted (iptables-legacy-save)"

FIREWALLD = """
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        iifname "lo" accept
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES {
        goto filter_IN_public
    }
    chain filter_IN_public {
        tcp dport 22 accept
    }
    chain nat_POSTROUTING {
        type nat hook postrouting priority srcnat + 10; policy accept;
    }
}
"""
DOCKER = """
table ip docker-bridges {
    map filter-forward-in-jumps {
        type ifname : verdict
        elements = { "docker0" : jump filter-forward-in__docker0 }
    }
    chain filter-FORWARD {
        type filter hook forward priority filter; policy accept;
        oifname vmap @filter-forward-in-jumps
    }
    chain filter-forward-in__docker0 {
        ct state established,related counter accept
        iifname "docker0" counter accept comment "ICC"
        counter drop comment "UNPUBLISHED PORT DROP"
    }
}
table ip6 docker-bridges {
    chain filter-FORWARD {
        type filter hook forward priority filter; policy accept;
        counter drop
    }
}
"""
KUBE_PROXY = """
table ip kube-proxy {
    comment "rules for kube-proxy"
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"
        elements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L }
    }
    chain nat-prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        jump services
    }
    chain services {
        ip daddr . meta l4proto . th dport vmap @service-ips
    }
    chain service-2QRHZV4L {
        ip saddr != 10.244.0.0/16 jump mark-for-masquerade
        meta l4proto tcp dnat to 172.18.0.2:6443
    }
    chain mark-for-masquerade {
        meta mark set meta mark or 0x4000
    }
}
"""
FAIL2BAN = """
table inet f2b-table {
    set addr-set-sshd {
        type ipv4_addr
        elements = { 192.0.2.7 }
    }
    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept;
        tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
    }
}
"""
NFTABLES_CONF = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
    }
}
"""
BEFORE_IPTABLES = """
table netdev ingress {
    chain lo {
        type filter hook ingress device lo priority 0; policy accept;
        ip saddr 192.0.2.8 drop
    }
}
table bridge isolation {
    chain forward {
        type filter hook forward priority 0; policy drop;
    }
}
table arp antispoof {
    chain input {
        type filter hook input priority 0; policy accept;
        arp operation reply drop
    }
}
"""
# What loads it, and what of it meets packets of which family.
RULESETS = (
    (FIREWALLD, ["inet firewalld"], ["inet firewalld"]),
    (DOCKER, ["ip docker-bridges"], ["ip6 docker-bridges"]),
    (KUBE_PROXY, ["ip kube-proxy"], []),
    (FAIL2BAN, ["inet f2b-table"], ["inet f2b-table"]),
    (NFTABLES_CONF, ["inet filter"], ["inet filter"]),
    (BEFORE_IPTABLES, *[["arp antispoof", "bridge isolation", "netdev ingress"]] * 2),
)
# What Debian's nftables.conf, libvirt and careful people leave about.
IDLE = """
table inet filter {
    chain input {
        type filter hook input priority filter;
    }
    chain forward {
        type filter hook forward priority filter;
    }
}
table bridge libvirt_network {
    chain POSTROUTING {
        type filter hook postrouting priority 0; policy accept;
    }
}
table ip geoip {
    set bad {
        type ipv4_addr
        elements = { 192.0.2.9 }
    }
}
table ip6 unreached {
    chain services {
        jump more
    }
    chain more {
        drop
    }
}
table inet off {
    flags dormant
    chain input {
        type filter hook input priority filter; policy drop;
        tcp dport 22 accept
    }
}
"""


class UnshownCase(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))

    def load(self, ruleset: str) -> None:
        self.network.run("nft", "-f", "-", stdin=ruleset.encode())

    def flush(self) -> None:
        self.network.run("nft", "flush", "ruleset")

    def export(self, *arguments: str | Path, **options: object) -> Run:
        run = self.network.export(*arguments, **options)
        self.assertEqual(run.status, 0, run)
        return run

    def assert_unshown(self, reason: str, ipv4: int, ipv6: int, *warnings: str) -> None:
        """Of four sources. Told on the page's reader's stderr, and in a file by the metric alone."""
        numbers = {"ipv4": str(ipv4), "ipv6": str(ipv6)}
        wanted = {source: numbers[dict(source)["family"]] for source in SOURCES}
        run = self.export(*ALL)
        self.assert_says(run, *warnings)
        self.assertEqual(unshown(run.metrics, reason), wanted)
        self.assert_success(self.export(*ALL, "-o", self.target))
        self.assertEqual(unshown(read_metrics(self.target.read_bytes()), reason), wanted)


class NftTables(UnshownCase):
    def test_of_those_who_make_them(self) -> None:
        for ruleset, ipv4, ipv6 in RULESETS:
            with self.subTest(ipv4):
                self.load(ruleset)
                names = ", ".join(sorted({*ipv4, *ipv6}))
                self.assert_unshown("nft", len(ipv4), len(ipv6), f"{NFT_WARNING}: {names}")
                self.flush()

    def test_all_at_once_beside_iptables(self) -> None:
        for command in ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"):
            self.network.run(command, "-A", "INPUT", "-p", "tcp", "-j", "ACCEPT")
        self.load("".join(ruleset for ruleset, _, _ in RULESETS))
        counted = [sum(len(names) for names in column) for column in zip(*((a, b) for _, a, b in RULESETS))]
        names = sorted({name for _, ipv4, ipv6 in RULESETS for name in (*ipv4, *ipv6)})
        self.assert_unshown("nft", *counted, f"{NFT_WARNING}: {', '.join(names)}")

    def test_idle(self) -> None:
        self.load(IDLE)
        for reason in ("nft", "legacy", "incompatible"):
            self.assert_unshown(reason, 0, 0)

    def test_that_fall_asleep(self) -> None:
        self.load(FIREWALLD)
        self.assert_unshown("nft", 1, 1, f"{NFT_WARNING}: inet firewalld")
        self.load("table inet firewalld { flags dormant; }")
        self.assert_unshown("nft", 0, 0)

    def test_base_chain_without_rules_that_drops(self) -> None:
        self.load("table inet t {\n chain c {\n type filter hook forward priority 0; policy accept;\n }\n}\n")
        self.assert_unshown("nft", 0, 0)
        self.network.run("nft", "chain", "inet", "t", "c", "{ policy drop; }")
        self.assert_unshown("nft", 1, 1, f"{NFT_WARNING}: inet t")

    def test_of_iptables_where_only_legacy_is_collected(self) -> None:
        self.network.run("iptables-nft", "-A", "INPUT")
        self.network.run("iptables-nft", "-t", "nat", "-A", "OUTPUT")
        self.network.run("ip6tables-nft", "-t", "mangle", "-P", "INPUT", "ACCEPT")  # made, and idle
        run = self.export("--backend", "legacy", "--allow-empty")
        self.assert_says(run, f"{NFT_WARNING}: ip filter, ip nat")
        self.assertEqual(unshown(run.metrics, "nft"), {labels(backend="legacy"): "2"})
        run = self.export("--family", "ipv6", "--backend", "legacy", "--allow-empty")
        self.assert_says(run)
        self.assert_unshown("nft", 0, 0)

    def test_of_iptables_that_nft_made(self) -> None:
        """nftables.conf may hold `table ip filter`; what iptables-save shows, or says that it cannot, is
        known."""
        self.load("table ip filter {\n chain INPUT {\n type filter hook input priority 0; policy drop;\n }\n}\n")
        self.assert_unshown("nft", 0, 0)
        self.load("table ip filter {\n chain INPUT {\n limit rate over 5/second drop\n }\n}\n")
        warning = "warning: tables that only nft can show whole (nft list ruleset): filter of iptables-nft-save"
        self.assert_unshown("nft", 0, 0, warning)
        run = self.export(*ALL)
        incompatible = unshown(run.metrics, "incompatible")
        self.assertEqual(
            {source: number for source, number in incompatible.items() if number != "0"},
            {labels(backend="nft", family="ipv4"): "1"},
        )

    def test_many_chains(self) -> None:
        """More than the kernel tells in one piece."""
        chains = "".join(f"chain c{n:04}-{'x' * 90} {{\n drop\n }}\n" for n in range(2000))
        self.load(f"table inet large {{\n{chains}}}\n{FIREWALLD}")
        self.assert_unshown("nft", 1, 1, f"{NFT_WARNING}: inet firewalld")
        chain = "chain last {\n type filter hook input priority 0; policy drop;\n }\n"
        self.load(f"table inet large {{\n {chain} }}\n")
        self.assert_unshown("nft", 2, 2, f"{NFT_WARNING}: inet firewalld, inet large")

    def test_where_there_is_nothing_else(self) -> None:
        """Of iptables there are no rules, and that is no failure."""
        self.load(FIREWALLD)
        run = self.network.export("-o", self.target, path=SYSTEM_PATH)
        self.assert_success(run)
        families = read_metrics(self.target.read_bytes())
        self.assertEqual(unshown(families, "nft"), {(): "1"})

    def test_what_may_not_be_known(self) -> None:
        """It is not 0 then."""
        self.load(FIREWALLD)
        as_group = ("setpriv", "--reuid=nobody", "--regid=root", "--clear-groups")
        run = self.export("--backend", "legacy", "--allow-empty", before=as_group)
        self.assert_success(run)
        self.assertEqual(unshown(run.metrics, "legacy"), {labels(backend="legacy"): "0"})
        self.assertEqual(unshown(run.metrics, "nft"), {})

    def test_where_the_kernel_does_not_answer(self) -> None:
        self.load(FIREWALLD)
        for call in ("socket", "connect", "setsockopt", "sendto", "recvfrom"):
            for error in ("EAGAIN", "ENOBUFS"):
                with self.subTest(call=call, error=error):
                    trace = ("strace", "-o/dev/null", f"-einject={call}:error={error}", "--")
                    run = self.export("--backend", "nft", "--allow-empty", before=trace)
                    self.assert_success(run)
                    self.assertEqual(unshown(run.metrics, "nft"), {})
        # That it knows no such message is an answer: it has no nf_tables.
        trace = ("strace", "-o/dev/null", "-einject=sendto:error=EINVAL", "--")
        run = self.export("--backend", "nft", "--allow-empty", before=trace)
        self.assertEqual(unshown(run.metrics, "nft"), {labels(backend="nft"): "0"})
        once = ("strace", "-o/dev/null", "-einject=recvfrom:error=EINTR:when=2", "--")
        run = self.export("--backend", "nft", "--allow-empty", before=once)
        self.assertEqual(unshown(run.metrics, "nft"), {labels(backend="nft"): "1"})


class LegacyTables(UnshownCase):
    TABLES = ("filter", "nat", "mangle", "raw", "security")

    def legacy(self, *arguments: str) -> None:
        for command in ("iptables-legacy", "ip6tables-legacy"):
            self.network.run(command, *arguments)

    def assert_legacy(self, *names: str) -> None:
        both = ("--family", "ipv4,ipv6", "--backend", "nft", "--allow-empty")
        run = self.export(*both)
        listed = ", ".join(f"{family} {name}" for family in ("ip", "ip6") for name in names)
        self.assert_says(run, *([f"{LEGACY_WARNING}: {listed}"] if names else []))
        self.assertEqual(
            unshown(run.metrics, "legacy"),
            {labels(backend="nft", family=family): str(len(names)) for family in ("ipv4", "ipv6")},
        )
        self.assert_success(self.export(*both, "-o", self.target))

    def test_merely_loaded(self) -> None:
        """Somebody has looked at them: that is neither a number nor a mail a minute."""
        self.network.run("iptables-nft", "-A", "INPUT")
        for table in self.TABLES:
            self.legacy("-t", table, "-L")
        self.assertIn(b"filter", self.network.run("cat", "/proc/net/ip_tables_names"))
        self.assertIn(b"legacy tables present", self.messages_of("iptables-nft-save"))
        self.assert_legacy()

    def messages_of(self, command: str) -> bytes:
        with self.network.entered():
            return subprocess.run([command], capture_output=True).stderr

    def test_with_something_in_them(self) -> None:
        for do, undo in (
            ("-A FORWARD -j ACCEPT", "-F FORWARD"),
            ("-P OUTPUT DROP", "-P OUTPUT ACCEPT"),
        ):
            for table in ("filter", "mangle"):
                with self.subTest(do, table=table):
                    self.legacy("-t", table, *do.split())
                    self.assert_legacy(table)
                    self.legacy("-t", table, *undo.split())
                    self.assert_legacy()

    def test_large(self) -> None:
        rules = "".join(f"-A INPUT -s 10.0.{n // 256}.{n % 256} -j DROP\n" for n in range(2000))
        self.network.run("iptables-legacy-restore", stdin=f"*filter\n{rules}COMMIT\n".encode())
        run = self.export("--backend", "nft", "--allow-empty")
        self.assert_says(run, f"{LEGACY_WARNING}: ip filter")

    def test_without_rights_it_is_not_known(self) -> None:
        self.legacy("-L")
        for before, wanted in (
            (nobody_with("net_admin"), {}),
            (nobody_with("net_admin", "dac_read_search"), {labels(backend="nft"): "0"}),
        ):
            run = self.export("--backend", "nft", "--allow-empty", before=before)
            self.assert_success(run)
            self.assertEqual(unshown(run.metrics, "legacy"), wanted)
        trace = ("strace", "-f", "-o/dev/null", "-einject=getsockopt:error=EPERM", "--")
        run = self.export("--backend", "nft", "--allow-empty", before=trace)
        self.assert_success(run)
        self.assertEqual(unshown(run.metrics, "legacy"), {})


class ChainsWithWhiteSpace(UnshownCase):
    """They come by raw netlink only, and can pretend what they like."""

    def make_chain(self, family: int, table: str, name: str) -> None:
        def attribute(kind: int, text: str) -> bytes:
            value = text.encode() + b"\0"
            return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)

        def message(kind: int, flags: int, family: int, subsystem: int, body: bytes = b"") -> bytes:
            payload = struct.pack("=BBH", family, 0, socket.htons(subsystem)) + body
            return struct.pack("=IHHII", len(payload) + 16, kind, flags, 1, 0) + payload

        nf_tables, new_chain = 10, 3
        request, create, acknowledge = 1, 0x400, 4
        chain = attribute(1, table) + attribute(3, name)
        batch = (
            message(16, request, 0, nf_tables)
            + message(nf_tables << 8 | new_chain, request | create | acknowledge, family, 0, chain)
            + message(17, request, 0, nf_tables)
        )
        with self.network.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
            netlink.send(batch)
            answer = netlink.recv(4096)
        self.assertEqual(struct.unpack_from("=i", answer, 16), (0,), "the chain is made")

    def test_fail_the_source(self) -> None:
        forged = "zz - [0:0]\n[7:8] -A INPUT -j DROP"
        for name in ("a b", forged, "z - [0:0]\nCOMMIT\n*nat", "tab\there"):
            with self.subTest(name):
                self.network.run("iptables-nft", "-A", "INPUT", "-j", "ACCEPT")
                self.network.run("ip6tables-nft", "-A", "INPUT", "-j", "ACCEPT")
                self.make_chain(2, "filter", name)
                run = self.network.export(*ALL)
                self.assertEqual(run.status, 1, run)
                self.assert_messages(run, "error: iptables-nft-save: ")
                self.assertEqual(run.err.count(b"error: "), 1, run)
                success = run.metrics["iptables_scrape_success"].samples
                failed = [source for source in SOURCES if success[source] == "0"]
                self.assertEqual(failed, [labels(backend="nft", family="ipv4")])
                # What the failed source would show is unshown now.
                self.assertEqual(
                    unshown(run.metrics, "nft"),
                    {s: "1" if dict(s)["family"] == "ipv4" else "0" for s in SOURCES if s not in failed},
                )
                self.flush()

    def test_to_the_letter(self) -> None:
        self.network.run("iptables-nft", "-A", "INPUT")
        self.make_chain(2, "filter", "a b")
        run = self.network.export("--backend", "nft")
        self.assertEqual(run.status, 1, run)
        self.assert_says(
            run,
            "error: iptables-nft-save: a chain of table filter has white space in its name, so rules may "
            "be hidden; no counters are written: rename the chain a b",
        )

    def test_elsewhere_are_nothing_to_iptables(self) -> None:
        self.network.run("iptables-nft", "-A", "INPUT")
        self.load(FAIL2BAN)
        self.make_chain(1, "f2b-table", "a b")
        run = self.export(*ALL)
        self.assert_says(run, f"{NFT_WARNING}: inet f2b-table")
        self.assertEqual(value(run.metrics, "iptables_scrape_success", SOURCES[1]), "1")


if __name__ == "__main__":
    main(private_namespaces, netfilter, syscall_injection, no_sanitizer)
