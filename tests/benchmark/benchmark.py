#!/usr/bin/env python3
"""Measures the program against its floor, `iptables-save -c >/dev/null`, and prints a table.

As root, on a quiet machine:

    cmake --workflow --preset release
    sudo tests/benchmark/benchmark.py build/release/iptables_exporter

Both sides of a ratio run in turn, A B A B ..., and the median of the pairs' ratios is printed: so
it holds on a machine whose speed drifts. Rules are loaded into private network namespaces; output
goes to a tmpfs.
"""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

SCRATCH = Path("/mnt")  # a tmpfs, in this run's own mount namespace
OUTPUT = SCRATCH / "iptables.prom"

# What people use today. It neither decodes quotes nor sums equal rules, and knows no failure.
AWK = (
    r"""/^\*/{t=substr($1,2)} /^\[/{split(substr($1,2),c,/[]:]/);r=$0;sub(/^[^ ]* -A [^ ]* ?/,"",r);"""
    r"""gsub(/\\/,"\\\\",r);gsub(/"/,"\\\"",r);l="{chain=\""$3"\",rule=\""r"\",table=\""t"\"} ";"""
    r"""print "iptables_rule_packets_total" l c[1] >"/mnt/awk.packets";"""
    r"""print "iptables_rule_bytes_total" l c[2] >"/mnt/awk.bytes"}"""
)


@dataclass
class Cost:
    wall: float  # seconds
    user: float
    cpu: float
    peak: int  # bytes


def run(*command: str) -> Cost:
    """Runs the command with stdout to /dev/null; its children count too."""
    path = shutil.which(command[0]) or command[0]
    null = (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)
    quiet = (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)
    started = perf_counter()
    pid = os.posix_spawn(path, command, os.environ, file_actions=[null, quiet])
    _, status, usage = os.wait4(pid, 0)
    wall = perf_counter() - started
    if status != 0:
        sys.exit(f"{command} failed")
    return Cost(wall, usage.ru_utime, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def pairs(a: tuple[str, ...], b: tuple[str, ...], count: int) -> list[tuple[Cost, Cost]]:
    run(*a), run(*b)
    return [(run(*a), run(*b)) for _ in range(count)]


def median_ratio(costs: list[tuple[Cost, Cost]], figure: Callable[[Cost], float]) -> float:
    return statistics.median(figure(a) / figure(b) for a, b in costs)


def rules(count: int, chains: int, family: str = "ipv4") -> Iterator[str]:
    yield "*filter"
    yield ":INPUT ACCEPT [0:0]"
    yield ":FORWARD ACCEPT [0:0]"
    yield ":OUTPUT ACCEPT [0:0]"
    for chain in range(chains):
        yield f":chain-{chain:04} - [0:0]"
    for i in range(count):
        source = f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}/32"
        if family == "ipv6":
            source = f"fd00::{i >> 16:x}:{i & 65535:x}/128"
        yield (
            f"[{i}:{60 * i}] -A chain-{i * chains // count:04} -s {source} -p tcp -m tcp "
            f'--dport {i % 65535 + 1} -m comment --comment "rule number {i}" -j ACCEPT'
        )
    yield "COMMIT"


def load(command: str, count: int, chains: int) -> None:
    family = "ipv6" if command.startswith("ip6") else "ipv4"
    with subprocess.Popen([f"{command}-restore", "--counters"], stdin=subprocess.PIPE, text=True) as restore:
        restore.stdin.writelines(f"{line}\n" for line in rules(count, chains, family))
    if restore.returncode != 0:
        sys.exit(f"{command}-restore failed")


def flush() -> None:
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    for command in ("iptables-legacy-restore", "ip6tables-legacy-restore"):
        subprocess.run([command], input=b"*filter\nCOMMIT\n", check=True)


def row(what: str, measured: float, budget: float | None, unit: str = "") -> None:
    verdict = "" if budget is None or measured <= budget else " (over)"
    shown_budget = "" if budget is None else f"{budget:g}{unit}"
    print(f"| {what} | {measured:.2f}{unit}{verdict} | {shown_budget} |", flush=True)


def against_iptables_save(program: str) -> None:
    export = (program, "--output", str(OUTPUT), "--backend")
    for backend, budget in (("nft", 1.10), ("legacy", 1.25)):
        load(f"iptables-{backend}", 100_000, 100)
        save = (f"iptables-{backend}-save", "-c")
        costs = pairs((*export, backend), save, 11)
        row(f"wall, 100,000 rules, {backend}, over iptables-save", median_ratio(costs, lambda c: c.wall), budget)
        script = f"{save[0]} -c | mawk '{AWK}'; cat /mnt/awk.packets /mnt/awk.bytes >/mnt/awk"
        costs = pairs((*export, backend), ("sh", "-c", script), 7)
        row("the same, over the awk script: wall", median_ratio(costs, lambda c: c.wall), 1)
        row("the same, over the awk script: CPU", median_ratio(costs, lambda c: c.cpu), 1)
        flush()
    relay = SCRATCH / "relay"
    subprocess.run(["cc", "-O2", "-static", "-o", relay, Path(__file__).with_name("relay.c")], check=True)
    for backend in ("nft", "legacy"):
        load(f"iptables-{backend}", 50, 5)
        save = (f"iptables-{backend}-save", "-c")
        costs = pairs((*export, backend), save, 301)
        row(f"wall, 50 rules, {backend}, over iptables-save", median_ratio(costs, lambda c: c.wall), 1.6)
        costs = pairs((str(relay), str(OUTPUT), shutil.which(save[0]), "-c"), save, 301)
        row("the same of the least that any collector does (relay.c)", median_ratio(costs, lambda c: c.wall), None)
        flush()


def side_by_side(program: str) -> None:
    load("iptables-nft", 100_000, 100)
    for command in ("iptables-legacy", "ip6tables-legacy", "ip6tables-nft"):
        load(command, 10_000, 10)
    every = (program, "--output", str(OUTPUT), "--family", "ipv4,ipv6", "--backend", "legacy,nft")
    costs = pairs(every, ("iptables-nft-save", "-c"), 7)
    row("wall, four sources (100,000 rules and three of 10,000) over the slowest",
        median_ratio(costs, lambda c: c.wall), 1.3)
    flush()


def from_a_file(program: str) -> None:
    small, large = SCRATCH / "100k.save", SCRATCH / "1m.save"
    # Line by line: a spawned process starts with the peak memory of this one.
    for path, count in ((small, 100_000), (large, 1_000_000)):
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in rules(count, count // 1000))
    export = (program, "--output", str(OUTPUT), "--input")
    costs = pairs((*export, str(large)), (*export, str(small)), 5)
    row("peak memory over the dump's size, 1,000,000 rules",
        statistics.median(a.peak for a, _ in costs) / large.stat().st_size, 2.2)
    row("user CPU for each of 1,000,000 rules", statistics.median(a.user for a, _ in costs), 1.0, " µs")
    row("CPU, 1,000,000 rules over 100,000", median_ratio(costs, lambda c: c.cpu), 15)
    large.unlink()
    default = (*export, str(small))
    select = (*default, "--select", '{chain="chain-0007"}')
    costs = pairs(select, default, 21)
    row("CPU, 1% of 100,000 rules selected, over all", median_ratio(costs, lambda c: c.cpu), 1)
    costs = pairs((*default, "--sum-by", "table,chain,comment"), default, 21)
    row("user CPU, --sum-by table,chain,comment, over the default", median_ratio(costs, lambda c: c.user), 1.5)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PROGRAM")
    if os.environ.pop("BENCHMARK_ISOLATED", None) is None:
        os.environ["BENCHMARK_ISOLATED"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", SCRATCH], check=True)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    version = subprocess.run(["iptables", "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}, {version}\n")
    print("| what | measured | budget |\n| --- | --- | --- |")
    program = os.path.abspath(sys.argv[1])
    against_iptables_save(program)
    side_by_side(program)
    from_a_file(program)


if __name__ == "__main__":
    main()
