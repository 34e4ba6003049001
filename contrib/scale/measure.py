#!/usr/bin/env python3
"""Measures the figures of README.md beside this: `measure.py PROGRAM`, in about twenty minutes.

It needs prometheus, promtool, prometheus-node-exporter and python3-yaml, no privileges, and ports 9090, 9100 and
9101 of the loopback interface.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import hosts
import yaml

CONTRIB = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.argv[1]).resolve()
RULE_FILE = CONTRIB / "prometheus" / "iptables_exporter.rules.yml"
SCRAPES = 25
HOSTS, RULES = 1000, 100  # in one Prometheus
DAY = 86400

SUMS = (["--sum-by", "table,chain,comment"], ["--sum-by", "table,target"])
WHAT_IS_EXPORTED = {
    "A Kubernetes node, 300 services of 3 endpoints": (hosts.kubernetes(300, 3), [
        [], *SUMS, ["--select", '{chain!~"KUBE-.*"}'],
        ["--select", '{chain!~"KUBE-S(VC|EP)-.*"}', "--sum-by", "table,chain,comment"],
    ]),
    "A Docker host, 30 containers with a published port": (hosts.docker(6, 5), [
        [], *SUMS, ["--select", '{chain!~"DOCKER.*"}'],
    ]),
    **{
        f"{chains} of a hundred rules": (hosts.plain(count), [
            [], ["--select", '{comment!=""}'], ["--sum-by", "table,chain,target"], SUMS[1],
        ])
        for chains, count in (("One chain", 100), ("Ten chains", 1000), ("A hundred chains", 10000))
    },
}  # fmt: skip


def export(dump: str, options: list[str]) -> bytes:
    command = [PROGRAM, "--input", "-", *options]
    return subprocess.run(command, input=dump.encode(), stdout=subprocess.PIPE, check=True).stdout


def series_of(page: bytes) -> list[bytes]:
    return [line for line in page.splitlines() if not line.startswith(b"#")]


def rule_series_of(page: bytes) -> list[bytes]:
    return [line for line in series_of(page) if line.startswith(b"iptables_rule_")]


def written(options: list[str]) -> str:
    words = " ".join(f"'{word}'" if "{" in word else word for word in options)
    return "`" + words.replace("|", "\\|") + "`" if options else "none"


# --- one host -----------------------------------------------------------------------------------


def what_is_exported() -> None:
    for title, (dump, rows) in WHAT_IS_EXPORTED.items():
        print(f"\n{title}, {dump.count('] -A '):,} rules:\n")
        print("| options | series | file | gzipped | node_exporter's CPU a scrape | its memory |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for options in rows:
            page = export(dump, options)
            milliseconds, memory = node_exporter(page)
            print(
                f"| {written(options)} | {len(series_of(page)):,} | {len(page) / 1000:,.0f} kB"
                f" | {len(gzip.compress(page, 6)) / 1000:,.1f} kB | {milliseconds:.1f} ms"
                f" | {memory / 1e6:.0f} MB |",
                flush=True,
            )


def node_exporter(page: bytes) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "iptables.prom").write_bytes(page)
        with running(
            "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={directory}", "--web.listen-address=127.0.0.1:9101",
        ) as process:  # fmt: skip
            fetch("http://127.0.0.1:9101/metrics")
            before = cpu_seconds(process)
            for _ in range(SCRAPES):
                fetch("http://127.0.0.1:9101/metrics")
            return (cpu_seconds(process) - before) / SCRAPES * 1000, resident(process)


# --- one series ---------------------------------------------------------------------------------


def bytes_on_disk() -> None:
    """Two hours of scrapes every 15 s, as one block."""
    print("\n| rules with traffic | bytes a sample | bytes of index a series |")
    print("| --- | ---: | ---: |")
    page = export(hosts.plain(1000), [])
    series = [line.rpartition(b" ")[0].decode() for line in rule_series_of(page)]
    for kind, busy in (("none", 0.0), ("every tenth", 0.1), ("all", 1.0)):
        families: dict[str, list[str]] = {"packets": [], "bytes": []}
        for number, name in enumerate(series):
            what = "packets" if "packets" in name else "bytes"
            value = 0
            for tick in range(480):
                if number % 10 < busy * 10:
                    value += random.randrange(1000) * (1 if what == "packets" else 700)
                families[what].append(f"{name} {value} {tick * 15}")
        with tempfile.TemporaryDirectory() as directory:
            blocks = make_blocks(
                Path(directory),
                {f"iptables_rule_{what}": ("counter", lines) for what, lines in families.items()},
            )
            chunks = sum(path.stat().st_size for path in blocks.glob("*/chunks/*"))
            index = sum(path.stat().st_size for path in blocks.glob("*/index"))
        print(f"| {kind} | {chunks / 480 / len(series):.2f} | {index / len(series):.0f} |")


def make_blocks(directory: Path, families: dict[str, tuple[str, list[str]]]) -> Path:
    """Of samples `series value seconds`; OpenMetrics wants those of a family together."""
    text, blocks = directory / "samples", directory / "data"
    with text.open("w") as file:
        for family, (kind, lines) in families.items():
            print(f"# TYPE {family} {kind}", *lines, sep="\n", file=file)
        print("# EOF", file=file)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, blocks]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    text.unlink()
    return blocks


# --- one Prometheus -----------------------------------------------------------------------------


def prometheus(options: list[str]) -> None:
    """Scrapes the page of one host as that of many, until a range of 5 minutes is full, on top of a
    day of what the rules record. Then each group is evaluated once, alerts and all.
    """
    page = export(hosts.plain(RULES), options)
    names = [f"host-{number:04}" for number in range(HOSTS)]
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 9100), functools.partial(Exposition, page)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_blocks(directory, a_day_of_recordings(names))
        configuration = directory / "prometheus.yml"
        configuration.write_text(json.dumps(scraping(names)))
        with running(
            "prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={directory}/data",
            "--web.listen-address=127.0.0.1:9090", "--web.enable-lifecycle",
            "--query.timeout=10m",
        ) as process:  # fmt: skip
            fetch("http://127.0.0.1:9090/-/ready")
            time.sleep(330)
            now = time.time()
            lines = fetch("http://127.0.0.1:9090/metrics").decode().splitlines()
            own = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            series = float(own["prometheus_tsdb_head_series"])
            print(f"\n{HOSTS:,} hosts of {RULES} rules, {written(options)}: {series:,.0f} series,"
                  f" {resident(process) / 1e6:,.0f} MB\n")  # fmt: skip
            # Nothing else takes CPU while rules are evaluated, as of now.
            configuration.write_text(json.dumps({"scrape_configs": []}))
            request = urllib.request.Request("http://127.0.0.1:9090/-/reload", method="POST")
            urllib.request.urlopen(request).close()
            cost_of_groups(process, now)
            print(f"\nMemory after that: {resident(process) / 1e6:,.0f} MB")
            cost_of_dashboard(process, now)
    server.shutdown()
    server.server_close()


def scraping(names: list[str]) -> dict:
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "1d"},  # we evaluate
        "scrape_configs": [
            {
                "job_name": "node",
                "static_configs": [
                    {"targets": ["127.0.0.1:9100"], "labels": {"instance": name}} for name in names
                ],
            }
        ],
    }


def a_day_of_recordings(names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Of the series that rules read over hours and days."""
    now = int(time.time()) // 60 * 60
    filter_ = 'table="filter"'
    found: dict[str, list[str]] = {}

    def put(name: str, labels: str, step: int, value: float | None = None) -> None:
        lines = found.setdefault(name, [])
        for host in names:
            series = f'{name}{{job="node",instance="{host}"{labels}}}'
            lines += [
                f"{series} {at if value is None else value} {at}"
                for at in range(now - DAY, now, step)
            ]

    put("instance:up:since", "", 60, now - 7 * DAY)
    put("source:iptables_success:seen", "", 60)
    for chain in ("INPUT", "FORWARD"):
        put("chain:iptables_closed:seen", f',{filter_},chain="{chain}"', 60)
        put("chain:iptables_rules:seen", f',chain="{chain}"', 60)
        put("source_chain:iptables_rules:last", f',chain="{chain}"', 60, 50)
        put("chain:iptables_rules:sum", f',chain="{chain}"', 60, 50)
    put("file:iptables_prom:seen", ',file="/run/iptables.prom"', 60)
    put("table:iptables_hash:last", f",{filter_}", 60, 246590628053015)
    put("instance:iptables_dropped_packets:rate5m", "", 60, 1.5)
    for reason in ("nft", "legacy"):
        put("iptables_unshown_tables", f',reason="{reason}"', 60, 0)
    return {name: ("gauge", lines) for name, lines in found.items()}


def cost_of_groups(process: subprocess.Popen[bytes], now: float) -> None:
    print("| group | every | CPU each time | samples at once, at most | of a CPU |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for group in yaml.safe_load(RULE_FILE.read_text())["groups"]:
        begin = cpu_seconds(process)
        peak = 0
        for rule in group["rules"]:
            query = urllib.parse.urlencode({"query": rule["expr"], "time": now, "stats": "all"})
            answer = json.loads(fetch(f"http://127.0.0.1:9090/api/v1/query?{query}"))
            peak = max(peak, answer["data"]["stats"]["samples"]["peakSamples"])
        cpu = cpu_seconds(process) - begin
        every = group["interval"]
        seconds = {"m": 60, "s": 1}[every[-1]] * int(every[:-1])
        print(f"| {group['name']} | {every} | {cpu:.2f} s | {peak:,} | {cpu / seconds:.1%} |", flush=True)


def cost_of_dashboard(process: subprocess.Popen[bytes], now: float) -> None:
    """Of six hours in a thousand points, with all hosts and the first of them chosen."""
    page = json.loads((CONTRIB / "grafana" / "iptables_exporter.json").read_text())
    found = []
    begin = cpu_seconds(process)
    for panel in page["panels"]:
        for target in panel.get("targets", []):
            promql = target["expr"]
            for name, value in (("__rate_interval", "1m"), ("since", "1h"), ("host", "host-0000")):
                promql = promql.replace(f"${name}", value)
            promql = re.sub(r"\$[a-z]+", ".*", promql)
            when = {"time": now} if target.get("instant") else {
                "start": now - 6 * 3600, "end": now, "step": "21.6",
            }  # fmt: skip
            path = "query" if target.get("instant") else "query_range"
            query = urllib.parse.urlencode({"query": promql, "stats": "all", **when})
            answer = json.loads(fetch(f"http://127.0.0.1:9090/api/v1/{path}?{query}"))
            found.append((answer["data"]["stats"]["samples"]["peakSamples"], panel["title"]))
    print(f"\nThe dashboard, opened: {cpu_seconds(process) - begin:.1f} s of CPU. Samples at once:")
    for peak, title in sorted(found, reverse=True)[:5]:
        print(f"{peak:,} {title}")


class Exposition(http.server.BaseHTTPRequestHandler):
    def __init__(self, body: bytes, *arguments: object) -> None:
        self.body = body
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def fetch(url: str) -> bytes:
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=600) as response:
            return response.read()
        time.sleep(0.1)
    raise SystemExit(f"no answer from {url}")


def resident(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    what_is_exported()
    bytes_on_disk()
    prometheus([])
    prometheus(["--sum-by", "table,chain,target"])


if __name__ == "__main__":
    main()
