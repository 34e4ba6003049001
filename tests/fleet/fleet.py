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
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import prometheus_api  # noqa: E402
import support  # noqa: E402
from support import eventually  # noqa: E402

RULES = ROOT / "contrib" / "prometheus" / "iptables_exporter.rules.yml"
SPEED_UP = 60
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

# UDP ports: accepted, rejected and dropped by a rule of each host, dropped by its policy.
DNS, ECHO, DISCARD, UNKNOWN = 53, 7, 9, 11


def at_test_speed(promql: str) -> str:
    """All durations 60 times as short: `5m` becomes `5000ms`, and `time() - 86400` `time() - 1440`. Names as
    `x:rate5m` stay."""
    promql = re.sub(r"(?<=time\(\) - )\d+", lambda match: str(int(match[0]) // SPEED_UP), promql)
    return re.sub(
        r"(?<!\w)(\d+)([smhdw])\b",
        lambda match: f"{int(match[1]) * _SECONDS[match[2]] * 1000 // SPEED_UP}ms",
        promql,
    )


def rules_at_test_speed(without: Sequence[str] = ()) -> str:
    head, *groups = re.split(r"(?m)^(?=  # .*\n  - name: )", RULES.read_text())
    kept = [group for group in groups if not any(f".{name}\n" in group for name in without)]
    return at_test_speed(head + "".join(kept))


def filled_in(promql: str, host: str) -> str:
    """A query of the dashboard, for this host, windows that fit a short test, else "All"."""
    promql = at_test_speed(promql)
    for variable, value in (
        ("__rate_interval", "5s"), ("since", "20s"), ("host", host), (r"[a-z]\w*", ".*"),
    ):  # fmt: skip
        promql = re.sub(rf"\${variable}\b", value, promql)
    return promql


def prometheus() -> str | None:
    return None if shutil.which("prometheus") else "needs prometheus"


def ipset() -> str | None:
    if not shutil.which("ipset"):
        return "needs ipset"
    made = subprocess.run(("unshare", "--net", "ipset", "create", "x", "hash:ip"), capture_output=True)
    return "needs a kernel with ipset" if made.returncode != 0 else None


class Host:
    """One host. `runs` are the program's options by output file, `rules` goes to COMMAND-restore, by
    command, `sets` to ipset restore."""

    def __init__(
        self, number: int, name: str, job: str, runs: dict[str, str], rules: dict[str, str], sets: str = ""
    ) -> None:
        self.number = number
        self.name = name
        self.job = job
        self.runs = {file: options.split(" ") for file, options in runs.items()}
        self.rules = rules
        self.sets = sets  # as ipset restore takes them
        self.address = f"10.0.{number}.2"
        self.traffic = {DNS: 4 + number, ECHO: 1, DISCARD: 2, UNKNOWN: 1}  # packets in 0.1 s
        self.fails: Callable[[int], bool] = lambda run: False  # by the number of the run
        self.every_second: Callable[[int], object] = lambda second: None
        self._timer_runs = threading.Event()
        self._timer_runs.set()
        self._one_run = threading.Lock()

    def start(self, resources: contextlib.ExitStack, stop: threading.Event) -> None:
        self.network = resources.enter_context(support.Network("nft"))
        self.textfiles = resources.enter_context(support.public_directory())
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
        if self.sets:
            self.network.run("ipset", "restore", stdin=self.sets.encode())
        self.load_rules()

        _in_background(resources, stop, self._run_every_second)
        _in_background(resources, stop, self._live)

    def load_rules(self) -> None:
        for command, rules in self.rules.items():
            self.network.run(f"{command}-restore", stdin=rules.encode())

    def iptables(self, arguments: str, command: str = "iptables-nft") -> None:
        self.network.run(command, *arguments.split())

    def save(self) -> None:
        """These rules are what a reboot would load: the page that says so, after a trial in a namespace."""
        output = self.textfiles / "iptables_saved.prom"
        program = [str(support.EXPORTER), *self.runs["iptables.prom"], "--saved", "--output", str(output)]
        loads = "".join(f"{command}-restore <<'END'\n{rules}END\n" for command, rules in self.rules.items())
        script = f'set -e\n{loads}exec "$@"'
        subprocess.run(["unshare", "--net", "sh", "-c", script, "sh", *program], check=True)

    def stop_timer(self) -> None:
        self._timer_runs.clear()
        with self._one_run:  # has ended now
            pass

    def start_timer(self) -> None:
        self._timer_runs.set()

    def _run_every_second(self, stop: threading.Event) -> None:
        number = 0
        with self.network.entered():
            while not stop.wait(1):
                with self._one_run:
                    if self._timer_runs.is_set():
                        self._run(number)
                        number += 1

    def _run(self, number: int) -> None:
        before = ("setpriv", "--bounding-set=-all") if self.fails(number) else ()
        for file, options in list(self.runs.items()):  # a test may change them meanwhile
            subprocess.run(
                [*before, support.EXPORTER, *options, "--output", self.textfiles / file],
                env=support.environment(),
                stderr=subprocess.DEVNULL,
            )

    def _live(self, stop: threading.Event) -> None:
        second = 0
        while not stop.wait(1):
            self.every_second(second)
            second += 1


class Fleet:
    """`servers` are commands that start a Prometheus; the first is the one that is asked."""

    def __init__(self, hosts: list[Host], servers: Sequence[Sequence[str]] = (("prometheus",),)) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.servers = {f"127.0.0.1:{9090 + number}": command for number, command in enumerate(servers)}

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
        self._directory = resources.enter_context(support.public_directory())
        self._resources = resources
        self._write_configuration(without=["drops"])
        self._run_prometheus()

    def restart_prometheus(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
        self._run_prometheus()

    def _run_prometheus(self) -> None:
        self._processes = [
            _start(
                self._resources,
                *command,
                f"--config.file={self._directory}/prometheus.yml",
                f"--storage.tsdb.path={self._directory}/data-{number}",
                f"--web.listen-address={address}",
                "--web.enable-lifecycle",
                f"--query.lookback-delta={300 // SPEED_UP}s",
                "--log.level=error",
            )
            for number, (address, command) in enumerate(self.servers.items())
        ]
        for address in self.servers:
            eventually(lambda: self._is_ready(address), lambda: f"{address}: Prometheus does not answer")

    def configure(self, **labels: str) -> None:
        """All groups of rules, and these labels for every target."""
        self._write_configuration(**labels)
        for address in self.servers:
            reload = urllib.request.Request(f"http://{address}/-/reload", method="POST")
            urllib.request.urlopen(reload).close()

    def _write_configuration(self, without: Sequence[str] = (), **labels: str) -> None:
        (self._directory / "rules.yml").write_text(rules_at_test_speed(without))
        jobs = {host.job: [] for host in self.hosts.values()}
        for host in self.hosts.values():
            target = {"instance": host.name, **labels}
            jobs[host.job].append({"targets": [f"{host.address}:9100"], "labels": target})
        config = {  # JSON is YAML
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": targets} for job, targets in jobs.items()
            ],
        }
        (self._directory / "prometheus.yml").write_text(json.dumps(config))

    def _is_ready(self, address: str) -> bool:
        try:
            return bool(self.get("rules", address=address)["groups"])
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
        return prometheus_api.ask(path, **parameters)

    def query(self, promql: str) -> list[dict]:
        return self.get("query", query=promql)["result"]

    def query_range(self, promql: str, start: float, step: float = 1) -> list[dict]:
        data = self.get("query_range", query=promql, start=start, end=time.time(), step=step)
        return data["result"]

    def firing(self, address: str = prometheus_api.ADDRESS) -> set[tuple[str, str]]:
        """(alert, instance)"""
        return _alerts(self.get("query", address=address, query=FIRING)["result"])

    def fired_since(self, start: float, address: str = prometheus_api.ADDRESS) -> set[tuple[str, str]]:
        data = self.get("query_range", address=address, query=FIRING, start=start, end=time.time(), step=1)
        return _alerts(data["result"])


FIRING = 'ALERTS{alertstate="firing"}'


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

# The last rule drops, and not the policy: a flush leaves port 9100 open.
_WEB_FILTER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:services - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 9100 -m comment --comment "node_exporter" -j ACCEPT
-A INPUT -j services
-A INPUT -p udp -m udp --dport 9 -m comment --comment worm -j DROP
-A INPUT -p udp -m udp --dport 7 -m comment --comment "\\"-j DROP\\" is rude" -j REJECT
-A INPUT -j DROP
-A services -p udp -m udp --dport 53 -m comment --comment "name server" -j ACCEPT
-A services -p tcp -m tcp --dport 443 -m comment --comment "nobody comes here" -j ACCEPT
COMMIT
"""

_WEB_FILTER6 = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 23 -j DROP
COMMIT
"""

_NAT = """*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
"""

_DOCKER_FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:f2b-sshd - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -p tcp -m tcp --dport 9100 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 8443 -j ACCEPT
-A INPUT -m set --match-set bans src -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd
-A INPUT -j KUBE-FIREWALL
-A FORWARD -o docker0 -j DOCKER
-A KUBE-FIREWALL -p udp -m udp --dport 9 -m comment --comment -j -j DROP
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

_BANS = "create bans hash:ip\n" + "".join(f"add bans 192.0.{n // 250}.{n % 250}\n" for n in range(5000))

# What daemons write is not in the hash.
_WITHOUT_DAEMONS = '--hash {chain!~"DOCKER.*|FORWARD|POSTROUTING|f2b-.*"}'


def a_fleet(servers: Sequence[Sequence[str]] = (("prometheus",),)) -> Fleet:
    """Three web servers as the package has it, a database with two runs, and one whose daemons write
    rules all day long."""
    packaged = {"iptables.prom": "--family ipv4,ipv6 --backend legacy,nft"}
    web = {"iptables-nft": _WEB_FILTER + _NAT, "ip6tables-nft": _WEB_FILTER6}
    database = {
        "iptables.prom": "--family ipv4 --sum-by table,chain,target",
        "iptables6.prom": "--family ipv6",
    }
    docker = {"iptables.prom": f"--family ipv4 {_WITHOUT_DAEMONS}"}
    fleet = Fleet(
        [
            *(Host(n, f"web-{n}", "web", packaged, web) for n in (1, 2, 3)),
            Host(4, "db-1", "db", database, {
                "iptables-nft": _DATABASE_FILTER, "ip6tables-nft": _WEB_FILTER6,
            }),
            Host(5, "docker-1", "docker", docker, {"iptables-nft": _DOCKER_FILTER + _NAT}, _BANS),
        ],
        servers,
    )  # fmt: skip
    fleet.hosts["docker-1"].traffic = {DISCARD: 1}
    return fleet
