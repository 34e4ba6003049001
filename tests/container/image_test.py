"""The image, run in namespaces as the manifests say, beside the real node_exporter.

Its files and what it executes are those of the image; what a container runtime does is done here.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import manifests  # noqa: E402
import support  # noqa: E402
from manifests import CONTAINER, Service  # noqa: E402
from oracle import labels, read_metrics  # noqa: E402
from served_case import ServedCase  # noqa: E402
from support import eventually, mounted, netfilter, node_exporter, private_namespaces, value  # noqa: E402

MOUNT = Path("/mnt")  # a tmpfs in our own mount namespace: nothing to clean up
CAPABILITIES = {"NET_ADMIN": 12, "NET_RAW": 13}
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38

libc = ctypes.CDLL(None, use_errno=True)


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
    def started(self, service: Service, *before: str) -> Iterator[subprocess.Popen[bytes]]:
        config = json.loads((MOUNT / "config").read_text())["OCIv1"]["config"]
        self.assertTrue(service.is_hosts)
        with contextlib.ExitStack() as mounts:
            root = self.directory / "root"
            root.mkdir(exist_ok=True)
            mounts.enter_context(mounted(root, "--bind", str(MOUNT / "image")))
            # What a runtime makes: the mount points.
            for where in service.mounts:
                (root / where.lstrip("/")).mkdir(exist_ok=True)
            if service.is_read_only:
                subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
            mounts.enter_context(mounted(root / "proc", "-t", "proc", "proc"))
            mounts.enter_context(mounted(root / "dev", "--bind", "/dev"))
            for where, (what, is_writable) in service.mounts.items():
                what = str(self.target.parent) if where == "/textfile" else what
                mounts.enter_context(mounted(root / where.lstrip("/"), "--bind", what))
                if not is_writable:
                    subprocess.run(["mount", "-o", "remount,bind,ro", root / where.lstrip("/")], check=True)

            def confine() -> None:
                os.chroot(root)
                os.chdir("/")
                for number in range(64):
                    is_kept = number in {CAPABILITIES[name] for name in service.capabilities}
                    if not is_kept and libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1:
                        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
                if not service.may_gain_privileges:
                    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

            environment = dict(variable.split("=", 1) for variable in config.get("Env", [])) | service.environment
            arguments = service.arguments or config["Cmd"]
            with self.network.entered():
                process = subprocess.Popen(
                    [*before, *config["Entrypoint"], *arguments], env=environment, preexec_fn=confine,
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
                    self.assertEqual(protected, "1")
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=support.DEADLINE)
                self.assertEqual((process.returncode, err), (143, b""))

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
    support.main(private_namespaces, netfilter, node_exporter)
