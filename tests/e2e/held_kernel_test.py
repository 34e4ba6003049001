"""Somebody has the kernel hold what it needs to tell of legacy tables: a run ends by --timeout all the same.

Who may make namespaces can do that, with a file system of his own (FUSE). Here it is userfaultfd(2), as root.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator

from oracle import labels, read_metrics
from support import (
    DEADLINE,
    SYSTEM_PATH,
    ExporterTestCase,
    Network,
    eventually,
    executable,
    main,
    netfilter,
    processes,
    start,
    unshown,
    value,
)

PAGE = os.sysconf("SC_PAGESIZE")
TABLE = b"filter".ljust(32, b"\0")
IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES = 64, 65
SYS_USERFAULTFD, UFFD_API, UFFDIO_API, UFFDIO_REGISTER = 323, 0xAA, 0xC018AA3F, 0xC020AA00  # on x86-64

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@contextlib.contextmanager
def held(network: Network) -> Iterator[None]:
    """A getsockopt(2) writes rules into a page that nobody fills, and holds the mutex of all legacy tables of IPv4."""
    faults = checked(libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK))
    fcntl.ioctl(faults, UFFDIO_API, bytearray(struct.pack("QQQ", UFFD_API, 0, 0)))
    private_anonymous, read_write = 0x22, 3
    page = libc.mmap(None, 2 * PAGE, read_write, private_anonymous, -1, 0) + PAGE
    fcntl.ioctl(faults, UFFDIO_REGISTER, bytearray(struct.pack("QQQQ", page, PAGE, 1, 0)))
    with network.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        answer = ctypes.create_string_buffer(TABLE, 84)
        length = ctypes.c_uint32(84)
        checked(libc.getsockopt(raw.fileno(), 0, IPT_SO_GET_INFO, answer, ctypes.byref(length)))
        (size,) = struct.unpack("I", answer.raw[80:84])
        request = TABLE + struct.pack("II", size, 0)
        ctypes.memmove(page - len(request), request, len(request))
        length = ctypes.c_uint32(len(request) + size)
        arguments = (raw.fileno(), 0, IPT_SO_GET_ENTRIES, ctypes.c_void_p(page - len(request)), ctypes.byref(length))
        thread = threading.Thread(target=libc.getsockopt, args=arguments)
        thread.start()
        try:
            if not select.select([faults], [], [], DEADLINE)[0]:
                raise AssertionError("getsockopt() does not get to the page")
            yield
            if not thread.is_alive():
                raise AssertionError("getsockopt() has returned")
        finally:
            os.close(faults)
            thread.join()


class HeldKernel(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("legacy"))
        self.network.iptables("-A", "INPUT", "-j", "ACCEPT")
        self.arguments = ("--timeout", "1", "--output", self.target)

    def test_legacy_tables_cannot_be_read(self) -> None:
        self.network.export("--backend", "legacy", *self.arguments)
        with held(self.network):
            run = self.network.export("--backend", "legacy", *self.arguments)
        self.assert_says(
            run,
            "error: iptables-legacy-save did not end within 1 second (--timeout) and was killed; no counters are written",
        )
        page = read_metrics(self.target.read_bytes())
        self.assertEqual(value(page, "iptables_scrape_success", labels(backend="legacy")), "0")
        eventually(lambda: not processes(), "what was stuck has ended")

    def test_the_other_family_is_read_as_ever(self) -> None:
        """It has a mutex of its own."""
        self.network.run("ip6tables-legacy", "-A", "INPUT", "-j", "DROP")
        arguments = ("--backend", "legacy", "--family", "ipv4,ipv6", "--timeout", "2", "--output", self.target)
        with held(self.network):
            run = self.network.export(*arguments)
        self.assertEqual(run.status, 1, run)
        page = read_metrics(self.target.read_bytes())
        for family, success in ("ipv4", "0"), ("ipv6", "1"):
            source = labels(backend="legacy", family=family)
            self.assertEqual(value(page, "iptables_scrape_success", source), success)
        self.assertEqual(unshown(page, "legacy"), {source: "0"})

    def test_whether_there_are_legacy_tables_is_not_known(self) -> None:
        """A command that does not look for legacy tables, as iptables-nft-save does, is not held up."""
        self.network.run("iptables-nft", "-A", "INPUT", "-j", "DROP")
        dump = self.directory / "dump"
        dump.write_bytes(self.network.run("iptables-nft-save", "-c"))
        executable(self.directory / "iptables-nft-save", f"#!/bin/sh\ncat {dump}\n")
        path = f"{self.directory}:{SYSTEM_PATH}"
        for context, unshown_tables in (
            (contextlib.nullcontext(), {labels(backend="nft"): "1"}),
            (held(self.network), {}),
        ):
            with context:
                run = self.network.export("--backend", "nft", *self.arguments, path=path)
            self.assertEqual(run.status, 0, run)
            page = read_metrics(self.target.read_bytes())
            self.assertEqual(unshown(page, "legacy"), unshown_tables)

    def test_output_does_not_wait_for_who_is_stuck(self) -> None:
        """What reads it, cron for example, sees its end."""
        with held(self.network):
            with self.network.entered():
                process = start("--backend", "legacy", "--timeout", "1")
            out, _ = process.communicate(timeout=DEADLINE)
        self.assertIn(b"iptables_scrape_success", out)


if __name__ == "__main__":
    main(netfilter)
