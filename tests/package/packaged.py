"""What the tests of packages share: a machine with node_exporter, rules, and what the page shows of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from machine import Machine

SOURCES = Path(__file__).resolve().parents[2]
OUTPUT_DIRECTORY = "/run/iptables_exporter"
LINK = "/var/lib/prometheus/node-exporter/iptables.prom"
SERVICE = "iptables_exporter.service"
TIMER = "iptables_exporter.timer"
RULESETS = [(family, backend) for family in ("ipv4", "ipv6") for backend in ("legacy", "nft")]

directory = Path("/mnt")  # in our own mount namespace: a tmpfs, and nothing to clean up


def new_machine(name: str, lower: Path, package: Path) -> Machine:
    """With the package as /root/new.SUFFIX."""
    machine = Machine(directory / name, lower)
    root = machine.root
    shutil.copy(package, root / f"root/new{package.suffix}")
    (root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
    (root / "etc/fstab").write_text("")
    # No services of the machine below but node_exporter.
    for wants in (root / "etc/systemd/system").glob("*.wants"):
        for unit in wants.iterdir():
            if unit.name != "prometheus-node-exporter.service":
                unit.unlink()
    return machine


def add_rules(machine: Machine) -> None:
    """One rule a source that has counted something."""
    for family, backend in RULESETS:
        command = f"{'ip6tables' if family == 'ipv6' else 'iptables'}-{backend}"
        rule = f"-p udp --dport 9 -m comment --comment {family}-{backend}"
        machine.run(f"{command} -A OUTPUT {rule}")
    machine.run("bash -c 'echo >/dev/udp/127.0.0.1/9; echo >/dev/udp/::1/9'")


def shows_rule(page: str, family: str, backend: str) -> bool:
    rule = f"-p udp -m udp --dport 9 -m comment --comment {family}-{backend}"
    labels = f'backend="{backend}",chain="OUTPUT",family="{family}",rule="{rule}",table="filter"'
    return bool(re.search(f"^iptables_rule_packets_total{{{labels}}} [1-9]", page, re.MULTILINE))


def shows_all_rules(machine: Machine) -> bool:
    page = machine.page()
    return all(shows_rule(page, *source) for source in RULESETS)


def has(machine: Machine, series: str) -> bool:
    """Whether the page has this line, which begins with iptables_."""
    return f"iptables_{series}\n" in machine.page()


def modified(machine: Machine) -> float:
    found = re.search(rf'^node_textfile_mtime_seconds{{file="{LINK}"}} (\S+)', machine.page(), re.M)
    return float(found[1]) if found else 0.0


def drop_in(machine: Machine, unit: str, text: str) -> None:
    path = machine.root / f"etc/systemd/system/{unit}.d/test.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def collect(machine: Machine) -> None:
    """A run that begins now: the first start may be one of the timer's that is already under way."""
    machine.run(f"systemctl start {SERVICE}; systemctl start {SERVICE}")


def names(machine: Machine) -> set[str]:
    """All that is ours by its name: files, the user and the group."""
    # What man has formatted is man's; the rest is of whoever works on the machine below.
    others = " -o ".join(f"-path '{path}'" for path in (SOURCES, "/tmp", "/var/cache/man", "/var/tmp"))
    ours = r"\( -iname '*iptables?exporter*' -o -name 'iptables*.prom' \)"
    # Its complaints are of directories that other tests remove meanwhile.
    found = machine.output(
        rf"find / /run -xdev \( {others} \) -prune -o {ours} -print 2>/dev/null || :"
    )
    users = machine.output("getent passwd; getent group")
    return set(found.split()) | {line for line in users.split() if "iptables" in line}


def program_of(package: Path, target: Path) -> Path:
    """Unpacks it as who installs it does."""
    target.mkdir()
    if package.suffix == ".deb":
        subprocess.run(["dpkg-deb", "--extract", package, target], check=True)
    elif package.suffix == ".rpm":
        files = subprocess.check_output(["rpm2cpio", package])
        subprocess.run(["cpio", "-id", "--quiet"], cwd=target, input=files, check=True)
    else:
        subprocess.run(["tar", "-C", target, "-xf", package], check=True)
    [program] = target.rglob("bin/iptables_exporter")
    return program
