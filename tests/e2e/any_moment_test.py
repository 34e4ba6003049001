"""Ended or killed at random moments, and several runs at once: who reads the file meanwhile finds it whole."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fault_case import FaultCase
from oracle import read_metrics
from support import Run, finish, main


class AnyMoment(FaultCase):
    def test_ended_at_random_moments(self) -> None:
        self.write_old_output()
        for _ in range(15):
            delay = self.random_delay()
            process = self.start("-o", self.target)
            time.sleep(delay)
            number = random.choice([signal.SIGTERM, signal.SIGINT])
            process.send_signal(number)
            run = finish(process)
            self.assertIn(run.status, (0, -number), run)
            self.assertEqual(run.err, b"")
            self.assert_whole(self.target.read_bytes())
            self.assert_only_target()
            self.assert_no_process_left()

    def test_killed_at_random_moments(self) -> None:
        self.fake_numbered_dump(1)
        self.assert_success(self.export("-o", self.target))
        most_leftovers = 0
        written = 0
        with self.watched_target():
            for number in range(2, 42):
                self.number.write_text(f"{number}\n")
                delay = self.random_delay()
                before = self.target.stat().st_ino
                process = self.start("-o", self.target)
                time.sleep(delay)
                process.kill()
                finish(process)
                written += self.target.stat().st_ino != before
                leftovers = set(os.listdir(self.target.parent)) - {self.target.name}
                self.assertFalse([name for name in leftovers if name.endswith(".prom")])
                most_leftovers = max(most_leftovers, len(leftovers))
        self.assertGreater(written, 0, "no run came to its end before it was killed")
        self.assertLess(most_leftovers, 3)

        self.assert_success(self.export("-o", self.target))
        self.assert_only_target()

    def test_two_writers_at_once(self) -> None:
        self.fake_numbered_dump(1)
        self.assert_success(self.export("-o", self.target))
        runs: list[Run] = []

        def write(first: int) -> None:
            for number in range(first, first + 12):
                self.number.write_text(f"{number}\n")
                runs.append(self.export("-o", self.target))

        with self.watched_target():
            writers = [threading.Thread(target=write, args=(first,)) for first in (100, 200, 300)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
        self.assertEqual(len(runs), 36)
        for run in runs:
            self.assert_success(run)
        self.assert_only_target()

    # A dump whose counters are all the same number, another one in each run: a torn file would mix
    # them. The file of a run takes several writes.
    NUMBERED_RULES = 1000

    def fake_numbered_dump(self, number: int) -> None:
        self.number = self.directory / "number"
        self.number.write_text(f"{number}\n")
        rule = b"[N:N] -A INPUT -p udp -m udp --dport %d\n"
        rules = b"".join(rule % port for port in range(self.NUMBERED_RULES))
        dump = b"*filter\n:INPUT ACCEPT [N:N]\n" + rules + b"COMMIT\n"
        # A number that is being written reads as empty.
        self.fake(f'read n <{self.number} || n=1; sed "s/N/$n/g" {self.dump}', dump)

    def random_delay(self) -> float:
        """To a moment in a run, or after it. It decides nothing: each must do. The machine may be busy, and
        slower by now than it was: a run is measured each time."""
        return random.uniform(0, 1.2) * self.duration_of_a_run()

    def duration_of_a_run(self) -> float:
        begin = time.monotonic()
        self.assert_success(self.export("-o", self.target))
        return time.monotonic() - begin

    @contextmanager
    def watched_target(self) -> Iterator[None]:
        """Reads the target over and over, as node_exporter might; it must always be whole."""
        torn: list[bytes] = []
        ending = self.target.read_bytes().splitlines()[-1]  # the same in all
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                text = self.target.read_bytes()
                counters = re.findall(rb"(?m)^iptables_(?:rule|default)_\w+_total\{.*\} (\d+)$", text)
                if len(counters) != 2 * (self.NUMBERED_RULES + 1) or len(set(counters)) != 1:
                    torn.append(text)
                if not text.endswith(b"\n%s\n" % ending):
                    torn.append(text)
                time.sleep(0.001)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
        self.assertEqual([len(text) for text in torn], [])
        read_metrics(self.target.read_bytes())


if __name__ == "__main__":
    main()
