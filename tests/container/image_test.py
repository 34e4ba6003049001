"""The image, run in namespaces as the manifests say, beside the real node_exporter.

Its files and what it executes are those of the image; what a container runtime does is done here.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import manifests  # noqa: E402
import support  # noqa: E402
from manifests import CONTAINER, Mount, Service  # noqa: E402
from oracle import labels, read_metrics  # noqa: E402
from served_case import ServedCase  # noqa: E402
from support import eventually, mounted, netfilter, node_exporter, private_namespaces, sees_all_locks, value  # noqa: E402

MOUNT = Path("/mnt")  # a tmpfs in our own mount namespace: nothing to clean up
CAPABILITIES = {"DAC_OVERRIDE": 1, "NET_ADMIN": 12, "NET_RAW": 13}
LOCK = Path(manifests.LOCK)
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38

CAPABILITY_HEADER = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
libc = ctypes.CDLL(None, use_errno=True)


def capability_sets(names: set[str]) -> bytes:
    """Effective and permitted, none inheritable, as capset(2) takes them."""
    bits = sum(1 << CAPABILITIES[name] for name in names)
    return struct.pack("6I", bits, bits, 0, 0, 0, 0)


def connectable() -> list[str]:
    found = []
    for directory, below, names in os.walk("/"):
        if directory == "/":
            below[:] = set(below) - {"dev", "proc"}
        for path in (os.path.join(directory, name) for name in names):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                    found.append(path)
    return found


def make_image() -> None:
    """In a mount namespace of our own, but while there is a network."""
    clone_newns = 0x00020000
    if libc.unshare(clone_newns) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", MOUNT], check=True)
    storage = ["--root", MOUNT / "storage", "--runroot", MOUNT / "run", "--storage-driver", "vfs"]
    built = subprocess.run([CONTAINER / "build", "trixie", *storage], capture_output=True, text=True)
    if built.returncode != 0:
        sys.exit(built.stdout + built.stderr)

    def buildah(*arguments: str) -> str:
        return subprocess.check_output(["buildah", *storage, *arguments], text=True).strip()

    (MOUNT / "config").write_text(buildah("inspect", "--type", "image", "localhost/iptables_exporter"))
    container = buildah("from", "--pull-never", "localhost/iptables_exporter")
    shutil.copytree(buildah("mount", container), MOUNT / "image", symlinks=True)


class Image(ServedCase):
    def setUp(self) -> None:
        super().setUp()
        for command in ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"):
            self.network.run(command, "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "ACCEPT")
        self.network.send_udp(9, b"x" * 72)

    @contextlib.contextmanager
    def contained(self, service: Service) -> Iterator[Callable[[], None]]:
        """What a process is to do to be in that container: the mounts are made, the rest is its own."""
        self.assertTrue(service.is_in_hosts_network)
        with contextlib.ExitStack() as mounts:
            layer = Path(tempfile.mkdtemp(dir=MOUNT))
            root, upper, work = (layer / name for name in ("root", "upper", "work"))
            for directory in (root, upper, work):
                directory.mkdir()
            overlay = f"lowerdir={MOUNT}/image,upperdir={upper},workdir={work}"
            mounts.enter_context(mounted(root, "-t", "overlay", "-o", overlay, "overlay"))
            for where, mount in service.mounts.items():
                source = self.source_of(mount)
                if mount.made and not source.exists():
                    source.mkdir() if mount.made == "directory" else source.touch(0o644)
                # What a runtime makes: the mount points.
                target = root / where.lstrip("/")
                target.mkdir(exist_ok=True) if source.is_dir() else target.touch()
            if service.is_read_only:
                subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
            mounts.enter_context(mounted(root / "proc", "-t", "proc", "proc"))
            mounts.enter_context(mounted(root / "dev", "--bind", "/dev"))
            for where, mount in service.mounts.items():
                target = root / where.lstrip("/")
                mounts.enter_context(mounted(target, "--bind", str(self.source_of(mount))))
                if not mount.is_writable:
                    subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)

            def enter() -> None:
                os.chroot(root)
                os.chdir("/")
                for number in range(64):
                    is_kept = number in {CAPABILITIES[name] for name in service.capabilities}
                    if not is_kept and libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1:
                        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
                # Of a process that only forks, not executes.
                if libc.capset(CAPABILITY_HEADER, capability_sets(service.capabilities)) != 0:
                    raise OSError(ctypes.get_errno(), "capset")
                if not service.may_gain_privileges:
                    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

            yield enter

    def source_of(self, mount: manifests.Mount) -> Path:
        """The directory of textfiles is the test's own."""
        return Path(mount.source) if mount.source.startswith("/run") else self.target.parent

    @contextlib.contextmanager
    def started(self, service: Service, *before: str) -> Iterator[subprocess.Popen[bytes]]:
        config = json.loads((MOUNT / "config").read_text())["OCIv1"]["config"]
        environment = dict(variable.split("=", 1) for variable in config.get("Env", [])) | service.environment
        command = [*before, *config["Entrypoint"], *(service.arguments or config["Cmd"])]
        with self.contained(service) as enter, self.network.entered():
            process = subprocess.Popen(
                command, env=environment, preexec_fn=enter,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            try:
                yield process
            finally:
                process.kill()
                process.communicate()

    def ended(self, service: Service, *before: str) -> tuple[int, bytes, bytes]:
        with self.started(service, *before) as process:
            out, err = process.communicate(timeout=support.DEADLINE)
            return process.returncode, out, err

    def test_as_the_manifests_say(self) -> None:
        self.start_node_exporter()
        for service in (manifests.compose(), manifests.daemon_set()):
            self.target.unlink(missing_ok=True)
            with self.started(service) as process:
                eventually(self.target.exists, "a first page")
                served = self.served()
                for family in ("ipv4", "ipv6"):
                    for backend in ("nft", "legacy"):
                        source = {"backend": backend, "family": family}
                        self.assertEqual(value(served, "iptables_scrape_success", labels(**source)), "1")
                        rule = labels(chain="OUTPUT", rule="-p udp -m udp --dport 9 -j ACCEPT", table="filter", **source)
                        packets = value(served, "iptables_rule_packets_total", rule)
                        self.assertEqual(packets, "1" if family == "ipv4" else "0")
                    protected = value(served, "iptables_legacy_reads_protected", labels(backend="legacy", family=family))
                    self.assertEqual(protected, "0", "nothing of /run is mounted")
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=support.DEADLINE)
                self.assertEqual((process.returncode, err), (143, b""))

    def sockets_in_reach(self, service: Service) -> list[str]:
        """Those of /run, as the host calls them, to which whoever takes over the container can connect."""
        reading, writing = os.pipe()
        with self.contained(service) as enter:
            child = os.fork()
            if child == 0:
                try:
                    enter()
                    os.write(writing, "\n".join(connectable()).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            os.waitpid(child, 0)
        with open(reading) as found:
            return found.read().split()

    def test_no_socket_beside_is_in_reach(self) -> None:
        """As containerd's and docker's are: who connects to them is root on the host."""
        beside = Path("/run/containerd/containerd.sock")
        beside.parent.mkdir()
        self.addCleanup(shutil.rmtree, beside.parent)
        server = self.enterContext(socket.socket(socket.AF_UNIX))
        server.bind(str(beside))
        server.listen()
        beside.chmod(0o660)
        LOCK.touch(0o600)
        self.addCleanup(LOCK.unlink)
        for manifest in (manifests.compose, manifests.daemon_set):
            mounts = manifest().mounts | {"/run": Mount("/run", is_writable=False, made="")}
            self.assertEqual(self.sockets_in_reach(replace(manifest(), mounts=mounts)), [str(beside)])
            for with_lock in (False, True):
                self.assertEqual(self.sockets_in_reach(manifest(with_lock)), [])

    def test_lock_file_is_mounted_where_it_is(self) -> None:
        """Whoever can open a lock file can hold it, and keep all writers waiting: root's alone."""
        LOCK.unlink()  # of the rules above
        for manifest in (manifests.compose, manifests.daemon_set):
            self.assertFalse(LOCK.exists())
            service = manifest(with_lock=True)
            self.assertTrue(service.sees_hosts_processes, "or /proc/locks lacks their locks")
            self.assertRaises(subprocess.CalledProcessError, self.started(service).__enter__)
            self.assertFalse(LOCK.exists(), "nothing makes it")
            LOCK.touch(0o600)
            self.addCleanup(LOCK.unlink, missing_ok=True)
            status, _, err = self.ended(replace(service, environment={}))
            self.assertEqual((status, err), (0, b""))
            self.assertEqual(stat.S_IMODE(LOCK.stat().st_mode), 0o600)
            LOCK.unlink()
            self.target.unlink()

    def test_directory_of_textfiles_is_roots(self) -> None:
        """Or the container needs a capability more."""
        service = replace(manifests.daemon_set(), environment={})
        os.chown(self.target.parent, 65534, 65534)
        status, _, err = self.ended(service)
        self.assertEqual(status, 3, err)
        self.assertIn(b"Permission denied", err)
        self.assertEqual(self.ended(replace(service, capabilities=service.capabilities | {"DAC_OVERRIDE"}))[0], 0)

    def test_size(self) -> None:
        """What contrib/container/README.md says, and no more."""
        said = int(re.search(r"(\d+) MB", (CONTAINER / "README.md").read_text())[1])
        size = sum(path.lstat().st_size for path in (MOUNT / "image").rglob("*") if path.is_file())
        self.assertLess(size, 13e6)
        self.assertAlmostEqual(size / 1e6, said, delta=1)

    def test_once_and_to_stdout(self) -> None:
        status, out, err = self.ended(replace(manifests.compose(), arguments=[], environment={}))
        self.assertEqual((status, err), (0, b""))
        self.assertEqual(len(read_metrics(out)["iptables_scrape_success"].samples), 4)

    def test_what_fails_is_said_and_does_not_end_it(self) -> None:
        service = replace(manifests.compose(), capabilities=set(), environment={"PERIOD": "0.1"})
        with self.started(service) as process:
            lines = [process.stderr.readline() for _ in range(9)]
            process.terminate()
        self.assertGreater(sum(line == lines[0] for line in lines), 1, lines)
        self.assertRegex(lines[0], rb"^iptables_exporter: error: .* the command lacks CAP_NET_ADMIN")
        self.assertIn(b"iptables_scrape_success{", self.target.read_bytes())

    def test_what_does_not_heal_ends_it(self) -> None:
        service = replace(manifests.compose(), arguments=["--no-such-option"])
        self.assertEqual(self.ended(service)[0], 2)
        self.assertEqual(self.ended(replace(manifests.compose(), environment={"PERIOD": "soon"}))[0], 2)


if __name__ == "__main__":
    if "E2E_ISOLATED" not in os.environ and not (private_namespaces() or netfilter()):
        make_image()
    support.main(private_namespaces, netfilter, node_exporter, sees_all_locks, has_own_pids=False)
