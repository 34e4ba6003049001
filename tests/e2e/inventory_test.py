"""Versions and hashes of four sources: every change is told, traffic is none."""

from __future__ import annotations

from oracle import without_comments
from sources_case import ALL, LOOPBACK, SOURCES, SourcesCase, ipv6_netfilter
from support import main, netfilter, private_namespaces


class Inventory(SourcesCase):
    def test_info(self) -> None:
        self.restore(*SOURCES)
        wanted = {}
        for source in SOURCES:
            words = self.network.run(source.iptables, "--version").decode().split()
            self.assertRegex(words[1], r"\Av[0-9.]+\Z")
            variant = {"legacy": "legacy", "nft": "nf_tables"}[source.backend]
            self.assertEqual(words[2], f"({variant})")
            wanted[source.series(variant=variant, version=words[1][1:])] = "1"
        self.assertEqual(self.network.export(*ALL).metrics["iptables_info"].samples, wanted)

    def hashes(self) -> dict[str, str]:
        """The hash of each table, which is the same in each source."""
        run = self.network.export(*ALL)
        self.assert_success(run)
        found = run.metrics["iptables_ruleset_hash"].samples
        tables = {dict(series)["table"]: number for series, number in found.items()}
        self.assertEqual(
            found,
            {source.series(table=table): tables[table] for source in SOURCES for table in tables},
            "the sources' hashes of equal tables differ",
        )
        for number in tables.values():
            self.assertRegex(number, r"\A[0-9]+\Z")
            self.assertLess(int(number), 2**48)
        return tables

    def test_hash_tells_every_change(self) -> None:
        self.restore(*SOURCES)
        first = self.hashes()
        self.assertEqual(set(first), {"filter", "mangle"})
        seen = set(first.values())
        # What changes, how, and how to take it back.
        for what, change, undo in (
            ("rule added", ["-A FORWARD -p udp -j ACCEPT"], ["-D FORWARD 1"]),
            ("rule added in front", ["-I INPUT -p udp -j ACCEPT"], ["-D INPUT 1"]),
            ("rule without text added", ["-A FORWARD"], ["-D FORWARD 1"]),
            ("rule doubled", ["-A INPUT -j own"], ["-D INPUT 4"]),
            ("rule deleted", ["-D INPUT 2"], ["-I INPUT 2 -p tcp -m tcp --dport 22 -j ACCEPT"]),
            (
                "rule moved",
                ["-D INPUT 2", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"],
                ["-D INPUT 3", "-I INPUT 2 -p tcp -m tcp --dport 22 -j ACCEPT"],
            ),
            (
                "rule moved to another chain",
                ["-D own 1", "-A spare ! -i lo -j DROP"],
                ["-D spare 1", "-A own ! -i lo -j DROP"],
            ),
            (
                "rule replaced",
                ["-R INPUT 2 -p tcp -m tcp --dport 23 -j ACCEPT"],
                ["-R INPUT 2 -p tcp -m tcp --dport 22 -j ACCEPT"],
            ),
            ("policy changed", ["-P FORWARD DROP"], ["-P FORWARD ACCEPT"]),
            ("another policy changed", ["-P OUTPUT DROP"], ["-P OUTPUT ACCEPT"]),
            ("chain added", ["-N another"], ["-X another"]),
            ("chain deleted", ["-X spare"], ["-N spare"]),
            ("chain renamed", ["-E spare renamed"], ["-E renamed spare"]),
        ):
            with self.subTest(what):
                for source in SOURCES:
                    for command in change:
                        self.iptables(source, *command.split())
                changed = self.hashes()
                self.assertNotIn(changed["filter"], seen)
                self.assertEqual(changed["mangle"], first["mangle"])
                seen.add(changed["filter"])
                for source in SOURCES:
                    for command in undo:
                        self.iptables(source, *command.split())
                self.assertEqual(self.hashes(), first)

    def test_hash_is_blind_to_counters(self) -> None:
        self.restore(*SOURCES)
        first = self.hashes()
        before = {source: without_comments(self.save(source)) for source in SOURCES}
        for family in LOOPBACK:
            self.send_udp(family, 5353, b"counted")
        self.assertEqual(self.hashes(), first)
        for source in SOURCES:
            self.assertNotEqual(without_comments(self.save(source)), before[source])
            self.iptables(source, "-Z")
            self.iptables(
                source, "-R", "INPUT", "2", "-c", "8", "9", *"-p tcp -m tcp --dport 22 -j ACCEPT".split()
            )
        self.assertEqual(self.hashes(), first)


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipv6_netfilter)
