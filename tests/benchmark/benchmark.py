#!/usr/bin/env python3
"""Measures the program against its floor, relay.c, and prints a table: floor, us, budget. Exits with
1 if a budget is missed by more than noise.

As root, on a quiet machine:

    cmake --workflow --preset release
    sudo tests/benchmark/benchmark.py build/release/iptables_exporter

Both sides of a ratio run in turn, A B A B ..., and the median of the pairs' ratios is printed: so
it holds on a machine whose speed drifts. Rules are loaded into private network namespaces; output
goes to a tmpfs.
"""

from __future__ import annotations

import ctypes
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
SAVED = Path(__file__).resolve().parents[2] / "contrib/systemd/iptables_exporter-saved"
NOISE = 1.1  # ratios within one run differ by this much from run to run

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


def small_peak(*command: str) -> int:
    """In bytes. GNU time's, for a process that this one starts begins with the peak of this one."""
    done = subprocess.run(["time", "--format=%M", *command], capture_output=True, text=True, check=True)
    return 1024 * int(done.stderr.splitlines()[-1])


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


class Table:
    """Prints the rows and remembers whether a budget was missed by more than noise."""

    def __init__(self) -> None:
        self.missed = False
        print("| what | floor | us | budget |\n| --- | ---: | ---: | ---: |")

    def row(self, what: str, us: float, budget: float, floor: str = "", unit: str = "", decimals: int = 2) -> None:
        verdict = "" if us <= budget else " (over)"
        self.missed |= us > NOISE * budget
        print(f"| {what} | {floor} | {us:.{decimals}f}{unit}{verdict} | {budget:g}{unit} |", flush=True)

    def against(self, what: str, costs: list[tuple[Cost, Cost]], budget: float, figure: str = "wall") -> None:
        """Ours over another's, with the other's median in milliseconds as the floor."""
        floor = statistics.median(getattr(other, figure) for _, other in costs)
        self.row(what, median_ratio(costs, lambda c: getattr(c, figure)), budget, f"{floor * 1e3:.1f} ms")


def against_the_floor(program: str, table: Table) -> None:
    relay = SCRATCH / "relay"
    subprocess.run(["cc", "-O2", "-static", "-o", relay, Path(__file__).with_name("relay.c")], check=True)
    export = (program, "--output", str(OUTPUT), "--backend")
    for backend, large_budget in (("nft", 1.05), ("legacy", 1.15)):
        save = (shutil.which(f"iptables-{backend}-save"), "-c")
        for count, chains, budget, runs in ((50, 5, 1.35, 301), (100_000, 100, large_budget, 11)):
            load(f"iptables-{backend}", count, chains)
            ours = (*export, backend)
            run(*ours)
            floor = (str(relay), str(SCRATCH / "relay.prom"), str(OUTPUT.stat().st_size), *save)
            table.against(f"wall, {count:,} rules, {backend}, over relay", pairs(ours, floor, runs), budget)
            if count == 100_000:
                script = f"{save[0]} -c | mawk '{AWK}'; cat /mnt/awk.packets /mnt/awk.bytes >/mnt/awk"
                costs = pairs(ours, ("sh", "-c", script), 7)
                table.against("the same over the awk script", costs, 1)
                table.against("the same over the awk script, CPU", costs, 1, "cpu")
            flush()


def side_by_side(program: str, table: Table) -> None:
    load("iptables-nft", 100_000, 100)
    for command in ("iptables-legacy", "ip6tables-legacy", "ip6tables-nft"):
        load(command, 10_000, 10)
    every = (program, "--output", str(OUTPUT), "--family", "ipv4,ipv6", "--backend", "legacy,nft")
    table.against("wall, four sources (100,000 rules and three of 10,000) over the slowest iptables-save",
                  pairs(every, ("iptables-nft-save", "-c"), 7), 1.3)
    flush()


def beside_sets(program: str, table: Table) -> None:
    subprocess.run(["mkdir", "-p", "/run/netns"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    for name, count, timeout in (("none", 0, ""), ("ever", 100_000, ""), ("timed", 100_000, " timeout 9999")):
        subprocess.run(["ip", "netns", "add", name], check=True)
        inside = ("ip", "netns", "exec", name)
        with subprocess.Popen([*inside, "ipset", "restore"], stdin=subprocess.PIPE, text=True) as restore:
            restore.stdin.write(f"create s hash:ip maxelem 100000{timeout}\n")
            restore.stdin.writelines(f"add s 10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(count))
        subprocess.run([*inside, "iptables-nft", "-A", "INPUT"], check=True)
    export = (program, "--output", str(OUTPUT), "--backend", "nft", "--netns")
    for name, what, budget in (("ever", "", 2), ("timed", " with timeouts", 8)):
        costs = pairs((*export, name), (*export, "none"), 101)
        table.against(f"wall, a set of 100,000 entries{what}, over an empty one", costs, budget)


def rehearsal(program: str, table: Table) -> None:
    """What a boot would load is loaded, read and hashed, over one restore and one save."""
    script = SCRATCH / "prefix/libexec/iptables_exporter-saved"
    for source, target in ((program, SCRATCH / "prefix/bin/iptables_exporter"), (SAVED, script)):
        target.parent.mkdir(parents=True)
        shutil.copy2(source, target)
    saved = SCRATCH / "saved"
    with saved.open("w") as file:
        file.writelines(f"{line}\n" for line in rules(20_000, 20))
    metrics_file = Path("/run/iptables_exporter-saved/iptables_saved.prom")
    look = (script, metrics_file, "--family", "ipv4,ipv6", "--backend", "legacy,nft")
    for backend in ("nft", "legacy"):
        run(f"iptables-{backend}", "-S")  # a table that the host has
        os.environ["RESTORE"] = f"iptables-{backend}-restore --counters {saved}"
        ours = ("sh", "-c", f"rm -f {metrics_file}; exec {' '.join(map(str, look))}")
        floor = ("unshare", "--net", "sh", "-c", f"$RESTORE; iptables-{backend}-save -c")
        costs = pairs(ours, floor, 21)
        if b'chain="chain-0007"' not in metrics_file.read_bytes():
            sys.exit("nothing was rehearsed")
        table.against(f"wall, 20,000 rules rehearsed, {backend}, over one restore and one save", costs, 1.3)
        table.against("the same, CPU", costs, 1.3, "cpu")


def from_a_file(program: str, table: Table) -> None:
    dumps = {"100k": (100_000, 100), "1m": (1_000_000, 1000), "1m, 20,000 chains": (1_000_000, 20_000)}
    for name, (count, chains) in dumps.items():
        with (SCRATCH / name).open("w") as file:
            file.writelines(f"{line}\n" for line in rules(count, chains))
    export = (program, "--output", str(OUTPUT), "--input")
    small = (*export, str(SCRATCH / "100k"))
    for name in ("1m", "1m, 20,000 chains"):
        costs = pairs((*export, str(SCRATCH / name)), small, 5)
        table.row(f"peak memory over the dump's size, {name}",
                  statistics.median(a.peak for a, _ in costs) / (SCRATCH / name).stat().st_size, 2.5)
        script = f"mawk '{AWK}' '{SCRATCH / name}'; cat /mnt/awk.packets /mnt/awk.bytes >/mnt/awk"
        table.against(f"CPU over the awk script, {name}",
                      pairs((*export, str(SCRATCH / name)), ("sh", "-c", script), 5), 0.8, "cpu")
        table.row(f"CPU over that of 100,000 rules, {name}", median_ratio(costs, lambda c: c.cpu), 15)
        selected = (*export, str(SCRATCH / name), "--select", '{dport=~".*22"}')
        table.row(f"peak memory, one in a hundred rules selected, {name}", small_peak(*selected) / 1e6, 16, unit=" MB")
        (SCRATCH / name).unlink()
    costs = pairs((*small, "--select", '{chain="chain-0007"}'), small, 21)
    table.row("CPU, 1 % of 100,000 rules selected, over all", median_ratio(costs, lambda c: c.cpu), 1)
    costs = pairs((*small, "--sum-by", "table,chain,comment"), small, 21)
    table.row("user CPU, --sum-by table,chain,comment, over all", median_ratio(costs, lambda c: c.user), 1.5)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PROGRAM")
    if os.environ.pop("BENCHMARK_ISOLATED", None) is None:
        os.environ["BENCHMARK_ISOLATED"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", SCRATCH], check=True)
    # A /run of its own: iptables of other networks use the host's xtables.lock. Watched, as systemd does: without
    # any other watch of that directory, the kernel takes milliseconds to undo the one over xtables.lock.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    libc = ctypes.CDLL(None)
    libc.inotify_add_watch(libc.inotify_init(), b"/run", 0x800)  # IN_MOVE_SELF
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    version = subprocess.run(["iptables", "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}, {version}\n")
    program = os.path.abspath(sys.argv[1])
    table = Table()
    for measure in (against_the_floor, side_by_side, beside_sets, rehearsal, from_a_file):
        measure(program, table)
    sys.exit(table.missed)


if __name__ == "__main__":
    main()
