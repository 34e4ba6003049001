#!/usr/bin/env python3
"""Installs, upgrades and removes the rpm on a private machine with an empty database of rpm.

Usage: rpm_test.py BUILD_DIRECTORY [unittest's arguments]

The directory is what `cmake --workflow --preset check-rpm` has made.
"""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

from machine import Machine, isolate, mount
from packaged import SERVICE, TIMER, add_rules, collect, directory, has, names, new_machine, shows_all_rules
from support import eventually

SOURCES = Path(__file__).resolve().parents[2]
OPTIONS = "/etc/sysconfig/iptables_exporter"

build: Path


def pack(version: str | None = None) -> Path:
    """Anew from the build, or as another version."""
    target = directory / f"packed-{version}"
    subprocess.run(["cmake", "--preset", "check-rpm"], cwd=SOURCES, check=True, stdout=subprocess.DEVNULL)
    # The build may have made another package since, whose man page names other files.
    subprocess.run(["cmake", "--build", build], check=True, stdout=subprocess.DEVNULL)
    as_version = ["-R", version] if version else []
    subprocess.run(["cpack", "--config", build / "CPackConfig.cmake", "-B", target, *as_version],
                   cwd=build, check=True, capture_output=True)
    return only(target.glob("*.rpm"))


def only(paths) -> Path:
    [path] = paths
    return path


class Contents(unittest.TestCase):
    def test_rpmlint(self) -> None:
        command = ["rpmlint", "--config", SOURCES / "contrib/package/rpmlint.toml", rpm]
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertIn("0 errors, 0 warnings", result.stdout, result.stderr)
        self.assertEqual(result.returncode, 0)

    def test_the_same_bytes_when_packed_again(self) -> None:
        self.assertEqual(pack().read_bytes(), rpm.read_bytes())

    def test_it_needs_what_it_runs(self) -> None:
        needed = subprocess.check_output(["rpm", "--query", "--package", "--requires", rpm], text=True).split("\n")
        self.assertLessEqual({"iptables", "systemd"}, set(needed))
        said = "%{URL}\n[%{RECOMMENDNAME}\n]"
        url, recommended = subprocess.check_output(
            ["rpm", "--query", "--package", "--queryformat", said, rpm], text=True).splitlines()
        self.assertTrue(url.startswith("https://"), url)
        for name in ("golang-github-prometheus-node-exporter", "golang-github-prometheus-node_exporter"):  # Fedora, SUSE
            self.assertIn(name, recommended)


class Rpm(unittest.TestCase):
    machine: Machine

    @classmethod
    def setUpClass(cls) -> None:
        cls.machine = new_machine("rpm", Path("/"), rpm)
        cls.addClassCleanup(cls.machine.stop)
        cls.machine.boot()
        # As Fedora, RHEL and SUSE have it: what is installed does not run before somebody says so.
        cls.machine.run("mkdir -p /etc/systemd/system-preset; echo 'disable *' >/etc/systemd/system-preset/99.preset")
        add_rules(cls.machine)
        cls.names_before = names(cls.machine)

    def rpm(self, command: str) -> None:
        # iptables and systemd are there, but not in this database; Debian 12's rpm warns of using it.
        force = "$(rpm --force-debian --version >/dev/null 2>&1 && echo --force-debian)"
        self.machine.run(f"rpm {force} --nodeps {command}")

    def state(self) -> tuple[str, str]:
        return (self.machine.output(f"systemctl is-enabled {TIMER}", check=False).strip(),
                self.machine.output(f"systemctl is-active {TIMER}", check=False).strip())

    def test_1_install(self) -> None:
        self.rpm("--install /root/new.rpm")
        self.assertEqual(self.state(), ("disabled", "inactive"))
        self.assertEqual(self.machine.output("rpm --verify --nodeps iptables-exporter"), "")
        self.assertEqual(self.machine.output(f"systemd-analyze verify --man=no {SERVICE} {TIMER}"), "")
        self.machine.run(f"systemctl enable --now {TIMER}")
        eventually(lambda: shows_all_rules(self.machine), "rules of all sources after it was enabled")
        self.assertIn("node_textfile_scrape_error 0\n", self.machine.page())

    def test_2_upgrade(self) -> None:
        with (self.machine.root / OPTIONS.lstrip("/")).open("a") as file:
            file.write('ARGS=""\n')
        collect(self.machine)
        self.assertTrue(has(self.machine, "scrape_success 1"), "the options are read")
        (self.machine.root / "root/9.rpm").write_bytes(pack("9.0.0").read_bytes())
        self.rpm("--upgrade /root/9.rpm")
        self.assertEqual(self.state(), ("enabled", "active"))
        collect(self.machine)
        self.assertTrue(has(self.machine, "scrape_success 1"), "the options have survived")
        self.machine.run(f"systemctl disable --now {TIMER}")
        (self.machine.root / "root/10.rpm").write_bytes(pack("10.0.0").read_bytes())
        self.rpm("--upgrade /root/10.rpm")
        self.assertEqual(self.state(), ("disabled", "inactive"), "who has stopped it has stopped it")

    def test_3_remove(self) -> None:
        self.machine.run(f"systemctl enable --now {TIMER}")
        self.rpm("--erase iptables-exporter")
        self.assertEqual(self.state()[1], "inactive")
        page = self.machine.page()
        self.assertNotIn("iptables_", page)
        self.assertIn("node_textfile_scrape_error 0\n", page)
        left = names(self.machine) - self.names_before
        self.assertEqual({name.split(":")[0] for name in left}, {OPTIONS + ".rpmsave", "_iptables_exporter"})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    isolate("/lib/systemd/systemd", "prometheus-node-exporter", "iptables-legacy", "iptables-nft", "rpm", "rpmlint")
    build = Path(sys.argv.pop(1)).resolve()
    rpm = only(build.glob("iptables-exporter-*.rpm"))
    mount("tmpfs", directory)
    unittest.main(failfast=True, verbosity=2)
