"""Little memory and other limits of setrlimit(2), and dumps that ask for much.

Not for a build with sanitizers: these need more of everything than the limits here.
"""

from __future__ import annotations

import sys

from fault_case import DUMP, FaultCase
from oracle import read_metrics
from support import NOBODY, Run, main, no_sanitizer, value

LAST_SUCCESS = "iptables_last_success_timestamp_seconds"
MIB = 1 << 20


class Memory(FaultCase):
    # A process begins with the peak memory of the one that started it: this one has little.
    MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""

    def peak(self, *arguments: str) -> int:
        """What a run takes at most, in bytes."""
        measured = self.directory / "peak"
        measure = (sys.executable, "-I", "-S", "-c", self.MEASURE, str(measured))
        self.assert_success(self.export("-o", self.target, *arguments, before=measure))
        return int(measured.read_text()) << 10

    def test_is_bounded_by_the_dump(self) -> None:
        """2.5 times its size; less if rules are dropped, by a selector or into sums."""
        rule = (
            b"[%d:5] -A INPUT -s 10.%d.%d.%d/32 -p tcp -m tcp --dport 443 "
            b'-m comment --comment "blocked by hand, ticket %d" -j DROP\n'
        )
        rules = b"".join(rule % (i, i >> 16, i >> 8 & 255, i & 255, i) for i in range(200_000))
        self.fake("dump", DUMP.replace(b"COMMIT\n", rules + b"COMMIT\n"))
        for arguments, series, bound in (
            ((), 200_002, 2.5),
            (("--select", '{comment="nothing"}'), 0, 1.7),
            (("--sum-by", "table,chain"), 2, 1.7),
        ):
            with self.subTest(arguments):
                self.assertLess(self.peak(*arguments) / len(rules), bound)
                written = self.target.read_bytes().count(b"\niptables_rule_packets_total{")
                self.assertEqual(written, series)

    def export_within(self, size: int) -> Run:
        return self.export("-o", self.target, before=("prlimit", f"--as={size}", "--"))

    def test_limits_from_too_little_to_enough(self) -> None:
        """The dump takes some MiB, so that memory runs out at all stages of its way."""
        rules = b"".join(b"[%d:5] -A INPUT -p udp -m udp --dport %d\n" % (i, i) for i in range(60000))
        statuses = []
        old = self.write_old_output()
        self.fake("dump", DUMP.replace(b"COMMIT\n", rules + b"COMMIT\n"))
        for size in [*range(4 * MIB, 24 * MIB, MIB), *range(24 * MIB, 64 * MIB, 2 * MIB), 512 * MIB]:
            with self.subTest(size):
                self.target.write_bytes(old)
                run = self.export_within(size)
                self.assert_only_target()
                if b"error while loading shared libraries" in run.err or run.status == 127:
                    continue  # it did not come to run
                text = self.target.read_bytes()
                if run.status == 0:
                    self.assertEqual(text.count(b"\niptables_rule_packets_total{"), 60002)
                elif run.status == 1:
                    self.assert_collecting_failed(run, text)
                else:
                    self.assert_output_failed(run)
                    self.assertEqual(text, old)
                statuses.append(run.status)
        # Once there is enough for anything, there is for success 0.
        statuses = statuses[statuses.index(1) :]
        self.assertEqual(statuses, sorted(statuses, reverse=True), statuses)
        self.assertGreater(statuses.count(1), 3)
        self.assertEqual(statuses[-1], 0)

    def test_comments_and_blank_lines_are_not_kept(self) -> None:
        self.fake(f"head -c 100M /dev/zero | tr '\\0' '#' | fold -w 1000; yes '' | head -n 3000000; cat {self.dump}")
        run = self.export_within(48 * MIB)
        self.assert_success(run)
        self.assert_whole(self.target.read_bytes())

    def test_too_large(self) -> None:
        """Whoever makes it, it does not fill the memory."""
        for what, script, message in (
            ("bytes", f"cat {self.dump}; head -c 300M /dev/zero | tr '\\0' '#' | fold -w 1000", "is larger than 256 MiB"),
            ("lines", f"cat {self.dump}; yes '#' | head -n 5000000", "line 4000001: the dump has over 4000000 lines: #"),
        ):
            with self.subTest(what):
                self.fake(script)
                run = self.export("-o", self.target, "--timeout", "60")
                self.assert_collecting_failed(run, self.target.read_bytes(), message)

    def test_line_without_end(self) -> None:
        """It is refused long before it is read to its end."""
        rule = '[1:2] -A INPUT -m comment --comment \\"'
        for what, beginning, filling in (
            ("no line at all", "", "x"),
            ("a comment", "#", "x"),
            ("a rule", f"*filter\\n:INPUT ACCEPT [0:0]\\n{rule}", "x"),
            ("newlines in quotes", f"*filter\\n:INPUT ACCEPT [0:0]\\n{rule}", "\\n"),
            ("nothing but zeros", "", "\\0"),
        ):
            with self.subTest(what):
                old = self.write_old_output()
                self.fake(f"printf \"{beginning}\"; head -c 300M /dev/zero | tr '\\0' '{filling}'")
                run = self.export_within(200 * MIB)
                self.assert_collecting_failed(run, self.target.read_bytes(), "line")
                self.assertNotIn(b"memory", run.err)
                self.assertLess(len(run.err), 1000)
                self.assertNotEqual(self.target.read_bytes(), old)


class Limits(FaultCase):
    def limited(self, *limits: str) -> tuple[str, ...]:
        return ("prlimit", *limits, "--")

    def test_file_size(self) -> None:
        old = self.write_old_output()
        self.fake_large_dump()
        for size in (0, 1, 4096, 100_000):
            with self.subTest(size):
                run = self.export("-o", self.target, before=self.limited(f"--fsize={size}"))
                self.assert_old_output_stands(run, old, str(self.target), "too large")

    def test_file_size_of_stdout(self) -> None:
        self.fake_large_dump()
        with (self.directory / "out").open("wb") as out:
            run = self.export(stdout=out, before=self.limited("--fsize=4096"))
        self.assert_output_failed(run, "stdout", "too large")

    def test_descriptors(self) -> None:
        statuses = []
        for count in range(3, 24):
            with self.subTest(count):
                old = self.write_old_output()
                run = self.export("-o", self.target, before=self.limited(f"--nofile={count}"))
                self.assert_only_target()
                if b"error while loading shared libraries" in run.err:
                    continue  # it did not come to run
                self.assert_ends_well(run, old)
                statuses.append(run.status)
        # From too few for anything to enough for everything.
        self.assertNotEqual(statuses[0], 0)
        self.assertEqual(statuses[-1], 0)

    def test_processes(self) -> None:
        old = self.write_old_output()
        self.target.parent.chmod(0o777)
        run = self.export("-o", self.target, before=(*NOBODY, *self.limited("--nproc=0")))
        text = self.target.read_bytes()
        self.assert_collecting_failed(run, text, "iptables-save", "temporarily unavailable")
        last_success = value(read_metrics(old), LAST_SUCCESS)
        self.assertEqual(value(read_metrics(text), LAST_SUCCESS), last_success)


if __name__ == "__main__":
    main(no_sanitizer)
