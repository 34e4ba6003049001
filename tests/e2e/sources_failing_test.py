"""One source of several fails, or is not there."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path

from oracle import Labels, read_metrics
from sources_case import (
    ALL,
    HEALTH,
    IPV4_LEGACY,
    IPV4_NFT,
    IPV6_LEGACY,
    IPV6_NFT,
    LEGACY_WARNING,
    SOURCES,
    Source,
    SourcesCase,
    ipv6_netfilter,
)
from support import (
    DEADLINE,
    SBIN,
    SYSTEM_PATH,
    executable,
    filter_system_calls,
    main,
    mounted,
    netfilter,
    nobody_with,
    private_namespaces,
    unshown,
)


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
        # One filters by a policy alone, and one not at all.
        self.network.run("ip6tables-legacy", "-t", "raw", "-P", "OUTPUT", "DROP")
        self.network.run("ip6tables-legacy", "-t", "security", "-P", "OUTPUT", "ACCEPT")
        for fails in ("exit 1", "show; exit 1", "exit 0"):
            with self.subTest(fails):
                run = self.network.export(*ALL, path=self.fake(IPV6_LEGACY, fails.replace("show", "ip6tables-legacy-save -c")))
                message = run.err.decode()
                self.assertIn(f"warning: {LEGACY_WARNING}: ip6 ", message)
                for table, is_listed in (("filter", True), ("mangle", True), ("raw", True), ("security", False)):
                    self.assertEqual(f"ip6 {table}" in message, is_listed, message)
                self.assertEqual(
                    unshown(run.metrics, "legacy"),
                    {IPV4_LEGACY.series(): "0", IPV4_NFT.series(): "0", IPV6_NFT.series(): "3"},
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
            self.assert_alone_fails("legacy", ":/sbin; no counters are written\n")  # iptables is installed

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
        self.assertEqual(run.err.count(b" (install iptables); no counters are written\n"), len(SOURCES), run)
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


if __name__ == "__main__":
    main(private_namespaces, netfilter, ipv6_netfilter)
