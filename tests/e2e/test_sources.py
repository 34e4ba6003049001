"""Both families and both backends in one run, with real rules and real traffic in all of them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oracle import COUNTER_FAMILIES, Family, Labels, expected, labels, read_metrics, without_comments
from served_case import NODE_EXPORTER, ServedCase
from support import (
    DEADLINE,
    SBIN,
    SYSTEM_PATH,
    Network,
    Run,
    eventually,
    executable,
    filter_system_calls,
    main,
    mounted,
    netfilter,
    nobody_with,
    node_exporter,
    private_namespaces,
    prometheus,
    unshown,
    value,
)

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
            of_the_host = rb'(?m)^.*iptables_(legacy_reads_protected|unshown_tables{reason="(legacy|nft)"}).*\n'
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
        """Some are a success, all are a failure, unless that is allowed."""
        run = self.network.export(*ALL)
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, *(f"{s.save_command}: no tables (--allow-empty" for s in SOURCES))
        self.assert_failed(run.metrics, *SOURCES)
        self.assertNotIn("iptables_last_success_timestamp_seconds", run.metrics)

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
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, "error: ip6tables-save: no tables (--allow-empty makes that a success)")
        self.assertEqual(run.err.count(b"\n"), 1, run)
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


class OneOfSeveralFails(SourcesCase):
    def setUp(self) -> None:
        super().setUp()
        self.make_rules_and_traffic()

    def assert_one_fails(self, source: Source, *parts: str, path: str, timeout: float = DEADLINE) -> None:
        """The others' series stand, and when it last succeeded is what the old file says."""
        was = self.last_success()
        arguments = (*ALL, "--timeout", str(timeout), "-o", self.target)
        run, dumps = self.export_when_quiet(*arguments, path=path)
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, f"error: {source.save_command}", *parts)
        self.assertEqual(run.err.count(b"error: "), 1, run)
        families = read_metrics(self.target.read_bytes())
        self.assert_all_labelled(families)
        self.assert_failed(families, source)
        self.assert_exact(families, {s: dump for s, dump in dumps.items() if s != source})
        now = self.last_success()
        self.assertEqual(now.get(source.series()), was.get(source.series()))
        for other in set(SOURCES) - {source}:
            self.assertGreater(float(now[other.series()]), float(was.get(other.series(), 0)))

    def last_success(self) -> dict[Labels, str]:
        if not self.target.exists():
            return {}
        return read_metrics(self.target.read_bytes())["iptables_last_success_timestamp_seconds"].samples

    def fake(self, source: Source, script: str) -> str:
        """A PATH in which the source's command is this script."""
        executable(self.directory / "fake" / source.save_command, f"#!/bin/sh\n{script}\n")
        return f"{self.directory}/fake:{SYSTEM_PATH}"

    def test_exit_status(self) -> None:
        """At first, after success, and after failure."""
        for source in SOURCES:
            with self.subTest(source=source):
                self.target.unlink(missing_ok=True)
                path = self.fake(source, "echo no luck >&2; exit 1")
                self.assert_one_fails(source, "exited with status 1: no luck", path=path)
                self.assertNotIn(source.series(), self.last_success())
                self.assert_success(self.network.export(*ALL, "-o", self.target))
                self.assert_one_fails(source, path=path)
                self.assertIn(source.series(), self.last_success())
                self.assert_one_fails(source, path=path)
                self.assertIn(source.series(), self.last_success())
                (self.directory / "fake" / source.save_command).unlink()

    def test_other_failures(self) -> None:
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        path = self.fake(IPV6_LEGACY, "kill -KILL $$")
        self.assert_one_fails(IPV6_LEGACY, "signal 9", path=path)
        path = self.fake(IPV6_LEGACY, f"{SBIN}/ip6tables-legacy-save -c | sed /COMMIT/d")
        self.assert_one_fails(IPV6_LEGACY, "COMMIT", path=path)
        path = self.fake(IPV6_LEGACY, "exec sleep 1000")
        self.assert_one_fails(IPV6_LEGACY, "--timeout", path=path, timeout=3)
        self.assert_no_process_left()
        self.assertEqual(len(self.last_success()), len(SOURCES))

    def test_all(self) -> None:
        """Each says why, and remembers for itself."""
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        was = self.last_success()
        for number, source in enumerate(SOURCES, 1):
            path = self.fake(source, f"exit {number}")
        run = self.network.export(*ALL, "-o", self.target, path=path)
        self.assertEqual(run.status, 1, run)
        parts = (f"{source.save_command} exited with status {n}" for n, source in enumerate(SOURCES, 1))
        self.assert_messages(run, *parts)
        self.assertEqual(run.err.count(b"\n"), len(SOURCES), run)
        self.assert_failed(read_metrics(self.target.read_bytes()), *SOURCES)
        self.assertEqual(self.last_success(), was)

    def test_legacy_tables_of_a_failed_source_are_hidden(self) -> None:
        path = self.fake(IPV6_LEGACY, "exit 1")
        run = self.network.export(*ALL, path=path)
        self.assert_messages(run, f"warning: {LEGACY_WARNING}: ip6 filter, ip6 mangle")
        self.assertEqual(
            unshown(run.metrics, "legacy"),
            {IPV4_LEGACY.series(): "0", IPV4_NFT.series(): "0", IPV6_NFT.series(): "2"},
        )


class BackendThatIsNotThere(SourcesCase):
    """No failure where the other is asked for too, for it is known what goes unseen."""

    def assert_alone_fails(self, backend: str, message: str, **options: object) -> None:
        for family, count in (("ipv4", 1), ("ipv4,ipv6", 2)):
            run = self.network.export("--family", family, "--backend", backend, **options)
            self.assertEqual(run.status, 1, run)
            self.assert_messages(run, message)
            self.assertEqual(run.err.count(b"\n"), count, run)
            self.assertEqual(set(run.metrics["iptables_scrape_success"].samples.values()), {"0"})
            self.assertLessEqual(set(run.metrics), HEALTH)

    def test_no_legacy_commands(self) -> None:
        """As on RHEL."""
        self.restore(IPV4_NFT, IPV6_NFT)
        with self.host_without("legacy"):
            run = self.network.export(*ALL)
            self.assert_success(run)
            self.assert_failed(run.metrics)
            for name in ("iptables_info", "iptables_ruleset_hash", "iptables_rules"):
                backends = {dict(series)["backend"] for series in run.metrics[name].samples}
                self.assertEqual(backends, {"nft"}, name)
            self.assertEqual(unshown(run.metrics, "legacy"), {source.series(): "0" for source in SOURCES})
            self.assert_alone_fails("legacy", ":/sbin\n")  # iptables is installed

            # Who may not know whether there are legacy tables must not be told that all is well.
            run = self.network.export(*ALL, before=nobody_with("net_admin"))
            self.assertEqual(run.status, 1, run)
            self.assert_failed(run.metrics, IPV4_LEGACY, IPV6_LEGACY)

    def test_no_legacy_commands_for_legacy_tables(self) -> None:
        """Something has loaded ip_tables."""
        self.restore(IPV4_NFT, IPV6_NFT)
        self.iptables(IPV4_LEGACY, "-L")
        self.restore(IPV6_LEGACY)
        with self.host_without("legacy"):
            run = self.network.export(*ALL)
        self.assertEqual(run.status, 0, run)
        self.assert_says(run, f"warning: {LEGACY_WARNING}: ip6 filter, ip6 mangle")
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, {source: self.save(source) for source in (IPV4_NFT, IPV6_NFT)})
        legacy = {source.series(): "2" if source.family == "ipv6" else "0" for source in SOURCES}
        self.assertEqual(unshown(run.metrics, "legacy"), legacy)

    def test_no_nft_commands(self) -> None:
        self.restore(*SOURCES)
        self.network.run("ip6tables-nft", "-F")
        self.network.run("ip6tables-nft", "-t", "mangle", "-F")
        with self.host_without("nft"):
            run = self.network.export(*ALL)
            self.assert_alone_fails("nft", "error: iptables-nft-save is not in ")
        self.assertEqual(run.status, 0, run)
        self.assert_says(
            run, "warning: nft tables that are not counted (nft list ruleset): ip filter, ip mangle"
        )
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, {source: self.save(source) for source in (IPV4_LEGACY, IPV6_LEGACY)})

    def test_commands_of_one_family_only(self) -> None:
        self.restore(*SOURCES)
        with self.host_without("ip6"):
            run = self.network.export(*ALL)
            self.assertEqual(run.status, 0, run)
            self.assertEqual(unshown(run.metrics, "nft")[IPV6_LEGACY.series()], "2")
            self.assertEqual(unshown(run.metrics, "legacy")[IPV6_LEGACY.series()], "2")

    def test_no_commands_at_all(self) -> None:
        self.restore(*SOURCES)
        with self.host_without("tables"):
            run = self.network.export(*ALL, "--allow-empty", path="/usr/bin:/bin")
        self.assertEqual(run.status, 1, run)
        self.assertEqual(run.err.count(b": install iptables\n"), len(SOURCES), run)
        self.assert_failed(run.metrics, *SOURCES)

    def test_plain_commands_only(self) -> None:
        """iptables before 1.8: they are the legacy ones, and called by that name."""
        self.restore(*SOURCES)
        old = self.directory / "old"
        old.mkdir()
        shutil.copy2(f"{SBIN}/xtables-legacy-multi", old / "xtables-multi")
        for name in ("iptables-save", "ip6tables-save"):
            (old / name).symlink_to("xtables-multi")
        with mounted(Path(SBIN), "--bind", str(old)):
            run = self.network.export(*ALL)
            alone = self.network.export("--backend", "legacy")
        self.assertEqual(run.status, 0, run)
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, {source: self.save(source) for source in (IPV4_LEGACY, IPV6_LEGACY)})
        self.assertEqual(set(unshown(run.metrics, "nft").values()), {"2"})
        self.assertEqual(set(unshown(run.metrics, "legacy").values()), {"0"})
        self.assertEqual(alone.status, 0, alone)
        variants = {dict(series)["variant"] for series in alone.metrics["iptables_info"].samples}
        self.assertEqual(variants, {"legacy"})

    def test_kernel_without_nf_tables(self) -> None:
        self.restore(IPV4_LEGACY, IPV6_LEGACY)
        run = self.network.export(*ALL, preexec_fn=deny_netfilter_over_netlink)
        self.assert_success(run)
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, {source: self.save(source) for source in (IPV4_LEGACY, IPV6_LEGACY)})
        self.assertEqual(unshown(run.metrics, "nft"), {source.series(): "0" for source in SOURCES})
        message = "error: iptables-nft-save exited with status "
        self.assert_alone_fails("nft", message, preexec_fn=deny_netfilter_over_netlink)

    def test_command_that_fails_for_another_reason(self) -> None:
        """The kernel has tables, so there is something to show."""
        self.restore(*SOURCES)
        for source in SOURCES:
            executable(self.directory / "fake" / source.save_command, "#!/bin/sh\nexit 1\n")
        run = self.network.export(*ALL, path=f"{self.directory}/fake:{SYSTEM_PATH}")
        self.assertEqual(run.status, 1, run)
        self.assert_failed(run.metrics, *SOURCES)


def deny_netfilter_over_netlink() -> None:
    """As a kernel without nfnetlink."""
    load, jump_if_equal, ret = 0x20, 0x15, 0x06
    number, domain, protocol = 0, 16, 16 + 2 * 8  # in struct seccomp_data
    netfilter = 12
    call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]  # socket(2)
    filter_system_calls(
        [
            (load, 0, 0, number),
            (jump_if_equal, 0, 5, call),
            (load, 0, 0, domain),
            (jump_if_equal, 0, 3, socket.AF_NETLINK),
            (load, 0, 0, protocol),
            (jump_if_equal, 0, 1, netfilter),
            (ret, 0, 0, 0x00050000 | errno.EPROTONOSUPPORT),
            (ret, 0, 0, 0x7FFF0000),
        ]
    )


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

    def test_incompatible_tables(self) -> None:
        """Each is counted where it is, and named; nothing else suffers."""
        self.restore(*SOURCES)
        for family in ("ip", "ip6"):
            self.network.run("nft", "add", "chain", family, "filter", "foreign",
                             "{ type filter hook input priority 10; }")  # fmt: skip
        self.network.run(
            "nft", "add", "rule", "ip6", "mangle", "OUTPUT", "limit", "rate", "over", "5/second", "drop"
        )
        self.assertIn(b"# Table `filter' contains incompatible base-chains", self.save(IPV4_NFT))
        self.assertIn(b"# Table `mangle' is incompatible", self.save(IPV6_NFT))

        run, dumps = self.export_when_quiet(*ALL)
        self.assertEqual(run.status, 0, run)
        self.assert_says(
            run,
            "warning: tables that only nft can show whole (nft list ruleset): filter of ip6tables-nft-save, "
            "filter of iptables-nft-save, mangle of ip6tables-nft-save",
        )
        self.assert_failed(run.metrics)
        self.assert_exact(run.metrics, dumps)
        self.assertEqual(
            unshown(run.metrics, "incompatible"),
            {source.series(): n for source, n in zip(SOURCES, ("0", "1", "0", "2"))},
        )
        shown = set(run.metrics["iptables_ruleset_hash"].samples)
        self.assertIn(IPV4_NFT.series(table="mangle"), shown)
        self.assertIn(IPV6_NFT.series(table="filter"), shown)
        self.assertNotIn(IPV6_NFT.series(table="mangle"), shown)

    def test_nothing_but_an_incompatible_table(self) -> None:
        """That is not "no tables"."""
        self.iptables(IPV6_NFT, "-A", "INPUT")
        self.network.run(
            "nft", "add", "rule", "ip6", "filter", "INPUT", "limit", "rate", "over", "5/second", "drop"
        )
        for arguments in (("--family", "ipv6", "--backend", "nft"), ALL):
            run = self.network.export(*arguments)
            self.assertEqual(run.status, 0, run)
            self.assert_messages(run, "warning: tables that only nft can show whole", "of ip6tables-nft-save")
            self.assertEqual(run.err.count(b"\n"), 1, run)
            self.assertEqual(unshown(run.metrics, "incompatible")[IPV6_NFT.series()], "1")
            self.assert_exact(run.metrics, {})

    def unshown_legacy(self, *arguments: str, **options: object) -> tuple[dict[Labels, str], bytes]:
        run = self.network.export(*arguments, **options)
        self.assertEqual(run.status, 0, run)
        self.assert_messages(run)
        return unshown(run.metrics, "legacy"), run.err

    def test_unshown_legacy_tables(self) -> None:
        nft = ("--family", "ipv4,ipv6", "--backend", "nft")
        none = {IPV4_NFT.series(): "0", IPV6_NFT.series(): "0"}
        self.restore(IPV4_NFT, IPV6_NFT)
        self.assertEqual(self.unshown_legacy(*nft), (none, b""))

        # One family's are nothing to the other.
        self.restore(IPV6_LEGACY)
        series, messages = self.unshown_legacy(*nft)
        self.assertEqual(series, none | {IPV6_NFT.series(): "2"})
        self.assertEqual(
            messages.decode(), f"iptables_exporter: warning: {LEGACY_WARNING}: ip6 filter, ip6 mangle\n"
        )

        self.restore(IPV4_LEGACY)
        series, messages = self.unshown_legacy(*nft)
        self.assertEqual(series, {IPV4_NFT.series(): "2", IPV6_NFT.series(): "2"})
        self.assertEqual(
            messages.decode(),
            f"iptables_exporter: warning: {LEGACY_WARNING}: ip filter, ip mangle, ip6 filter, ip6 mangle\n",
        )
        # Who writes a file has the metric.
        run = self.network.export(*nft, "-o", self.target)
        self.assert_success(run)
        self.assertEqual(unshown(read_metrics(self.target.read_bytes()), "legacy"), series)

        self.assertEqual(self.unshown_legacy(*ALL), ({source.series(): "0" for source in SOURCES}, b""))
        series, _ = self.unshown_legacy("--backend", "legacy")
        self.assertEqual(series, {labels(backend="legacy"): "0"})

    def test_unshown_legacy_tables_of_the_plain_command(self) -> None:
        self.restore(IPV4_NFT, IPV4_LEGACY)
        series, messages = self.unshown_legacy(path=self.path)
        self.assertEqual(series, {(): "2"})
        self.assertIn(f"warning: {LEGACY_WARNING}: ip filter, ip mangle\n".encode(), messages)

        (self.directory / "legacy").mkdir()
        (self.directory / "legacy" / "iptables-save").symlink_to(f"{SBIN}/xtables-legacy-multi")
        run = self.network.export(path=f"{self.directory}/legacy:/usr/bin:/bin")
        self.assertEqual(unshown(run.metrics, "legacy"), {(): "0"})
        self.assertEqual(unshown(run.metrics, "nft"), {(): "2"})
        self.assert_says(
            run, "warning: nft tables that are not counted (nft list ruleset): ip filter, ip mangle"
        )

    def test_unshown_legacy_tables_and_privileges(self) -> None:
        """Who may not read the kernel's list of legacy tables does not know."""
        nft = ("--family", "ipv4,ipv6", "--backend", "nft")
        self.restore(*SOURCES)
        self.assertEqual(self.unshown_legacy(*nft, before=nobody_with("net_admin")), ({}, b""))
        series, messages = self.unshown_legacy(*nft, before=nobody_with("net_admin", "dac_read_search"))
        self.assertEqual(series, {IPV4_NFT.series(): "2", IPV6_NFT.series(): "2"})
        self.assertEqual(messages.count(b"\n"), 1)

    def test_unshown_legacy_tables_where_proc_shows_processes_only(self) -> None:
        """As under systemd's ProcSubset=pid: there is no /proc/net, and the legacy command is blind."""
        self.restore(IPV4_NFT, IPV4_LEGACY)
        with mounted(Path("/proc"), "-t", "proc", "-o", "subset=pid", "proc"):
            series, _ = self.unshown_legacy("--family", "ipv4", "--backend", "nft")
            self.assertEqual(series, {IPV4_NFT.series(): "2"})
            both = ("--family", "ipv4", "--backend", "legacy,nft", "--allow-empty")
            run = self.network.export(*both)
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, "error: iptables-legacy-save: printed nothing, though")
        self.assertEqual(
            run.metrics["iptables_scrape_success"].samples,
            {IPV4_LEGACY.series(): "0", IPV4_NFT.series(): "1"},
        )


class Served(SourcesCase):
    """By node_exporter, which says in its log and in its own metrics when samples collide."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.directory / "node_exporter.log"
        self.make_rules_and_traffic()

    def start_node_exporter(self) -> None:
        """With metrics of its own; not as root, of which it would warn."""
        self.start_server(
            f"http://{NODE_EXPORTER}/metrics",
            "sh",
            "-c",
            f'exec "$@" 2>{self.log}',
            "sh",
            *nobody_with(),
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={self.target.parent}",
            f"--web.listen-address={NODE_EXPORTER}",
        )

    def scrape_ours(self) -> dict[str, Family]:
        """Everything of ours, and what tells of errors."""
        self.scrape()  # its errors are counted in the next
        wanted = rb"(?:# (?:HELP|TYPE) )?(?:iptables_|node_textfile_|promhttp_metric_handler_errors_)"
        return read_metrics(b"".join(re.findall(rb"(?m)^%s.*\n" % wanted, self.scrape())))

    def collisions(self, families: dict[str, Family]) -> float:
        return sum(map(float, families["promhttp_metric_handler_errors_total"].samples.values()))

    def complaints(self) -> list[str]:
        """What node_exporter has logged, but for lines that say themselves that they are none."""
        lines = self.log.read_text().splitlines()
        harmless = [line for line in lines if re.search(r"(?i)\blevel=info\b", line)]
        self.assertTrue(harmless, "the log is read")
        return [line for line in lines if line not in harmless]

    def assert_nothing_lost(self, *files: Path) -> None:
        """What is served is what stands in the files, all of it."""
        served = self.scrape_ours()
        self.assertEqual(value(served, "node_textfile_scrape_error"), "0")
        self.assertEqual(self.collisions(served), 0)
        self.assertEqual(self.complaints(), [])
        mtimes = served["node_textfile_mtime_seconds"].samples
        self.assertEqual(set(mtimes), {labels(file=str(file)) for file in files})

        written: dict[str, dict[Labels, float]] = {}
        for file in files:
            for name, family in read_metrics(file.read_bytes()).items():
                self.assertEqual((served[name].help, served[name].type), (family.help, family.type))
                series = {key: float(text) for key, text in family.samples.items()}
                self.assertFalse(series.keys() & written.get(name, {}).keys(), name)
                written.setdefault(name, {}).update(series)
        self.assertEqual({name for name in served if name.startswith("iptables_")}, set(written))
        for name, wanted in written.items():
            self.assertEqual({k: float(text) for k, text in served[name].samples.items()}, wanted)

    def test_four_sources_in_one_file(self) -> None:
        run, dumps = self.export_when_quiet(*ALL, "-o", self.target)
        self.assert_success(run)
        self.assert_exact(read_metrics(self.target.read_bytes()), dumps)
        self.start_node_exporter()
        self.assert_nothing_lost(self.target)

        executable(self.directory / "fake" / "iptables-nft-save", "#!/bin/sh\nexit 1\n")
        run = self.network.export(*ALL, "-o", self.target, path=f"{self.directory}/fake:{SYSTEM_PATH}")
        self.assertEqual(run.status, 1, run)
        self.assert_nothing_lost(self.target)
        self.assert_failed(self.scrape_ours(), IPV4_NFT)

    def test_two_files_of_two_runs(self) -> None:
        files = [self.target.with_name("a.prom"), self.target.with_name("b.prom")]
        self.start_node_exporter()
        for arguments in (
            (("--family", "ipv4"), ("--family", "ipv6")),
            (("--backend", "legacy"), ("--backend", "nft")),
            (("--family", "ipv4", "--backend", "legacy,nft"), ("--family", "ipv6", "--backend", "nft")),
        ):
            with self.subTest(arguments=arguments):
                for own, file in zip(arguments, files):
                    self.assertEqual(self.network.export(*own, "-o", file).status, 0)
                self.assert_nothing_lost(*files)
        # One of a success, one of a failure.
        executable(self.directory / "fake" / "ip6tables-save", "#!/bin/sh\nexit 1\n")
        self.assert_failing_beside(files)

    def assert_failing_beside(self, files: list[Path]) -> None:
        path = f"{self.directory}/fake:{SYSTEM_PATH}"
        for family, file, status in zip(LOOPBACK, files, (0, 1)):
            run = self.network.export("--family", family, "-o", file, path=path)
            self.assertEqual(run.status, status, run)
        self.assert_nothing_lost(*files)
        success = self.scrape_ours()["iptables_scrape_success"].samples
        self.assertEqual(success, {labels(family="ipv4"): "1", labels(family="ipv6"): "0"})

    def test_collisions_would_be_seen(self) -> None:
        """The same of two runs that tell the series of their files apart by nothing."""
        files = [self.target.with_name("a.prom"), self.target.with_name("b.prom")]
        for file in files:
            self.assertEqual(self.network.export("-o", file).status, 0)
        self.start_node_exporter()
        served = self.scrape_ours()
        self.assertEqual(value(served, "node_textfile_scrape_error"), "0")
        self.assertGreater(self.collisions(served), 0)
        self.assertIn("was collected before with the same name and label values", "".join(self.complaints()))
        with self.assertRaises(self.failureException):
            self.assert_nothing_lost(*files)

    def test_firewall_change_seen_in_prometheus(self) -> None:
        self.start_node_exporter()
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        written = read_metrics(self.target.read_bytes())["iptables_ruleset_hash"].samples
        self.start_prometheus("100ms")
        self.assertEqual(
            self.query("iptables_ruleset_hash"), {series: float(text) for series, text in written.items()}
        )
        alert = "changes(iptables_ruleset_hash[1h]) > 0"

        # Traffic is no change.
        self.send_udp("ipv6", 5353, b"")
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        eventually(lambda: self.query("changes(iptables_rule_packets_total[1h]) > 0"), "traffic is seen")
        self.assertEqual(self.query(alert), {})

        self.iptables(IPV6_LEGACY, "-D", "INPUT", "1")
        self.assert_success(self.network.export(*ALL, "-o", self.target))
        eventually(lambda: self.query(alert), "the change is seen")
        self.assertEqual(self.query(alert), {IPV6_LEGACY.series(table="filter"): 1})


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipv6_netfilter, node_exporter, prometheus)
