"""Which legacy tables filter: those in which packets meet a rule, or a policy other than ACCEPT."""

from __future__ import annotations

from oracle import labels
from support import ExporterTestCase, Network, main, netfilter, no_sanitizer, unshown

CHAINS = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}


class LegacyTablesThatFilter(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("legacy"))

    def assert_filtering(self, *names: str) -> None:
        run = self.network.export("--family", "ipv4,ipv6", "--backend", "nft", "--allow-empty")
        self.assertEqual(run.status, 0, run)
        self.assertEqual(
            unshown(run.metrics, "legacy"),
            {labels(backend="nft", family=family): str(len(names)) for family in ("ipv4", "ipv6")},
        )
        listed = ", ".join(f"{family} {name}" for family in ("ip", "ip6") for name in names)
        self.assertEqual(listed in run.err.decode(), True, run)

    def restore(self, table: str, text: str) -> None:
        for command in ("iptables-legacy-restore", "ip6tables-legacy-restore"):
            self.network.run(command, "--table", table, stdin=f"*{table}\n{text}\nCOMMIT\n".encode())

    def test_every_chain(self) -> None:
        for table, chains in CHAINS.items():
            accept = "".join(f":{chain} ACCEPT\n" for chain in chains)
            for chain in chains:
                for line in (f":{chain} DROP", f"-A {chain}", f"-A {chain} -p tcp -j RETURN"):
                    with self.subTest(line, table=table):
                        self.restore(table, accept)
                        self.assert_filtering()
                        self.restore(table, line)
                        self.assert_filtering(table)
            self.restore(table, accept)

    def test_chains_that_packets_do_not_get_to(self) -> None:
        """Docker, fail2ban and kube-proxy leave some behind; they are no firewall."""
        rules = "".join(f"-A left -s 10.0.{n // 256}.{n % 256} -j DROP\n" for n in range(3000))
        for text in (":own -", ":own -\n-A own -j DROP", ":a -\n:b -\n-A a -j b\n-A b -j DROP"):
            with self.subTest(text):
                self.restore("filter", f"{text}\n:INPUT ACCEPT")
                self.assert_filtering()
                self.restore("filter", f"{text}\n:INPUT DROP")
                self.assert_filtering("filter")
                self.restore("filter", f"{text}\n:INPUT ACCEPT\n-A FORWARD -j {text[1:text.index(' ')]}")
                self.assert_filtering("filter")
        self.network.run("iptables-legacy-restore", stdin=f"*filter\n:left -\n{rules}COMMIT\n".encode())
        run = self.network.export("--backend", "nft", "--allow-empty")
        self.assertEqual(unshown(run.metrics, "legacy"), {labels(backend="nft"): "0"})

    def test_rules_that_the_dump_shows_are_not_read_again(self) -> None:
        self.restore("filter", ":own -\n-A own -j DROP\n:INPUT ACCEPT")
        trace = self.directory / "trace"
        for backends, family, reads in (("legacy", "ipv4,ipv6", 0), ("legacy,nft", "ipv4,ipv6", 0), ("nft", "ipv4,ipv6", 2), ("nft", "ipv4", 1)):
            with self.subTest(backends, family=family):
                before = ("strace", "-ff", f"-o{trace}", "-etrace=execve,getsockopt", "--")
                arguments = ("--family", family, "--backend", backends, "--allow-empty")
                self.assertEqual(self.network.export(*arguments, before=before).status, 0)
                calls = ""
                for process in self.directory.glob("trace.*"):
                    text = process.read_text()
                    process.unlink()
                    calls += "" if '-save"' in text else text  # not of its commands
                self.assertEqual(calls.count("SO_GET_ENTRIES"), reads, "all rules of a table, by the program")


if __name__ == "__main__":
    main(netfilter, no_sanitizer)
