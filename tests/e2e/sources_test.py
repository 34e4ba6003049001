"""Both families and both backends in one run, with real rules and real traffic in all of them."""

from __future__ import annotations

import re
from pathlib import Path

from oracle import Family, expected, read_metrics
from sources_case import (
    ALL,
    HEALTH,
    IPV4_LEGACY,
    IPV4_NFT,
    IPV6_LEGACY,
    IPV6_NFT,
    SOURCES,
    UDP_HEADERS,
    Source,
    SourcesCase,
    ipv6_netfilter,
    is_of,
)
from support import DEADLINE, SBIN, SYSTEM_PATH, executable, main, netfilter, private_namespaces, value


class Collecting(SourcesCase):
    def test_four_sources_at_once(self) -> None:
        self.make_rules_and_traffic()
        run, dumps = self.export_when_quiet(*ALL)
        self.assert_success(run)
        families = run.metrics
        self.assert_all_labelled(families)
        self.assert_failed(families)
        self.assert_exact(families, dumps)
        for name in HEALTH | {"iptables_info", "iptables_series_omitted"}:
            found = [
                series for series in families[name].samples for source in SOURCES if is_of(source, series)
            ]
            self.assertEqual(len(found), len(SOURCES), name)

        # So that the test does not agree with itself on nothing.
        for packets, source in zip((3, 3, 4, 4), SOURCES):
            rule = "-p udp -m udp --dport 5353"
            series = source.series(chain=source.iptables, rule=rule, table="filter")
            octets = packets * (100 + UDP_HEADERS[source.family])
            self.assertEqual(value(families, "iptables_rule_packets_total", series), str(packets))
            self.assertEqual(value(families, "iptables_rule_bytes_total", series), str(octets))

    def test_side_by_side(self) -> None:
        """Each command ends only after all have begun."""
        self.make_rules_and_traffic()
        for source in SOURCES:
            executable(
                self.directory / "fake" / source.save_command,
                f"#!/bin/sh\ncd {self.directory}\n: >begun.{source.save_command}\n"
                'until [ "$(echo begun.* | wc -w)" -eq 4 ]; do sleep 0.01; done\n'
                f'exec {SBIN}/{source.save_command} "$@"\n',
            )
        path = f"{self.directory}/fake:{SYSTEM_PATH}"
        run = self.network.export(*ALL, "--timeout", str(DEADLINE), path=path)
        self.assert_success(run)
        self.assert_failed(run.metrics)

    def test_labels_only_as_asked(self) -> None:
        """Of the labels, only those asked for; without them, it is what the plain command gives."""
        self.make_rules_and_traffic()
        for backend in ("legacy", "nft"):
            plain = self.directory / f"plain-{backend}"
            plain.mkdir()
            for name in ("iptables-save", "ip6tables-save"):
                (plain / name).symlink_to(f"{SBIN}/xtables-{backend}-multi")
            path = f"{plain}:/usr/bin:/bin"
            ipv4, ipv6 = Source("ipv4", backend), Source("ipv6", backend)

            unasked, dumps = self.export_when_quiet(path=path)
            self.assertEqual(unasked.status, 0, unasked)
            self.assert_all_labelled(unasked.metrics, ())
            saved = self.directory / "rules.save"
            saved.write_bytes(dumps[ipv4])
            self.assert_counters_of(unasked.metrics, dumps[ipv4])
            from_file = self.network.export("--input", saved)
            of_the_host = (
                rb'(?m)^.*iptables_(legacy_reads_protected|dormant_tables|unshown_tables{reason="(legacy|nft)"}).*\n'
            )
            of_the_dump = re.sub(of_the_host, b"", unasked.out)
            self.assertEqual(timeless(from_file.out), timeless(of_the_dump))

            for source, arguments in (
                (ipv4, ("--family", "ipv4")),
                (ipv4, ("--backend", backend)),
                (ipv4, ("--family", "ipv4", "--backend", backend)),
                (ipv6, ("--family", "ipv6")),
                (ipv6, ("--family", "ipv6", "--backend", backend)),
            ):
                with self.subTest(backend=backend, arguments=arguments):
                    run, dumps = self.export_when_quiet(*arguments, path=path)
                    self.assertEqual(run.status, 0, run)
                    asked = [name for name in ("backend", "family") if f"--{name}" in arguments]
                    self.assert_all_labelled(run.metrics, asked)
                    stripped = without_labels_of(source, run.out)
                    self.assert_counters_of(read_metrics(stripped), dumps[source])
                    if source == ipv4:
                        self.assertEqual(timeless(stripped), timeless(unasked.out))

    def assert_counters_of(self, families: dict[str, Family], dump: bytes) -> None:
        for name, series in expected(dump).items():
            self.assertEqual(list(families[name].samples.items()), [(k, str(n)) for k, n in series.items()])

    def test_dump_with_labels(self) -> None:
        """--input takes a family and a backend for the labels, whatever the dump is of."""
        self.restore(IPV6_NFT)
        saved = self.directory / "rules.save"
        saved.write_bytes(self.save(IPV6_NFT))
        run = self.network.export("--input", saved, "--family", "ipv6", "--backend", "nft")
        self.assert_success(run)
        self.assert_all_labelled(run.metrics)
        self.assert_exact(run.metrics, {IPV6_NFT: saved.read_bytes()})

    def test_empty_sources(self) -> None:
        """All of them are a success, for the kernel has no tables."""
        run = self.network.export(*ALL)
        self.assertEqual(run.status, 0, run)
        self.assert_says(run, "warning: there are no rules: the kernel has no table of iptables")
        self.assert_failed(run.metrics)

        run = self.network.export(*ALL, "--allow-empty")
        self.assert_success(run)
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, {})

        for filled in (IPV4_NFT, IPV6_LEGACY):
            self.restore(filled)
            run, dumps = self.export_when_quiet(*ALL)
            self.assert_success(run)
            self.assert_failed(run.metrics)
            self.assert_exact(run.metrics, dumps)
        tables = ("filter", "mangle")
        self.assertEqual(
            set(run.metrics["iptables_ruleset_hash"].samples),
            {source.series(table=table) for source in (IPV4_NFT, IPV6_LEGACY) for table in tables},
        )

    def test_host_without_ipv6(self) -> None:
        with self.network.entered():
            for which in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
        with self.assertRaises(OSError):
            self.send_udp("ipv6", 5353, b"")
        self.restore(IPV4_LEGACY, IPV4_NFT)

        run, dumps = self.export_when_quiet(*ALL)
        self.assert_success(run)
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, {s: dumps[s] for s in (IPV4_LEGACY, IPV4_NFT)})

        run = self.network.export("--family", "ipv6")
        self.assertEqual(run.status, 0, run)
        self.assert_says(run, "warning: there are no rules: the kernel has no table of iptables")
        self.assert_success(self.network.export("--family", "ipv6", "--allow-empty"))

        # Rules may stand there all the same.
        self.restore(IPV6_LEGACY, IPV6_NFT)
        run, dumps = self.export_when_quiet(*ALL)
        self.assert_success(run)
        self.assert_exact(run.metrics, dumps)


def without_labels_of(source: Source, text: bytes) -> bytes:
    for name, text_of_label in source.labels.items():
        text = re.sub(rb'([{,])%s="%s"(,|(?=\}))' % (name.encode(), text_of_label.encode()), rb"\1", text)
    return text.replace(b"{} ", b" ")


def timeless(text: bytes) -> bytes:
    return re.sub(rb"(?m)^(iptables_(?:scrape_duration|last_success_timestamp)_seconds) \S+$", rb"\1", text)


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipv6_netfilter)
