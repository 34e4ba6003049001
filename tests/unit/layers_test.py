#!/usr/bin/env python3
"""Every file of src/ includes only what its folder may know, and what breaks that is noticed."""

from __future__ import annotations

import re
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"

MAY_KNOW = {  # by folder of src/: those whose headers it may include besides its own
    "base": set(),
    "model": set(),
    "dump": {"base", "model"},
    "metrics": {"base", "model", "dump"},
    "collect": {"base", "model", "dump"},
    "output": {"base", "model", "metrics"},
}
AT_THE_TOP = {"main.cpp", "options.cpp", "options.h"}  # the wires may know all
PURE = {"model", "dump", "metrics"}
PURE_IN_BASE = {"random.h", "text.h"}
INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]*)"|<([^>]*)>)')
POSIX = re.compile(r"(unistd|fcntl|poll|spawn|signal|csignal|dirent|sched|grp|pwd)(\.h)?$"
                   r"|(sys|linux|net|netinet|arpa)/")  # fmt: skip


def faults(src: Path) -> Iterator[str]:
    files = sorted(path for path in src.rglob("*") if path.suffix in {".h", ".cpp"})
    if not files:
        yield f"{src}: no source files"
    for path in files:
        file = path.relative_to(src)
        folder = file.parts[0] if len(file.parts) > 1 else None
        if file.name not in AT_THE_TOP if folder is None else folder not in MAY_KNOW:
            yield f"{file}: belongs to no folder that there is"
            continue
        for line in path.read_text().splitlines():
            included = INCLUDE.match(line)
            if included and (wrong := fault_of(src, folder, *included.groups())):
                yield f"{file}: {wrong}"


def fault_of(src: Path, folder: str | None, own: str | None, system: str | None) -> str | None:
    """What is wrong with an include of a file in the folder, which is None for the wires."""
    if system is not None:
        is_wrong = folder in PURE and POSIX.match(system)
        return f"{folder}/ is pure, <{system}> is not" if is_wrong else None
    if not (src / own).is_file():
        return f"{own} is no path from src/"
    other, _, name = own.rpartition("/")
    if folder is None or other == folder:
        return None
    if other not in MAY_KNOW[folder]:
        return f"{folder}/ may not know {own}"
    if folder in PURE and other == "base" and name not in PURE_IN_BASE:
        return f"{folder}/ is pure, {own} is not"
    return None


class Layers(unittest.TestCase):
    def test_of_src(self) -> None:
        self.assertEqual(list(faults(SRC)), [])

    def faults_of(self, file: str, line: str) -> list[str]:
        """Of that file with that line, beside a header in each folder that includes nothing."""
        with tempfile.TemporaryDirectory() as directory:
            src = Path(directory)
            headers = [f"{folder}/some.h" for folder in MAY_KNOW]
            for header in (*headers, "base/text.h", "options.h", file):
                (src / header).parent.mkdir(exist_ok=True)
                (src / header).touch()
            (src / file).write_text(f"#pragma once\n{line}\n")
            return list(faults(src))

    def test_what_is_allowed(self) -> None:
        for file, line in (
            ("metrics/x.cpp", '#include "metrics/some.h"'),
            ("metrics/x.cpp", '#include "model/some.h"'),
            ("metrics/x.cpp", '#include "base/text.h"'),
            ("metrics/x.cpp", "#include <string>"),
            ("metrics/x.cpp", "// <unistd.h>"),
            ("collect/x.cpp", '#include "base/some.h"'),
            ("collect/x.cpp", "#include <sys/stat.h>"),
            ("main.cpp", '#include "collect/some.h"'),
        ):
            with self.subTest(file=file, line=line):
                self.assertEqual(self.faults_of(file, line), [])

    def test_what_is_not(self) -> None:
        for file, line, fault in (
            ("model/x.h", '#include "dump/some.h"', "model/ may not know dump/some.h"),
            ("dump/x.cpp", '#include "metrics/some.h"', "dump/ may not know metrics/some.h"),
            ("metrics/x.cpp", '#include "collect/some.h"', "metrics/ may not know collect/some.h"),
            ("collect/x.cpp", '#  include "output/some.h"', "collect/ may not know output/some.h"),
            ("output/x.cpp", '#include "dump/some.h"', "output/ may not know dump/some.h"),
            ("base/x.cpp", '#include "options.h"', "base/ may not know options.h"),
            ("metrics/x.cpp", '#include "base/some.h"', "metrics/ is pure, base/some.h is not"),
            ("dump/x.cpp", "#include <unistd.h>", "dump/ is pure, <unistd.h> is not"),
            ("model/x.h", "#include <sys/stat.h>", "model/ is pure, <sys/stat.h> is not"),
            ("metrics/x.cpp", '#include "some.h"', "some.h is no path from src/"),
            ("main.cpp", '#include "gone/some.h"', "gone/some.h is no path from src/"),
            ("x.cpp", "", "belongs to no folder that there is"),
            ("other/x.cpp", "", "belongs to no folder that there is"),
        ):
            with self.subTest(file=file, line=line):
                self.assertEqual(self.faults_of(file, line), [f"{file}: {fault}"])

    def test_nothing_to_look_at(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(list(faults(Path(directory))), [f"{directory}: no source files"])


if __name__ == "__main__":
    unittest.main()
