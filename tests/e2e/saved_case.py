"""A host whose boot loads files, and iptables_exporter-saved on it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import unittest.mock
from pathlib import Path

import support
from oracle import Labels, read_metrics
from support import SYSTEM_PATH, ExporterTestCase, Network, executable, mounted

SCRIPT = Path(__file__).resolve().parents[2] / "contrib/systemd/iptables_exporter-saved"
ALL = ("--family", "ipv4,ipv6", "--backend", "legacy,nft")
SAVED = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
-A INPUT -p tcp --dport ssh -s 192.0.2.1 -j ACCEPT
COMMIT
"""
# As Debian's: it ends with 0 where nothing was loaded.
PLUGIN = """\
[ -f /etc/iptables/rules.v{version} ] || exit 0
if ! {command} --test </etc/iptables/rules.v{version}; then
    echo "Error: IPv{version} rules failed test load. New rules NOT loaded"
    exit
fi
{command} </etc/iptables/rules.v{version}
"""


class SavedCase(ExporterTestCase):
    """The host is self.network; /etc is a copy of the machine's. At first, netfilter-persistent is enabled and
    what it loads is running."""

    backend = "nft"

    def setUp(self) -> None:
        # What loads has a /tmp of its own.
        self.enterContext(mounted(Path("/srv"), "-t", "tmpfs", "none"))
        self.enterContext(unittest.mock.patch.object(tempfile, "tempdir", "/srv"))
        super().setUp()
        self.network = self.enterContext(Network(self.backend))
        self.copy("/etc")
        self.etc("rc2.d/S01netfilter-persistent", "")
        self.bin = self.directory / "prefix/bin"
        self.plugins = self.directory / "plugins"
        self.script = self.directory / "prefix/libexec/iptables_exporter-saved"
        for directory in (self.bin, self.script.parent):
            directory.mkdir(parents=True)
        shutil.copy2(support.EXPORTER, self.bin)
        shutil.copy2(SCRIPT, self.script)
        for family in ("ip", "ip6"):
            # Plain iptables is of the host's backend.
            for end in ("", "-restore", "-save"):
                (self.bin / f"{family}tables{end}").symlink_to(f"/usr/sbin/xtables-{self.backend}-multi")
        self.command("netfilter-persistent", f"[ $1 = start ] && run-parts -v -a start {self.plugins}")
        for name, version, command in (("15-ip4tables", 4, "iptables-restore"), ("25-ip6tables", 6, "ip6tables-restore")):
            script = PLUGIN.format(version=version, command=command)
            executable(self.plugins / name, f"#!/bin/sh\nset -e\n{script}")
        self.rules = self.etc("iptables/rules.v4", SAVED)
        self.network.restore(SAVED.encode())
        self.page = Path("/run/iptables_exporter-saved/iptables_saved.prom")
        shutil.rmtree(self.page.parent, ignore_errors=True)

    def copy(self, directory: str) -> None:
        """Changes of the directory reach nobody else."""
        layers = self.directory / directory.replace("/", "-")
        layers.mkdir()
        self.enterContext(mounted(layers, "-t", "tmpfs", "none"))
        for name in ("upper", "work"):
            (layers / name).mkdir()
        options = f"lowerdir={directory},upperdir={layers}/upper,workdir={layers}/work"
        self.enterContext(mounted(Path(directory), "-t", "overlay", "-o", options, "none"))

    def etc(self, name: str, text: str) -> Path:
        path = Path("/etc") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def command(self, name: str, text: str) -> Path:
        """Puts it before the host's own of that name."""
        (self.bin / name).unlink(missing_ok=True)
        return executable(self.bin / name, f"#!/bin/sh\n{text}\n")

    def look(self, *options: str, before: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
        """What the timer starts."""
        env = {**support.environment(f"{self.bin}:{SYSTEM_PATH}"), **variables}
        with self.network.entered():
            return subprocess.run([*before, self.script, self.page, *(options or ALL)], env=env, capture_output=True,
                                  text=True, stdin=subprocess.DEVNULL, timeout=support.DEADLINE)  # fmt: skip

    def rehearse(self, *options: str, **variables: str) -> None:
        """Without a word."""
        done = self.look(*options, **variables)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def rehearse_saying(self, *parts: str, **variables: str) -> None:
        """What does not load is told in one line, and will not be there after a reboot."""
        done = self.look(**variables)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_one_line(done.stderr, *parts)

    def assert_one_line(self, text: str, *parts: str) -> None:
        self.assertRegex(text, r"\Aiptables_exporter-saved: error: [ -~]+\n\Z")
        for part in parts:
            self.assertIn(part, text)

    def assert_nobody_knows(self, *parts: str, before: tuple[str, ...] = (), **variables: str) -> None:
        """The run fails with one line, and the page says nothing any more."""
        self.page.parent.mkdir(exist_ok=True)
        self.page.write_text("iptables_saved_rules 1\n")
        failed = self.look(before=before, **variables)
        self.assertEqual(failed.returncode, 1, failed.stderr)
        self.assert_one_line(failed.stderr, *parts)
        self.assertEqual(self.page.read_text(), "")

    def saved(self, name: str = "ruleset_hash") -> dict[Labels, str]:
        return read_metrics(self.page.read_bytes())[f"iptables_saved_{name}"].samples

    def differing(self, *options: str) -> set[str]:
        """Tables of the host whose hash a reboot would change, as "filter" or, of IPv6, "ipv6 filter"."""
        running = self.network.export(*(options or ALL)).metrics["iptables_ruleset_hash"].samples
        saved = self.saved()
        self.assertTrue(running)
        self.assertEqual(set(running) - set(saved), set(), "nothing that runs is unknown")
        tables = [dict(labels) for labels, value in running.items() if saved[labels] != value]
        return {("" if of.get("family", "ipv4") == "ipv4" else "ipv6 ") + of["table"] for of in tables}
