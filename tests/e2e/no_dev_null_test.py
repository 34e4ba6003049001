#!/usr/bin/env python3
"""Where there is no /dev/null, the message names it and does not blame iptables-save."""

from __future__ import annotations

import os
from pathlib import Path

from fault_case import FaultCase
from support import main, mounted


class NoDevNull(FaultCase):
    def test_is_named(self) -> None:
        with open(os.devnull) as null, mounted(Path("/dev"), "-t", "tmpfs", "none"):
            run = self.export("-o", self.target, stdin=null)
        text = self.target.read_bytes()
        self.assert_collecting_failed(run, text, "error: cannot open /dev/null: No such file or directory")


if __name__ == "__main__":
    main()
