"""Private machines: an init of their own in namespaces of their own, over an overlay of a root file
system. Nothing they do reaches the machine that runs the tests.

Call isolate() first: the mounts are made in a mount namespace that ends with the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support import SKIPPED, eventually

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def skip(reason: str) -> None:
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def isolate(*tools: str) -> None:
    os.environ["PATH"] = PATH
    if os.environ.pop("ISOLATED", None):
        return
    if os.geteuid() != 0:
        skip("needs root")
    for tool in ("unshare", "nsenter", "setpriv", "mount", "pivot_root", *tools):
        if not shutil.which(tool):
            skip(f"needs {tool}")
    namespaces = ["unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "--mount-proc"]
    probe = "ip link set lo up; mount -t tmpfs none /mnt; mount -t cgroup2 none /mnt"
    if subprocess.run([*namespaces, "sh", "-ec", probe], capture_output=True).returncode:
        skip("needs the right to make namespaces and to mount in them")
    os.environ["ISOLATED"] = "1"
    os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def mount(kind: str, target: Path, options: str = "defaults") -> None:
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", options, "none", target], check=True)


def remove_cgroup(cgroup: Path) -> None:
    """With those below, as soon as all processes in them have ended."""
    populated = cgroup / "cgroup.events"
    eventually(lambda: "populated 0" in populated.read_text(), "all processes have ended")
    for directory, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(directory)


# Read-only /proc/sys and /sys, and no capability for modules and the clock: the kernel is shared.
_START = """
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
mkdir run/host
pivot_root . run/host
umount -l /run/host
shift
exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog \
  env -i container=test PATH="$PATH" "$@" </dev/null >/dev/null 2>&1
"""


class Machine:
    def __init__(self, directory: Path, lower: Path):
        """`directory` is new, and the machine's own."""
        mount("tmpfs", directory)
        for name in ("upper", "work"):
            (directory / name).mkdir()
        self.root = directory / "root"
        overlay = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work"
        mount("overlay", self.root, overlay)
        mount("cgroup2", directory / "cgroup")
        self._cgroup = directory / f"cgroup/iptables_exporter-test-{directory.name}-{os.getpid()}"
        self._init: subprocess.Popen[bytes] | None = None
        self._pid = ""

    def start(self, *init: str) -> None:
        self._cgroup.mkdir()
        join = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
        namespaces = ["--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup"]
        unshare = ["unshare", *namespaces, "--fork", "--kill-child", "--"]
        command = ["sh", "-ec", join, "join", self._cgroup, *unshare]
        self._init = subprocess.Popen([*command, "sh", "-ec", _START, "start", self.root, *init])
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        eventually(lambda: children.read_text(), "a process in the new namespaces")
        self._pid = children.read_text().split()[0]
        comm = Path(f"/proc/{self._pid}/comm")
        eventually(lambda: comm.read_text().strip() == Path(init[0]).name, f"{init[0]} runs")

    def boot(self) -> None:
        self.start("/lib/systemd/systemd")
        states = {"running", "degraded"}
        state = "systemctl is-system-running"
        eventually(lambda: self.output(state, check=False).strip() in states, "systemd has booted")

    def stop(self) -> None:
        if self._init is None:
            return
        self._init.kill()
        self._init.wait()
        self._init = None
        remove_cgroup(self._cgroup)

    def _entered(self, *namespaces: str) -> list[str]:
        return ["nsenter", "--target", self._pid, *namespaces, "--"]

    def run(self, script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        enter = self._entered(*namespaces, "--root", "--wd")
        clean = ["env", "-i", f"PATH={PATH}", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        result = subprocess.run(
            [*enter, *clean, "sh", "-ec", script],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        )
        if check and result.returncode:
            raise AssertionError(f"exit status {result.returncode} of: {script}\n{result.stdout}")
        return result

    def output(self, script: str, check: bool = True) -> str:
        return self.run(script, check).stdout

    def page(self, port: int = 9100) -> str:
        """What node_exporter serves of textfiles; empty while it does not."""
        get = (
            "import urllib.request as request;"
            f"print(request.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
        )
        command = [*self._entered("--net"), sys.executable, "-c", get]
        page = subprocess.run(command, capture_output=True, text=True).stdout
        ours = ("iptables_", "node_textfile_")
        return "".join(line for line in page.splitlines(keepends=True) if line.startswith(ours))
