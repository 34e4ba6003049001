"""The generator of alerts, recording rules and dashboard, for tests to import."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"

sys.dont_write_bytecode = True
sys.path.insert(0, str(CONTRIB / "prometheus"))

import rules  # noqa: E402, F401
from settings import Settings  # noqa: E402, F401

generate = SourceFileLoader("generate", str(CONTRIB / "prometheus" / "generate")).load_module()
