"""What is said on stderr, to the letter."""

from __future__ import annotations

from pathlib import Path

from fault_case import DUMP, FaultCase, sh
from support import NOBODY, executable, main


class Messages(FaultCase):
    """One of each kind, to the letter: what else is said, or left out, is noticed."""

    def assert_failure_says(self, line: str, *arguments: str | Path, **options: object) -> None:
        with self.subTest(line):
            run = self.export(*arguments, **options)
            self.assert_collecting_failed(run, run.out)
            means = "" if "no counters are written" in line else "; no counters are written"
            self.assert_says(run, f"error: {line}{means}")

    def test_of_how_a_command_ended(self) -> None:
        """To root no hint is given about capabilities."""
        for script, line in (
            ("exit 1", "iptables-save exited with status 1"),
            (r"printf 'one\n\n\rtwo\n' >&2; exit 4", r"iptables-save exited with status 4: one; \x0dtwo"),
            ("echo why >&2; kill -KILL $$", "iptables-save was killed by signal 9 (Killed): why"),
            ("echo junk", "iptables-save: line 1: expected a line of iptables-save -c: junk"),
            ("echo '*filter'", "iptables-save: the dump is cut off: table filter of line 1 has no COMMIT"),
        ):
            self.fake(script)
            self.assert_failure_says(line)
        self.fake("echo why >&2; sleep 1000")
        self.assert_failure_says(
            "iptables-save did not end within 0.5 seconds (--timeout) and was killed: why", "--timeout", "0.5"
        )

    def test_of_commands_that_cannot_be_run(self) -> None:
        executable(self.bin / "iptables-save", "#!/nonexistent/interpreter\n")
        self.assert_failure_says("cannot run iptables-save: No such file or directory")

    def test_of_input_that_cannot_be_read(self) -> None:
        secret, missing = self.directory / "secret.save", self.directory / "missing.save"
        secret.write_bytes(DUMP)
        secret.chmod(0o600)
        self.assert_failure_says(f"cannot open {missing}: No such file or directory", "-i", missing)
        self.assert_failure_says(f"cannot read {self.directory}: Is a directory", "-i", self.directory)
        self.assert_failure_says(f"cannot open {secret}: Permission denied", "-i", secret, before=NOBODY)

    def test_of_input_that_is_no_dump(self) -> None:
        for dump, line in (
            (b"", "no tables; no counters are written (--allow-empty makes that a success)"),
            (b"\x7fELF\n", r"line 1: expected a line of iptables-save -c: \x7fELF"),
            (DUMP.partition(b"MIT")[0], "line 7: the dump is cut off in the middle of a line: COM"),
        ):
            self.dump.write_bytes(dump)
            self.assert_failure_says(f"{self.dump}: {line}", "-i", self.dump)
            with self.dump.open("rb") as stdin:
                self.assert_failure_says(f"stdin: {line}", "-i", "-", stdin=stdin)

    def test_of_no_tables(self) -> None:
        """The kernel has none."""
        self.fake("exit 0")
        run = self.export()
        self.assertEqual(run.status, 0)
        self.assert_says(run, "warning: there are no rules: the kernel has no table of iptables")
        self.assert_success(self.export("-o", self.target))

    def test_of_an_ordinary_user(self) -> None:
        """No hint about rights where their lack is not the cause."""
        self.fake("exit 0")
        self.assert_failure_says("iptables-save: no tables; no counters are written (--allow-empty makes that a success)", before=NOBODY)

    def test_warnings(self) -> None:
        note = b"# Table `nat' is incompatible, use 'nft' tool.\n"
        self.fake("echo look out >&2; echo twice >&2; dump", DUMP + note)
        run = self.export("--max-series", "1")
        self.assertEqual(run.status, 0)
        self.assert_says(
            run,
            "warning: iptables-save: look out",
            "warning: iptables-save: twice",
            "warning: tables that only nft can show whole (nft list ruleset): nat of iptables-save",
            "warning: 1 rule series is left out (--max-series 1): choose rules with --select, or sum them with --sum-by",
        )

    def test_with_a_file_states_are_for_its_readers(self) -> None:
        run = self.export("--max-series", "1", "-o", self.target)
        self.assert_success(run)
        self.assertIn(b"\niptables_series_omitted 1\n", self.target.read_bytes())

    def test_few(self) -> None:
        """20 lines and 4 KiB, as printed, with a word on what is left out."""
        for what, script, left_out in (
            ("lines", "seq 1000 >&2", b""),
            ("escapes", "seq 100 | sed 's/$/\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33\\o33/' >&2", b""),
            ("the same", "yes 'cannot open connlabel.conf' | head -n 1000 >&2; echo last >&2", None),
        ):
            for end, status in (("dump", 0), ("exit 1", 1)):
                with self.subTest(what, status=status):
                    self.fake(f"{script}; {end}")
                    run = self.export()
                    self.assertEqual(run.status, status)
                    self.assertLessEqual(run.err.count(b"\n"), 20)
                    self.assertLessEqual(len(run.err), 4096)
                    if left_out is None:
                        self.assertEqual(run.err.count(b"connlabel.conf"), 1)
                        self.assertIn(b"last", run.err)
                    else:
                        self.assertRegex(run.err, rb"more messages? left out\n\Z|more bytes\)\n\Z")

    def test_of_every_source_that_failed(self) -> None:
        """However much each has to say."""
        for name in ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"):
            executable(self.bin / f"{name}-save", "#!/bin/sh\nseq 1000 >&2\nkill -9 $$\n")
        run = self.export("--family", "ipv4,ipv6", "--backend", "nft,legacy")
        self.assertEqual(run.status, 1)
        self.assertLessEqual(len(run.err), 4096)
        for name in ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"):
            self.assertIn(f"error: {name}-save was killed by signal 9 (Killed): 1; 2; 3; ", run.err.decode())

    def test_with_a_long_name(self) -> None:
        name = "x" * 100_000
        for arguments in ((name,), ("--select", "{" + name), ("-o", f"{name}.prom")):
            with self.subTest(arguments[0][:10]):
                run = self.export(*arguments)
                self.assertIn(run.status, (2, 3))
                self.assertRegex(run.err, rb"xxx\.\.\. \(\d{5} more bytes\)\n")
                self.assertLessEqual(len(run.err), 4096)

    def test_of_wrong_usage(self) -> None:
        for arguments, lines in (
            (("stray",), ("unexpected argument stray (see iptables_exporter --help)",)),
            (("-o", "x"), ("--output x must end in .prom, or node_exporter does not read it (see "
                           "iptables_exporter --help)",)),
        ):  # fmt: skip
            with self.subTest(arguments):
                run = self.export(*arguments)
                self.assertEqual((run.status, run.out), (2, b""))
                self.assert_says(run, *(f"error: {line}" for line in lines))
        # Nothing of the library's own words is between these lines.
        for selector, expected, caret in (
            ("{table=filter}", "a string in quotes", "       ^"),
            ('{table=~"a("}', "a regular expression of RE2 (missing ): a()", "         ^"),
        ):
            run = self.export("-s", selector)
            self.assertEqual((run.status, run.out), (2, b""))
            self.assertEqual(
                run.err.decode(),
                f"iptables_exporter: error: --select: expected {expected} (see iptables_exporter --help)\n"
                f"{selector}\n{caret}\n",
            )

    def test_of_output_that_cannot_be_written(self) -> None:
        missing = self.directory / "missing"
        self.target.mkdir()
        for arguments, options, line in (
            (("-o", missing / "x.prom"), {}, f"cannot open directory {missing}: No such file or directory"),
            (("-o", self.target), {}, f"cannot replace {self.target}: Is a directory"),
            (("-o", "/proc/x.prom"), {},
             "cannot create a temporary file in /proc: No such file or directory"),
            ((), {"before": sh(">/dev/full")}, "cannot write stdout: No space left on device"),
            ((), {"before": sh(">&-")}, "cannot write stdout: Bad file descriptor"),
        ):  # fmt: skip
            with self.subTest(line):
                run = self.export(*arguments, **options)
                self.assertEqual(run.status, 3)
                means = "; the old file stays as it is" if arguments else ""
                self.assert_says(run, f"error: {line}{means}")
        self.fake("exit 1")
        run = self.export("-o", self.target)
        self.assertEqual(run.status, 3)
        self.assert_says(
            run,
            "error: iptables-save exited with status 1; no counters are written",
            f"error: cannot replace {self.target}: Is a directory; the old file stays as it is",
        )


if __name__ == "__main__":
    main()
