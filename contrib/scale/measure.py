#!/usr/bin/env python3
"""Measures the figures of README.md beside this: `measure.py PROGRAM`, in about twelve minutes.

It needs prometheus, promtool and prometheus-node-exporter, no privileges, and ports 9090, 9100 and
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
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PROGRAM = Path(sys.argv[1]).resolve()
RULE_FILE = Path(__file__).resolve().parents[1] / "prometheus" / "iptables_exporter.rules.yml"
SIZES = (100, 1000, 10000)
VARIANTS = {
    "default": [],
    """`--select '{comment!=""}'`""": ["--select", '{comment!=""}'],
    "`--sum-by table,chain,target`": ["--sum-by", "table,chain,target"],
    "`--sum-by table,target`": ["--sum-by", "table,target"],
}


def dump(rules: int) -> str:
    """Chains of a hundred rules; one rule in twenty has a comment, one in three drops."""
    lines = ["*filter", ":INPUT DROP [5:300]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [9:540]"]
    lines += [f":svc-{chain:04} - [0:0]" for chain in range(-(-rules // 100))]
    for rule in range(rules):
        comment = f"-m comment --comment billing-{rule} " if rule % 20 == 0 else ""
        lines.append(
            f"[{rule * 7}:{rule * 4200}] -A svc-{rule // 100:04} -s 10.{rule >> 8 & 255}.{rule & 255}.0/24"
            f" -p tcp -m tcp --dport {1024 + rule % 5000} {comment}-j {'DROP' if rule % 3 == 0 else 'ACCEPT'}"
        )
    return "\n".join([*lines, "COMMIT", ""])


def export(rules: int, *options: str) -> bytes:
    command = [PROGRAM, "--input", "-", *options]
    return subprocess.run(
        command, input=dump(rules).encode(), stdout=subprocess.PIPE, check=True
    ).stdout


def series_of(exposition: bytes) -> list[bytes]:
    return [line for line in exposition.splitlines() if not line.startswith(b"#")]


def rule_series_of(exposition: bytes) -> list[bytes]:
    return [line for line in series_of(exposition) if line.startswith(b"iptables_rule_")]


Exported = dict[tuple[str, int], tuple[int, int]]  # series, and those of rules among them


def what_is_exported() -> Exported:
    print("\n| options | rules | series | bytes | gzipped |\n| --- | ---: | ---: | ---: | ---: |")
    exported = {}
    for name, options in VARIANTS.items():
        for rules in SIZES:
            text = export(rules, *options)
            series = len(series_of(text))
            exported[name, rules] = series, len(rule_series_of(text))
            gzipped = len(gzip.compress(text, 6))
            print(f"| {name} | {rules:,} | {series:,} | {len(text):,} | {gzipped:,} |")
    return exported


def bytes_on_disk() -> float:
    """Two hours of scrapes every 15 s, as one block; returns the bytes a sample of a usual mix."""
    print(
        "\n| rules with traffic | bytes a sample | bytes of index a series |\n| --- | ---: | ---: |"
    )
    usual = 0.0
    series = [line.rpartition(b" ")[0].decode() for line in rule_series_of(export(1000))]
    for kind, busy in (("none", 0.0), ("every tenth", 0.1), ("all", 1.0)):
        values = [0] * len(series)
        with tempfile.TemporaryDirectory() as directory:
            # OpenMetrics wants the samples of a series, and the series of a family, together.
            samples: dict[str, list[str]] = {"packets": [], "bytes": []}
            for number, name in enumerate(series):
                is_busy = number % 10 < busy * 10
                family = samples["packets" if "packets" in name else "bytes"]
                for tick in range(480):
                    if is_busy:
                        values[number] += random.randrange(1000) * (1 if "packets" in name else 700)
                    family.append(f"{name} {values[number]} {tick * 15}")
            text = Path(directory) / "samples"
            with text.open("w") as file:
                for family, lines in samples.items():
                    print(f"# TYPE iptables_rule_{family} counter", *lines, sep="\n", file=file)
                print("# EOF", file=file)
            blocks = Path(directory) / "blocks"
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, blocks]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            chunks = sum(path.stat().st_size for path in blocks.glob("*/chunks/*"))
            index = sum(path.stat().st_size for path in blocks.glob("*/index"))
        a_sample = chunks / 480 / len(series)
        print(f"| {kind} | {a_sample:.2f} | {index / len(series):.0f} |")
        if kind == "every tenth":
            usual = a_sample
    return usual


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def fetch(url: str) -> bytes:
    for _ in range(100):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60) as response:
            return response.read()
        time.sleep(0.1)
    raise SystemExit(f"no answer from {url}")


def node_exporter() -> None:
    print("\n| rules | node_exporter's time a scrape | its memory |\n| ---: | ---: | ---: |")
    for rules in SIZES:
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "iptables.prom").write_bytes(export(rules))
            with running(
                "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={directory}", "--web.listen-address=127.0.0.1:9101",
            ) as process:  # fmt: skip
                fetch("http://127.0.0.1:9101/metrics")
                started = time.monotonic()
                for _ in range(5):
                    fetch("http://127.0.0.1:9101/metrics")
                took = (time.monotonic() - started) / 5
                print(f"| {rules:,} | {took:.3f} s | {resident(process) / 1e6:.0f} MB |")


def resident(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def prometheus(hosts: int, rules: int, *options: str) -> tuple[float, float]:
    """Scrapes the page of one host as that of many, until a range of 5 minutes is full. Returns what
    becomes of it: bytes of memory a series, and CPU seconds of the recording rules a rule series.
    """
    body = export(rules, *options)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 9100), functools.partial(Exposition, body)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "1d"},  # we evaluate, once
        "rule_files": [str(RULE_FILE)],
        "scrape_configs": [
            {
                "job_name": "node",
                "static_configs": [
                    {"targets": ["127.0.0.1:9100"], "labels": {"instance": f"host-{host:04}"}}
                    for host in range(hosts)
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "prometheus.yml"
        file.write_text(json.dumps(config))
        with running(
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={directory}/data",
            "--web.listen-address=127.0.0.1:9090",
        ) as process:
            fetch("http://127.0.0.1:9090/-/ready")
            time.sleep(320)
            lines = fetch("http://127.0.0.1:9090/metrics").decode().splitlines()
            own = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            series = float(own["prometheus_tsdb_head_series"])

            groups = json.loads(fetch("http://127.0.0.1:9090/api/v1/rules?type=record"))["data"][
                "groups"
            ]
            before = cpu_seconds(process)
            for rule in (rule for group in groups for rule in group["rules"]):
                query = urllib.parse.urlencode({"query": rule["query"]})
                fetch(f"http://127.0.0.1:9090/api/v1/query?{query}")
            cpu = cpu_seconds(process) - before
            memory = resident(process)
    server.shutdown()
    server.server_close()
    name = f"`{' '.join(options)}`" if options else "default"
    print(f"| {name} | {hosts * rules:,} | {series:,.0f} | {memory / 1e6:,.0f} MB | {cpu:.2f} s |")
    return memory / series, cpu / (hosts * len(rule_series_of(body)))


def fleets(exported: Exported, a_sample: float, a_series: float, a_rule_series: float) -> None:
    print(
        "\n| hosts | rules each | options | series | samples/s | disk a day | memory | recording |"
    )
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for hosts in (1000, 10000):
        for rules in SIZES:
            for name in VARIANTS:
                series, rule_series = (hosts * count for count in exported[name, rules])
                print(
                    f"| {hosts:,} | {rules:,} | {name} | {rounded(series)} | {rounded(series / 15)}"
                    f" | {rounded(series / 15 * 86400 * a_sample)}B | {rounded(series * a_series)}B"
                    f" | {rounded(rule_series * a_rule_series)}s |"
                )


def rounded(number: float) -> str:
    """Two digits, which is what an estimate is worth."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            value = number / factor
            return f"{value:.2g} {prefix}" if value < 100 else f"{round(value, -1):.0f} {prefix}"
    return f"{number:.0f} "


def main() -> None:
    exported = what_is_exported()
    a_sample = bytes_on_disk()
    node_exporter()
    print(
        "\n| options | rules | series | memory | recording rules |\n| --- | ---: | ---: | ---: | ---: |"
    )
    a_series, a_rule_series = prometheus(100, 1000)
    prometheus(100, 1000, "--sum-by", "table,chain,target")
    fleets(exported, a_sample, a_series, a_rule_series)


if __name__ == "__main__":
    main()
