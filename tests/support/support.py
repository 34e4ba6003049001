"""What the tests stand on: private namespaces, the program, and real traffic.

A test file ends in `main(REQUIREMENT, ...)`. It then runs all of its tests in mount, PID and
network namespaces of its own, in which it may mount, leave processes behind and load rules, and
nothing of that reaches the machine. Where the machine cannot do that, none of them runs and the
exit status is 77.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from oracle import Family, Labels, read_metrics, without_comments

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SBIN = "/usr/sbin"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SKIPPED = 77

# Only for what must happen sooner or later: long enough for any machine, and no test waits it out.
DEADLINE = 120.0

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def eventually(condition: Callable[[], object], what: str | Callable[[], object]) -> None:
    """Waits until the condition holds; fails with `what`, or what it then returns, if it never does."""
    deadline = time.monotonic() + DEADLINE
    pause = 0.002
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came true: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(1.2 * pause, 0.25)


# --- what a test file needs -------------------------------------------------------------------


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=DEADLINE).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def private_namespaces() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("unshare", "setpriv", "prlimit", "mount", "ip"):
        if not shutil.which(tool):
            return f"needs {tool} (util-linux, iproute2)"
    if not _succeeds(*_UNSHARE, "true"):
        return "needs the right to make mount, PID and network namespaces"
    return None


def netfilter() -> str | None:
    for backend in ("nft", "legacy"):
        for tool in (f"iptables-{backend}", f"iptables-{backend}-save", f"iptables-{backend}-restore"):
            if not shutil.which(tool):
                return f"needs {tool} (iptables)"
        if not _succeeds("unshare", "--net", f"iptables-{backend}", "--wait", "-A", "INPUT"):
            return f"needs a kernel with netfilter for iptables-{backend}"
    if not _succeeds("unshare", "--net", "nft", "add", "table", "ip", "x"):
        return "needs nft (nftables)"
    return None


def node_exporter() -> str | None:
    return None if shutil.which("prometheus-node-exporter") else "needs prometheus-node-exporter"


def prometheus() -> str | None:
    missing = [tool for tool in ("prometheus", "promtool") if not shutil.which(tool)]
    return f"needs {missing[0]} (prometheus)" if missing else None


def syscall_injection() -> str | None:
    inject = ("strace", "-o/dev/null", "-einject=getpid:error=EPERM:when=999")
    return None if _succeeds(*inject, "true") else "needs strace, and the right to trace"


def no_sanitizer() -> str | None:
    if b"__asan_init" in Path(os.environ["IPTABLES_EXPORTER"]).read_bytes():
        return "needs a build without sanitizers"
    return None


def sees_all_locks() -> str | None:
    if os.stat("/proc/self/ns/pid").st_ino != 0xEFFFFFFC:
        return "needs the initial PID namespace, for the program trusts no other's /proc/locks"
    return None


_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def main(
    *requirements: Callable[[], str | None],
    run: Callable[[], object] = unittest.main,
    has_own_pids: bool = True,
) -> None:
    """`run` in private namespaces, or a skip that says why. Without PIDs of its own it is to end
    what it starts."""
    os.environ["PATH"] = SYSTEM_PATH
    if not os.access(os.environ.get("IPTABLES_EXPORTER", ""), os.X_OK):
        sys.exit("IPTABLES_EXPORTER must be the path of the program to test")
    if os.environ.pop("E2E_ISOLATED", None) is None:
        for requirement in (private_namespaces, *requirements):
            if reason := requirement():
                print(f"skipped: {reason}")
                sys.exit(SKIPPED)
        sys.stdout.flush()
        os.environ["E2E_ISOLATED"] = "1"
        unshare = _UNSHARE if has_own_pids else ("unshare", "--net", "--mount", "--")
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    # /run/xtables.lock is one for all network namespaces: other tests may hold it.
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    # Whatever started the tests may have had these ignored (nohup, a shell's &), and the program
    # keeps to that.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not the program itself: nobody might not get to where it was built.
    global EXPORTER
    with public_directory() as directory:
        EXPORTER = Path(shutil.copy2(os.environ["IPTABLES_EXPORTER"], directory / "iptables_exporter"))
        EXPORTER.chmod(0o755)
        run()


# --- the program ------------------------------------------------------------------------------

EXPORTER: Path  # set by main()

# What every run of the program is to bear: errors of the sanitizers, if it has them, as failures.
_SANITIZERS = {
    "ASAN_OPTIONS": "exitcode=99",
    "LSAN_OPTIONS": "exitcode=99",
    "UBSAN_OPTIONS": "exitcode=99",
}

# Non-root with what the README grants, as systemd's AmbientCapabilities= does.
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def nobody_with(*capabilities: str) -> tuple[str, ...]:
    listed = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return (*NOBODY, f"--inh-caps={listed}", f"--ambient-caps={listed}")


def environment(path: str = SYSTEM_PATH, **variables: str) -> dict[str, str]:
    return {"PATH": path, **_SANITIZERS, **variables}


class Run:
    """A run of the program that has ended."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status = status  # negative: the signal that killed it
        self.out = out
        self.err = err

    @property
    def metrics(self) -> dict[str, Family]:
        return read_metrics(self.out)

    def __repr__(self) -> str:
        return f"status {self.status}, stderr {self.err.decode('utf-8', 'replace')!r}"


def start(
    *arguments: str | Path,
    path: str = SYSTEM_PATH,
    before: Sequence[str] = (),
    variables: dict[str, str] | None = None,
    **popen: object,
) -> subprocess.Popen[bytes]:
    """Starts the program; `before` is a command line that ends by executing its arguments."""
    options: dict = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    options.update(popen)
    env = environment(path, **(variables or {}))
    if before:  # looked up here, so that `path` is for the program alone
        before = (shutil.which(before[0]) or before[0], *before[1:])
    return subprocess.Popen([*before, EXPORTER, *map(str, arguments)], env=env, **options)


def finish(process: subprocess.Popen[bytes]) -> Run:
    try:
        out, err = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()  # not for its pipes: somebody else may hold them
        raise AssertionError("the program does not end") from None
    return Run(process.returncode, out or b"", err or b"")


def run(*arguments: str | Path, **options: object) -> Run:
    return finish(start(*arguments, **options))  # type: ignore[arg-type]


class ExporterTestCase(unittest.TestCase):
    """A test case with a directory that everyone may enter, and words about the program's ends."""

    maxDiff = 4000

    def setUp(self) -> None:
        # A test that hangs fails, and says where.
        faulthandler.dump_traceback_later(5 * DEADLINE, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self.directory = self.enterContext(public_directory())
        self.target = self.directory / "textfile" / "iptables.prom"
        self.target.parent.mkdir()

    def _formatMessage(self, msg: object, standardMsg: str) -> str:
        """What was to be seen comes first: "4 != 3" tells nothing."""
        case = self._testMethodName.removeprefix("test_").replace("_", " ")
        what = ": ".join(filter(None, (type(self).__name__, case, self.shortDescription())))
        return "\n".join(str(line) for line in (f"wanted: {what}", msg, standardMsg) if line is not None)

    def assert_messages(self, run: Run, *parts: str) -> None:
        """stderr is lines of the program's own, printable, and has these parts."""
        text = run.err.decode("ascii")
        if run.err or parts:
            self.assertTrue(text.endswith("\n"), run)
        for line in text.splitlines():
            self.assertRegex(line, r"\Aiptables_exporter: (error|warning): [ -~]+\Z")
        for part in parts:
            self.assertIn(part, text)

    def assert_says(self, run: Run, *lines: str) -> None:
        """stderr is these lines, to the letter."""
        self.assertEqual(run.err.decode("ascii"), "".join(f"iptables_exporter: {line}\n" for line in lines))

    def assert_success(self, run: Run) -> None:
        self.assertEqual((run.status, run.err), (0, b""), run)

    def assert_collecting_failed(self, run: Run, text: bytes, *parts: str) -> None:
        """Exit status 1, one message, and in `text` the series of a failed source and no others."""
        self.assertEqual(run.status, 1, run)
        self.assert_messages(run, *parts)
        self.assertEqual(run.err.count(b"\n"), 1, run)
        self.assert_tells_failure(text)

    def assert_tells_failure(self, text: bytes) -> None:
        families = read_metrics(text)
        self.assertEqual(families["iptables_scrape_success"].samples, {(): "0"})
        self.assertLessEqual(
            set(families),
            {
                "iptables_exporter_build_info",
                "iptables_last_success_timestamp_seconds",
                "iptables_scrape_duration_seconds",
                "iptables_scrape_success",
            },
        )
        for family in families.values():
            self.assertEqual(len(family.samples), 1)

    def assert_output_failed(self, run: Run, *parts: str) -> None:
        """Exit status 3 and one message."""
        self.assertEqual(run.status, 3, run)
        self.assert_messages(run, *parts)
        self.assertEqual(run.err.count(b"\n"), 1, run)

    def assert_only_target(self, names: Sequence[str] = ("iptables.prom",)) -> None:
        self.assertEqual(sorted(os.listdir(self.target.parent)), sorted(names))

    def assert_no_process_left(self) -> None:
        try:
            eventually(lambda: not processes(), "all processes are gone")
        except AssertionError:
            left = processes()
            for pid in left:  # or every later test would fail too
                os.kill(pid, signal.SIGKILL)
            self.fail(f"left are {left}")


def value(families: dict[str, Family], name: str, labels: Labels = ()) -> str:
    return families[name].samples[labels]


def unshown(families: dict[str, Family], reason: str) -> dict[Labels, str]:
    """How many tables are not shown for this reason, by the other labels."""
    return {
        tuple(label for label in series if label[0] != "reason"): number
        for series, number in families["iptables_unshown_tables"].samples.items()
        if ("reason", reason) in series
    }


def filter_system_calls(program: Sequence[tuple[int, int, int, int]]) -> None:
    """By this BPF program over struct seccomp_data, in this process and what it starts."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_program = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    pr_set_seccomp, seccomp_mode_filter = 22, 2
    if _libc.prctl(pr_set_seccomp, seccomp_mode_filter, filter_program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


# --- directories, commands, processes ---------------------------------------------------------


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """A temporary directory that other users may enter and read."""
    with tempfile.TemporaryDirectory(prefix="iptables_exporter-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    """Mounts by `mount OPTIONS PATH`, seen by this test's namespace alone."""
    subprocess.run(["mount", *options, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def processes() -> dict[int, str]:
    """The living processes of the test's mount namespace other than the test itself."""
    found = {}
    mounts = os.stat("/proc/self/ns/mnt").st_ino
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has just ended
            state = (entry / "stat").read_text().rpartition(") ")[2][0]
            if state not in "ZX" and (entry / "ns/mnt").stat().st_ino == mounts:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
    return found


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "Tt"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- network namespaces -----------------------------------------------------------------------


class Network:
    """A network namespace of its own with `lo` up, and iptables on one backend in it.

    Its commands and sockets are in it, and so is what is done inside of `with network.entered():`.
    It goes with the last of them.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            if _libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            _set_network(home)
        finally:
            os.close(home)
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _set_network(self._fd)
            try:
                yield
            finally:
                _set_network(home)
        finally:
            os.close(home)

    def run(self, *command: str | bytes, stdin: bytes = b"") -> bytes:
        with self.entered():
            done = subprocess.run(command, input=stdin, capture_output=True, timeout=DEADLINE)
        if done.returncode != 0:
            raise AssertionError(f"{command!r} exited with {done.returncode}: {done.stderr!r}")
        return done.stdout

    def iptables(self, *arguments: str | bytes) -> None:
        self.run(f"iptables-{self.backend}", "--wait", *arguments)

    def restore(self, rules: bytes) -> None:
        self.run(f"iptables-{self.backend}-restore", "--counters", stdin=rules)

    def save(self) -> bytes:
        return self.run(f"iptables-{self.backend}-save", "-c")

    def export(self, *arguments: str | Path, **options: object) -> Run:
        with self.entered():
            return run(*arguments, **options)

    def export_when_quiet(self, *arguments: str | Path, **options: object) -> tuple[Run, bytes]:
        """A run during which no counter changed, and what iptables-save printed before and after."""
        deadline = time.monotonic() + DEADLINE
        after = self.save()
        while time.monotonic() < deadline:
            before = after
            result = self.export(*arguments, **options)
            after = self.save()
            if without_comments(before) == without_comments(after):
                return result, after
        raise AssertionError("the counters never stopped changing")

    # Traffic over loopback. Each returns when the kernel has counted its packets.

    def send_udp(self, port: int, *payloads: bytes) -> None:
        with self.entered(), socket.socket(type=socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", port))
            receiver.settimeout(DEADLINE)
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                for payload in payloads:
                    sender.sendto(payload, ("127.0.0.1", port))
                    receiver.recv(65536)

    def send_tcp(self, port: int, payload: bytes) -> None:
        with self.entered(), socket.create_server(("127.0.0.1", port)) as server:
            with socket.create_connection(("127.0.0.1", port)) as client:
                accepted, _ = server.accept()
                with accepted:
                    client.sendall(payload)
                    client.shutdown(socket.SHUT_WR)
                    while accepted.recv(65536):
                        pass

    def ping(self, count: int, payload: bytes) -> None:
        """ICMP echo requests, each answered by the kernel."""
        with self.entered(), socket.socket(type=socket.SOCK_RAW, proto=socket.IPPROTO_ICMP) as raw:
            raw.settimeout(DEADLINE)
            for sequence in range(count):
                raw.sendto(_echo_request(sequence, payload), ("127.0.0.1", 0))
                while raw.recv(65536)[20] != 0:  # the type: 0 is the reply
                    pass


def _set_network(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _echo_request(sequence: int, payload: bytes) -> bytes:
    def packet(checksum: int) -> bytes:
        header = (8 << 8, checksum, 1, sequence)
        return b"".join(word.to_bytes(2, "big") for word in header) + payload

    padded = packet(0) + b"\0" * (len(payload) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return packet(~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)


def path_to_backend(directory: Path, backend: str) -> str:
    """A PATH whose plain `iptables-save` is that backend's."""
    directory.mkdir(exist_ok=True)
    link = directory / "iptables-save"
    if not link.is_symlink():
        link.symlink_to(f"{SBIN}/xtables-{backend}-multi")
    return f"{directory}:/usr/bin:/bin"
