"""Test cases with real rules and traffic in both families and both backends at once."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oracle import COUNTER_FAMILIES, Family, Labels, expected, labels, without_comments
from served_case import ServedCase
from support import DEADLINE, SBIN, Run, mounted

LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}
UDP_HEADERS = {"ipv4": 28, "ipv6": 48}  # the IP header's bytes and UDP's


@dataclass(frozen=True)
class Source:
    family: str
    backend: str

    @property
    def iptables(self) -> str:
        return f"{'iptables' if self.family == 'ipv4' else 'ip6tables'}-{self.backend}"

    @property
    def save_command(self) -> str:
        return f"{self.iptables}-save"

    @property
    def labels(self) -> dict[str, str]:
        return {"family": self.family, "backend": self.backend}

    def series(self, **values: str) -> Labels:
        return labels(**self.labels, **values)
IPV4_LEGACY = Source("ipv4", "legacy")
IPV4_NFT = Source("ipv4", "nft")
IPV6_LEGACY = Source("ipv6", "legacy")
IPV6_NFT = Source("ipv6", "nft")
SOURCES = (IPV4_LEGACY, IPV4_NFT, IPV6_LEGACY, IPV6_NFT)
ALL = ("--family", "ipv4,ipv6", "--backend", "legacy,nft")
LEGACY_WARNING = "legacy tables that are not counted (iptables-legacy-save)"
HEALTH = {
    "iptables_exporter_build_info",
    "iptables_last_success_timestamp_seconds",
    "iptables_scrape_duration_seconds",
    "iptables_scrape_success",
}
# One ruleset that is legal in each of the four, with something of everything that a hash must see.
RULES = b"""\
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A OUTPUT -p tcp -m comment --comment "left alone" -j MARK --set-xmark 0x1/0xffffffff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:own - [0:0]
:spare - [0:0]
-A INPUT -p udp -m udp --dport 5353 -m comment --comment "mDNS \\"and\\" more" -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -j own
-A own ! -i lo -j DROP
COMMIT
"""


class SourcesCase(ServedCase):
    def iptables(self, source: Source, *arguments: str) -> None:
        self.network.run(source.iptables, "--wait", *arguments)

    def restore(self, *sources: Source) -> None:
        for source in sources:
            self.network.run(f"{source.iptables}-restore", stdin=RULES)

    def save(self, source: Source) -> bytes:
        return self.network.run(source.save_command, "-c")

    def send_udp(self, family: str, port: int, *payloads: bytes) -> None:
        """Over loopback; returns when the kernel has counted the packets."""
        kind = socket.AF_INET if family == "ipv4" else socket.AF_INET6
        with self.network.entered(), socket.socket(kind, socket.SOCK_DGRAM) as receiver:
            receiver.bind((LOOPBACK[family], port))
            receiver.settimeout(DEADLINE)
            with socket.socket(kind, socket.SOCK_DGRAM) as sender:
                for payload in payloads:
                    sender.sendto(payload, (LOOPBACK[family], port))
                    receiver.recv(65536)

    def make_rules_and_traffic(self) -> None:
        """Rules that differ from source to source, all of which have met packets."""
        for source in SOURCES:
            self.iptables(source, "-t", "mangle", "-A", "POSTROUTING")
            self.iptables(source, "-N", source.iptables)
            self.iptables(source, "-A", "INPUT", "-j", source.iptables)
            for port in ("5353", "5354"):
                self.iptables(source, "-A", source.iptables, "-p", "udp", "-m", "udp", "--dport", port)
            self.iptables(source, "-A", "INPUT", "-m", "comment", "--comment", f'of "{source.family}"')
        for packets, family in enumerate(LOOPBACK, 3):
            self.send_udp(family, 5353, *[b"x" * 100] * packets)
            self.send_udp(family, 5354, b"")

    def export_when_quiet(self, *arguments: str | Path, **options: object) -> tuple[Run, dict[Source, bytes]]:
        """A run during which no counter changed, and what each command printed before and after."""
        deadline = time.monotonic() + DEADLINE
        after = {source: self.save(source) for source in SOURCES}
        while time.monotonic() < deadline:
            before = after
            result = self.network.export(*arguments, **options)
            after = {source: self.save(source) for source in SOURCES}
            if all(without_comments(before[s]) == without_comments(after[s]) for s in SOURCES):
                return result, after
        raise AssertionError("the counters never stopped changing")

    def assert_exact(self, families: dict[str, Family], dumps: dict[Source, bytes]) -> None:
        """The counter series are those of these dumps, each source's in its order, and no others."""
        for name in COUNTER_FAMILIES:
            written = list(families[name].samples.items()) if name in families else []
            for source, dump in dumps.items():
                wanted = [
                    (source.series(**dict(series)), str(number))
                    for series, number in expected(dump)[name].items()
                ]
                self.assertEqual([pair for pair in written if is_of(source, pair[0])], wanted, name)
                written = [pair for pair in written if not is_of(source, pair[0])]
            self.assertEqual(written, [], name)

    def assert_failed(self, families: dict[str, Family], *failed: Source) -> None:
        """These and no others have failed, and of them there are health metrics only."""
        self.assertEqual(
            families["iptables_scrape_success"].samples,
            {source.series(): "0" if source in failed else "1" for source in SOURCES},
        )
        for source in failed:
            told = {
                name for name, family in families.items() if any(is_of(source, s) for s in family.samples)
            }
            self.assertEqual(told | {"iptables_last_success_timestamp_seconds"}, HEALTH)

    def assert_all_labelled(
        self, families: dict[str, Family], names: Iterable[str] = ("backend", "family")
    ) -> None:
        """Every series carries these of the two labels, and not the others."""
        for family in families.values():
            for series in family.samples:
                self.assertEqual(set(dict(series)) & {"backend", "family"}, set(names), (family.name, series))

    @contextlib.contextmanager
    def host_without(self, word: str) -> Iterator[None]:
        """A host whose sbin has no command of iptables with this word in its name."""
        sbin = self.directory / f"sbin-without-{word}"
        if not sbin.exists():
            sbin.mkdir()
            for program in Path(SBIN).glob("*tables*"):
                if word not in program.name:
                    shutil.copy2(program, sbin, follow_symlinks=False)
        with mounted(Path(SBIN), "--bind", str(sbin)):
            yield


def is_of(source: Source, series: Labels) -> bool:
    return set(source.labels.items()) <= set(series)


def ipv6_netfilter() -> str | None:
    for backend in ("nft", "legacy"):
        command = ("unshare", "--net", f"ip6tables-{backend}", "-A", "INPUT")
        if not shutil.which(command[2]) or subprocess.run(command, capture_output=True).returncode != 0:
            return f"needs IPv6 and ip6tables-{backend}"
    return None
