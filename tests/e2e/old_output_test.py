"""The file that is replaced is read for its last success, whatever it is."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack

from fault_case import FaultCase
from oracle import read_metrics
from support import NOBODY, main, value

LAST_SUCCESS = "iptables_last_success_timestamp_seconds"


class OldOutput(FaultCase):
    """The old file is read for its last success, whatever it is."""

    def failed_last_success(self, before: tuple[str, ...] = ()) -> str | None:
        """What a failing run carries over."""
        self.fake("exit 1")
        run = self.export("-o", self.target, before=before)
        text = self.target.read_bytes()
        self.assert_collecting_failed(run, text)
        self.assert_only_target()
        family = read_metrics(text).get(LAST_SUCCESS)
        return family.samples[()] if family else None

    def test_carried_over_again_and_again(self) -> None:
        old = value(read_metrics(self.write_old_output()), LAST_SUCCESS)
        for _ in range(3):
            self.assertEqual(self.failed_last_success(), old)

    def test_none(self) -> None:
        self.assertIsNone(self.failed_last_success())
        self.assertIsNone(self.failed_last_success())

    def test_junk(self) -> None:
        """What its numbers may be is unit/output/last_success_test.cpp's."""
        for junk in (b"", b"\0" * 100_000, bytes(range(256)) * 100, b"\n%s x\n" % LAST_SUCCESS.encode()):
            with self.subTest(junk[-60:]):
                self.target.write_bytes(junk)
                self.assertIsNone(self.failed_last_success())

    def test_of_another_user(self) -> None:
        self.write_old_output()
        os.chown(self.target, 65534, 65534)
        self.assertIsNone(self.failed_last_success())

    def test_of_an_ordinary_user(self) -> None:
        """As in the package: not root, in a directory of its own."""
        os.chown(self.target.parent, 65534, 65534)
        self.assert_success(self.export("-o", self.target, before=NOBODY))
        old = value(read_metrics(self.target.read_bytes()), LAST_SUCCESS)
        for _ in range(2):
            self.assertEqual(self.failed_last_success(NOBODY), old)
            self.assertEqual(self.target.stat().st_uid, 65534)

    def test_of_root_for_an_ordinary_user(self) -> None:
        old = value(read_metrics(self.write_old_output()), LAST_SUCCESS)
        os.chown(self.target.parent, 65534, 65534)
        self.assertEqual(self.failed_last_success(NOBODY), old)

    def test_of_the_future(self) -> None:
        self.target.write_text(f"\n{LAST_SUCCESS} 99999999999\n")
        self.assertIsNone(self.failed_last_success())

    def test_fifo(self) -> None:
        """Whether it has nobody at its other end, or one who is silent, or one who says the right thing."""
        old = self.write_old_output()
        for text in (None, b"", old):
            self.target.unlink()
            os.mkfifo(self.target)
            with ExitStack() as writer:
                if text is not None:
                    fd = os.open(self.target, os.O_RDWR)
                    writer.callback(os.close, fd)
                    os.write(fd, text)
                self.assertIsNone(self.failed_last_success())
            self.assertTrue(self.target.is_file())

    def test_device_that_never_ends(self) -> None:
        """Read as a file, it would go on for ever."""
        os.mknod(self.target, stat.S_IFCHR | 0o644, os.stat("/dev/zero").st_rdev)
        with self.target.open("rb") as zeros:
            self.assertEqual(zeros.read(3), b"\0\0\0")
        self.assertIsNone(self.failed_last_success())
        self.assertTrue(self.target.is_file())

    def test_symlink_is_not_followed(self) -> None:
        """Not even to a good file."""
        self.write_old_output()
        good, fifo = self.directory / "good", self.directory / "fifo"
        self.target.parent.chmod(0o777)
        self.target.rename(good)
        os.mkfifo(fifo)
        for pointed_at in (good, fifo, "/dev/zero", "/dev/tty", self.target):
            with self.subTest(pointed_at):
                self.target.unlink(missing_ok=True)
                self.target.symlink_to(pointed_at)
                os.chown(self.target, 65534, 65534, follow_symlinks=False)  # or it is not replaced
                self.assertIsNone(self.failed_last_success())
                self.assertFalse(self.target.is_symlink())

    def test_huge(self) -> None:
        """Larger than memory may be; it is not read whole."""
        with self.target.open("wb") as file:
            file.truncate(1 << 40)
        self.assertIsNone(self.failed_last_success())


if __name__ == "__main__":
    main()
