"""The image and compose.yaml, as who reads contrib/container/README.md uses them, with a real Docker.

Docker and Compose are Debian's, in a root and in namespaces of their own. So is the node_exporter: its
image's name is compose.yaml's, its program Debian's, for there is no registry.
"""

from __future__ import annotations

import ctypes
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import time
import unittest
from pathlib import Path

import manifests
import support
from machine import mount, remove_cgroup
from manifests import CONTAINER
from oracle import labels, read_metrics
from support import eventually, executable, netfilter, private_namespaces, value

SOURCES = CONTAINER.parents[1]
SCRATCH = Path("/mnt")  # a tmpfs in our own mount namespace: nothing to clean up
ROOT = SCRATCH / "docker"
LOCK = ROOT / manifests.LOCK.lstrip("/")
NODE_EXPORTER = manifests.load("compose.yaml")["services"]["node_exporter"]["image"]
CGROUP = SCRATCH / f"cgroup/iptables_exporter-test-compose-{os.getpid()}"
JOIN = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
# In namespaces of its own, with the root as its own. Only a group without processes has controllers for
# those below.
DAEMON = """
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir sys/fs/cgroup/daemon
echo $$ >sys/fs/cgroup/daemon/cgroup.procs
ip link set lo up
exec chroot . dockerd --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs >log 2>&1
"""

daemon: subprocess.Popen[bytes]


def prepare() -> None:
    """Docker's root, the daemon, and a command `docker` that speaks to it; while there is a network."""
    clone_newns = 0x00020000
    if ctypes.CDLL(None).unshare(clone_newns) != 0:
        raise OSError("unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    mount("tmpfs", SCRATCH, "mode=755")
    packages = ["docker.io", "docker-cli", "docker-compose", "prometheus-node-exporter"]
    subprocess.run([SOURCES / "contrib/debian-root", "trixie", ROOT, *packages], check=True, capture_output=True)
    subprocess.run(["mount", "--bind", ROOT, ROOT], check=True)
    subprocess.run(["mount", "--make-shared", ROOT], check=True)  # for rslave
    for name in ("sys", "root", SOURCES):
        (ROOT / str(name).lstrip("/")).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", SOURCES, ROOT / str(SOURCES).lstrip("/")], check=True)
    subprocess.run(["mount", "--rbind", "/dev", ROOT / "dev"], check=True)


def start_daemon() -> None:
    global daemon
    mount("cgroup2", SCRATCH / "cgroup")
    CGROUP.mkdir()
    unshare = ["unshare", "--net", "--pid", "--cgroup", "--fork", "--kill-child"]
    daemon = subprocess.Popen(["sh", "-ec", JOIN, "join", CGROUP, *unshare, "sh", "-ec", DAEMON], cwd=ROOT)
    command = f'#!/bin/sh\nexec unshare --root={ROOT} --wd="$PWD" docker "$@"\n'
    os.environ["PATH"] = f"{executable(SCRATCH / 'bin/docker', command).parent}:{os.environ['PATH']}"
    eventually(lambda: docker_says("version").returncode == 0, lambda: (ROOT / "log").read_text())


def docker_says(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], cwd=SOURCES, capture_output=True, text=True)


def docker(*arguments: str) -> str:
    done = docker_says(*arguments)
    if done.returncode != 0:
        raise AssertionError(f"docker {arguments}: {done.stdout}{done.stderr}")
    return done.stdout


def import_node_exporter() -> None:
    """What it needs to run, as the image that compose.yaml names."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        libraries = ROOT.glob("usr/lib*/**/*.so*")
        for path in [*map(ROOT.joinpath, ("lib", "lib64", "usr/bin/prometheus-node-exporter")), *libraries]:
            if re.match(r"(lib|lib64|prometheus.*|ld-linux.*|lib(c|resolv)\.so.*)$", path.name):
                tar.add(path, path.relative_to(ROOT), recursive=False)
    changes = ["--change", 'ENTRYPOINT ["/usr/bin/prometheus-node-exporter"]', "--change", "USER 65534"]
    subprocess.run(["docker", "import", *changes, "-", NODE_EXPORTER], input=archive.getvalue(), check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def in_network(*command: str | bytes) -> bytes:
    [child] = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    return subprocess.check_output(["nsenter", f"--net=/proc/{child}/ns/net", *command])


def page() -> bytes:
    """What node_exporter serves of textfiles; empty while it does not."""
    get = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
    served = in_network("sh", "-c", f'{sys.executable} -c "{get}" 2>/dev/null || :')
    return b"".join(re.findall(rb"^(?:# \w+ )?(?:iptables|node_textfile)_.*\n", served, re.MULTILINE))


class Compose(unittest.TestCase):
    def compose(self, *arguments: str, file: Path = CONTAINER / "compose.yaml") -> subprocess.CompletedProcess[str]:
        return docker_says("compose", "--file", str(file), *arguments)

    def up(self, file: Path = CONTAINER / "compose.yaml") -> None:
        self.addCleanup(self.compose, "down", "--volumes", "--timeout=1", file=file)
        done = self.compose("up", "--detach", file=file)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_up(self) -> None:
        for command in ("iptables-nft", "ip6tables-legacy"):
            in_network(command, "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "ACCEPT")
        in_network("bash", "-c", "echo >/dev/udp/127.0.0.1/9")
        self.up()
        eventually(lambda: b"iptables_scrape_success" in page(), lambda: docker("ps", "--all"))
        served = read_metrics(page())
        for family in ("ipv4", "ipv6"):
            for backend in ("nft", "legacy"):
                source = labels(backend=backend, family=family)
                self.assertEqual(value(served, "iptables_scrape_success", source), "1")
        rule = labels(chain="OUTPUT", rule="-p udp -m udp --dport 9 -j ACCEPT", table="filter", backend="nft", family="ipv4")
        self.assertEqual(value(served, "iptables_rule_packets_total", rule), "1")
        self.assertEqual(value(served, "node_textfile_scrape_error"), "0")
        logs = self.compose("logs", "iptables_exporter")
        self.assertEqual((logs.stdout, logs.stderr), ("", ""))

    def test_lock_file_is_not_made(self) -> None:
        """With the lines that are comments."""
        file = SOURCES / "build/container/compose.yaml"
        file.write_text(manifests.text_of("compose.yaml", with_lock=True))
        self.addCleanup(file.unlink)
        self.addCleanup(self.compose, "down", "--volumes", "--timeout=1", file=file)
        done = self.compose("up", "--detach", file=file)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(manifests.LOCK, done.stderr)
        self.assertFalse(LOCK.exists())
        LOCK.touch(0o600)
        self.addCleanup(LOCK.unlink)
        self.up(file)
        eventually(lambda: b"iptables_scrape_success" in page(), lambda: docker("ps", "--all"))
        self.assertEqual(stat.S_IMODE(LOCK.stat().st_mode), 0o600)


if __name__ == "__main__":
    os.environ["PATH"] = support.SYSTEM_PATH
    for requirement in (private_namespaces, netfilter):
        if reason := requirement():
            print(f"skipped: {reason}")
            sys.exit(support.SKIPPED)
    prepare()
    start_daemon()
    try:
        storage = ["--root", SCRATCH / "storage", "--runroot", SCRATCH / "run", "--storage-driver", "vfs"]
        built = subprocess.run([CONTAINER / "build", "trixie", *storage], capture_output=True, text=True)
        if built.returncode != 0 or "Made it known to Docker" not in built.stdout:
            sys.exit(built.stdout + built.stderr)
        import_node_exporter()
        unittest.main(verbosity=2)
    finally:
        daemon.kill()
        daemon.wait()
        remove_cgroup(CGROUP)
