"""The output file is whole or as it was: full disks, planted names, missing rights."""

from __future__ import annotations

import os
import subprocess

from fault_case import DUMP, FaultCase
from support import NOBODY, main, mode, mounted


class Target(FaultCase):
    """An output file that cannot be written, or that something else is in the place of."""

    def test_directory_missing(self) -> None:
        run = self.export("-o", self.directory / "missing" / "iptables.prom")
        self.assert_output_failed(run, str(self.directory / "missing"))
        self.assertFalse((self.directory / "missing").exists())

    def test_directory_is_a_file(self) -> None:
        run = self.export("-o", self.dump / "iptables.prom")
        self.assert_output_failed(run, str(self.dump))
        self.assertEqual(self.dump.read_bytes(), DUMP)

    def test_directory_removed_meanwhile(self) -> None:
        self.fake(f"rm -r {self.target.parent}; dump")
        run = self.export("-o", self.target)
        self.assert_output_failed(run, str(self.target.parent))
        self.assertFalse(self.target.parent.exists())

    def test_directory_that_may_be_written_but_not_read(self) -> None:
        os.chown(self.target.parent, 65534, 65534)
        self.target.parent.chmod(0o300)
        self.assert_success(self.export("-o", self.target, before=NOBODY))
        self.assert_whole(self.target.read_bytes())

    def test_read_only(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "none"):
            old = self.write_old_output()
            subprocess.run(["mount", "-o", "remount,ro", self.target.parent], check=True)
            run = self.export("-o", self.target)
            self.assert_old_output_stands(run, old, str(self.target.parent), "Read-only")

    def test_full(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "-o", "size=64k", "none"):
            old = self.write_old_output()
            self.fake_large_dump()
            run = self.export("-o", self.target)
            self.assert_old_output_stands(run, old, str(self.target), "No space")

    def test_full_to_the_last_byte(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "-o", "size=64k", "none"):
            old = self.write_old_output()
            filler = self.target.parent / "filler"
            with self.assertRaises(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            for script in ("dump", "exit 1"):
                self.fake(script)
                run = self.export("-o", self.target)
                self.assertEqual(run.status, 3, run)
                self.assert_messages(run, str(self.target), "No space")
                self.assertEqual(self.target.read_bytes(), old)
                self.assert_only_target(["filler", "iptables.prom"])

    def test_out_of_inodes(self) -> None:
        with mounted(self.target.parent, "-t", "tmpfs", "-o", "nr_inodes=2", "none"):
            old = self.write_old_output_in_place()
            run = self.export("-o", self.target)
            self.assert_old_output_stands(run, old, str(self.target.parent), "No space")

    def write_old_output_in_place(self) -> bytes:
        """For where there is no room for a second file."""
        run = self.export()
        self.assert_success(run)
        self.target.write_bytes(run.out)
        return run.out

    def test_collecting_and_writing_fail(self) -> None:
        """Both are told; that nothing was written is what the status says."""
        self.fake("echo no luck today >&2; exit 1")
        run = self.export("-o", self.directory / "missing" / "iptables.prom")
        self.assertEqual(run.status, 3)
        self.assert_messages(run, "no luck today", str(self.directory / "missing"))
        self.assertEqual(run.err.count(b"\n"), 2)

    def test_target_is_a_directory(self) -> None:
        (self.target / "inside").mkdir(parents=True)
        run = self.export("-o", self.target)
        self.assert_output_failed(run, str(self.target))
        self.assertTrue((self.target / "inside").is_dir())
        self.assert_only_target()

    def test_planted_symlink_is_replaced_not_followed(self) -> None:
        self.target.parent.chmod(0o1777)
        pointed_at = self.directory / "precious"
        for kind in ("file", "nothing", "directory", "itself", "root's, into the same directory"):
            with self.subTest(kind):
                if kind == "file":
                    pointed_at.write_bytes(b"precious")
                elif kind == "directory":
                    pointed_at.mkdir()
                self.target.unlink(missing_ok=True)
                if kind.startswith("root's"):
                    self.target.symlink_to("other.prom")
                else:
                    self.target.symlink_to(self.target if kind == "itself" else pointed_at)
                    os.chown(self.target, 65534, 65534, follow_symlinks=False)
                self.assert_success(self.export("-o", self.target))
                self.assertFalse(self.target.is_symlink())
                self.assert_whole(self.target.read_bytes())
                self.assert_only_target()
                if kind == "file":
                    self.assertEqual(pointed_at.read_bytes(), b"precious")
                    pointed_at.unlink()
                elif kind == "nothing":
                    self.assertFalse(pointed_at.exists())
                elif kind == "directory":
                    self.assertEqual(os.listdir(pointed_at), [])

    def test_symlink_of_the_package_stays(self) -> None:
        """Replaced, it would serve one run's counters for ever."""
        served = self.directory / "run" / "iptables.prom"
        self.target.parent.chmod(0o777)
        for target, owner, before in (
            (served, 0, ()),
            ("../run/iptables.prom", 0, NOBODY),
            (served, 65534, NOBODY),
        ):
            with self.subTest(target=target, owner=owner):
                self.target.unlink(missing_ok=True)
                self.target.symlink_to(target)
                os.chown(self.target, owner, owner, follow_symlinks=False)
                run = self.export("-o", self.target, before=before)
                message = (
                    f"iptables_exporter: error: cannot replace {self.target}: it is a link to {target} "
                    "(write there, or remove the link); the old file stays as it is\n"
                )
                self.assertEqual((run.status, run.err.decode()), (3, message))
                self.assertEqual(os.readlink(self.target), str(target))
                self.assert_only_target()

    def test_symlinked_directory(self) -> None:
        (self.directory / "link").symlink_to(self.target.parent)
        self.assert_success(self.export("-o", self.directory / "link" / "iptables.prom"))
        self.assert_whole(self.target.read_bytes())
        self.assert_only_target()

    def test_relative_to_the_working_directory(self) -> None:
        self.assert_success(self.export("-o", "iptables.prom", cwd=self.target.parent))
        self.assert_whole(self.target.read_bytes())

    def test_owned_by_another(self) -> None:
        self.target.write_text("old")
        os.chown(self.target, 65534, 65534)
        self.target.chmod(0o600)
        self.assert_success(self.export("-o", self.target))
        self.assertEqual((self.target.stat().st_uid, mode(self.target)), (0, 0o644))
        self.assert_whole(self.target.read_bytes())

    def test_other_user_may_not_write(self) -> None:
        old = self.write_old_output()
        run = self.export("-o", self.target, before=NOBODY)
        self.assert_old_output_stands(run, old, str(self.target.parent), "Permission denied")

    def test_other_user_may_not_replace(self) -> None:
        """In a sticky directory, only the owner."""
        old = self.write_old_output()
        self.target.parent.chmod(0o1777)
        run = self.export("-o", self.target, before=NOBODY)
        self.assert_old_output_stands(run, old, str(self.target), "not permitted")

    def test_longest_name(self) -> None:
        """The temporary file's name must not be longer than the name it stands for may be."""
        name = "x" * 250 + ".prom"
        self.assert_success(self.export("-o", self.target.parent / name))
        self.assert_only_target([name])
        too_long = self.export("-o", self.target.parent / f"x{name}")
        self.assert_output_failed(too_long, "name too long")
        self.assert_only_target([name])


if __name__ == "__main__":
    main()
