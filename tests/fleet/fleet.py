"""A fleet in small: hosts that are network namespaces, and one Prometheus that watches them.

Each host has rules of its own and gets traffic over a veth pair; it runs iptables_exporter every
second and a node_exporter. A minute of the rule file is a second here: see at_test_speed().
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import support  # noqa: E402
from generator import Settings, generate  # noqa: E402

PROMETHEUS = "127.0.0.1:9090"
SPEED_UP = 60
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

# UDP ports: accepted, rejected and dropped by a rule of each host, dropped by its policy.
DNS, ECHO, DISCARD, UNKNOWN = 53, 7, 9, 11


def at_test_speed(promql: str) -> str:
    """All durations 60 times as short: `5m` becomes `5000ms`. Names as `x:rate5m` stay."""
    return re.sub(
        r"(?<!\w)(\d+)([smhdw])\b",
        lambda match: f"{int(match[1]) * _SECONDS[match[2]] * 1000 // SPEED_UP}ms",
        promql,
    )


def rules_at_test_speed() -> str:
    return generate.rule_file(Settings(scale=SPEED_UP))


def filled_in(promql: str) -> str:
    """A query of the dashboard, with all variables at "All" and windows that fit a short test."""
    promql = at_test_speed(promql)
    for variable, value in (("__rate_interval", "5s"), ("window", "20s"), (r"[a-z]\w*", ".*")):
        promql = re.sub(rf"\${variable}\b", value, promql)
    return promql


def prometheus() -> str | None:
    return None if shutil.which("prometheus") else "needs prometheus"


def eventually(condition: Callable[[], bool], state: Callable[[], object]) -> None:
    """Waits until the condition holds, with a bound that only a test that fails ever reaches."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain; now: {state()}")
        time.sleep(0.25)


class Host:
    """One host. `rules` goes to COMMAND-restore, by command."""

    def __init__(self, number: int, name: str, options: str, rules: dict[str, str]) -> None:
        self.number = number
        self.name = name
        self.options = options.split()
        self.rules = rules
        self.address = f"10.0.{number}.2"
        self.traffic = {DNS: 4 + number, ECHO: 1, DISCARD: 2, UNKNOWN: 1}  # packets in 0.1 s
        self.before: tuple[str, ...] = ()  # what executes iptables_exporter
        self._timer_runs = threading.Event()
        self._timer_runs.set()
        self._one_run = threading.Lock()

    def start(self, resources: contextlib.ExitStack, stop: threading.Event) -> None:
        self.network = resources.enter_context(support.Network("nft"))
        self.textfiles = resources.enter_context(support.public_directory())
        self.output = self.textfiles / "iptables.prom"
        with self.network.entered():
            node_exporter = _start(
                resources,
                "prometheus-node-exporter",
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={self.textfiles}",
                "--web.disable-exporter-metrics",
            )
        near, far = f"host{self.number}", "eth0"
        _ip("link", "add", near, "type", "veth", "peer", far, "netns", str(node_exporter.pid))
        _ip("address", "add", f"10.0.{self.number}.1/24", "dev", near)
        _ip("link", "set", near, "up")
        self.network.run("ip", "address", "add", f"{self.address}/24", "dev", far)
        self.network.run("ip", "link", "set", far, "up")
        self.load_rules()

        _in_background(resources, stop, self._run_every_second)

    def load_rules(self) -> None:
        for command, rules in self.rules.items():
            self.network.run(f"{command}-restore", stdin=rules.encode())

    def iptables(self, arguments: str, command: str = "iptables-nft") -> None:
        self.network.run(command, *arguments.split())

    def stop_timer(self) -> None:
        self._timer_runs.clear()
        with self._one_run:  # has ended now
            pass

    def start_timer(self) -> None:
        self._timer_runs.set()

    def _run_every_second(self, stop: threading.Event) -> None:
        with self.network.entered():
            while not stop.wait(1):
                with self._one_run:
                    if self._timer_runs.is_set():
                        subprocess.run(
                            [
                                *self.before,
                                support.EXPORTER,
                                *self.options,
                                "--output",
                                self.output,
                            ],
                            env=support.environment(),
                            stderr=subprocess.DEVNULL,
                        )


class Fleet:
    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = {host.name: host for host in hosts}

    @contextlib.contextmanager
    def running(self) -> Iterator[Fleet]:
        with contextlib.ExitStack() as resources:
            stop = threading.Event()
            _ip("link", "set", "lo", "up")
            for host in self.hosts.values():
                host.start(resources, stop)
            self._start_prometheus(resources)
            _in_background(resources, stop, self._send_traffic)
            yield self

    def _start_prometheus(self, resources: contextlib.ExitStack) -> None:
        directory = resources.enter_context(support.public_directory())
        (directory / "rules.yml").write_text(rules_at_test_speed())
        targets = [
            {"targets": [f"{host.address}:9100"], "labels": {"instance": host.name}}
            for host in self.hosts.values()
        ]
        config = {  # JSON is YAML
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "node", "static_configs": targets}],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))
        _start(
            resources,
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={PROMETHEUS}",
            "--log.level=error",
        )
        eventually(self._prometheus_is_ready, lambda: "Prometheus does not answer")

    def _prometheus_is_ready(self) -> bool:
        try:
            return bool(self.get("rules")["groups"])
        except OSError:
            return False

    def _send_traffic(self, stop: threading.Event) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            while not stop.wait(0.1):
                for host in self.hosts.values():
                    for port, count in host.traffic.items():
                        for _ in range(count):
                            with contextlib.suppress(OSError):  # a full queue
                                sender.sendto(b"x" * 64, (host.address, port))

    # --- what Prometheus knows

    def get(self, path: str, **parameters: object) -> dict:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{PROMETHEUS}/api/v1/{path}?{query}") as response:
            return json.load(response)["data"]

    def query(self, promql: str) -> list[dict]:
        return self.get("query", query=promql)["result"]

    def query_range(self, promql: str, start: float, step: float = 1) -> list[dict]:
        data = self.get("query_range", query=promql, start=start, end=time.time(), step=step)
        return data["result"]

    def firing(self) -> set[tuple[str, str]]:
        """(alert, instance)"""
        return _alerts(self.query('ALERTS{alertstate="firing"}'))

    def fired_since(self, start: float) -> set[tuple[str, str]]:
        return _alerts(self.query_range('ALERTS{alertstate="firing"}', start))


def _alerts(series: list[dict]) -> set[tuple[str, str]]:
    return {(one["metric"]["alertname"], one["metric"]["instance"]) for one in series}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _start(resources: contextlib.ExitStack, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    resources.callback(process.wait)
    resources.callback(process.kill)
    return process


def _in_background(
    resources: contextlib.ExitStack,
    stop: threading.Event,
    action: Callable[[threading.Event], None],
) -> None:
    thread = threading.Thread(target=action, args=(stop,))
    thread.start()
    resources.callback(thread.join)
    resources.callback(stop.set)  # before the join


# --- the fleet of the tests and of the picture ------------------------------------------------

_WEB_FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:services - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 9100 -m comment --comment "node_exporter" -j ACCEPT
-A INPUT -j services
-A INPUT -p udp -m udp --dport 9 -m comment --comment worm -j DROP
-A INPUT -p udp -m udp --dport 7 -m comment --comment "\\"-j DROP\\" is rude" -j REJECT
-A services -p udp -m udp --dport 53 -m comment --comment "name server" -j ACCEPT
-A services -p tcp -m tcp --dport 443 -m comment --comment "nobody comes here" -j ACCEPT
COMMIT
"""

_WEB_FILTER6 = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 23 -j DROP
COMMIT
"""

_DATABASE_FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 9100 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A INPUT -p udp -m udp --dport 7 -j DROP
-A INPUT -p udp -m udp --dport 9 -j DROP
COMMIT
"""


def _own_table(port: int) -> str:
    return (
        f"*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --dport {port}\nCOMMIT\n"
    )


def a_fleet() -> Fleet:
    """Three web servers with the packaged options and one filter table, and a database without."""
    packaged = "--family ipv4,ipv6 --backend legacy,nft --allow-empty"
    web = {"iptables-nft": _WEB_FILTER, "ip6tables-nft": _WEB_FILTER6}
    return Fleet(
        [
            Host(1, "web-1", packaged, {**web, "iptables-legacy": _own_table(DNS)}),
            Host(2, "web-2", packaged, {**web, "iptables-legacy": _own_table(DISCARD)}),
            Host(3, "web-3", packaged, {**web, "iptables-legacy": _own_table(ECHO)}),
            Host(4, "db-1", "--sum-by table,chain,target", {"iptables-nft": _DATABASE_FILTER}),
        ]
    )
