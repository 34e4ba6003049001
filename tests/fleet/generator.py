"""The generator of alerts, recording rules and dashboard, for tests to import."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"

sys.dont_write_bytecode = True
sys.path.insert(0, str(CONTRIB / "prometheus"))

import rules  # noqa: E402, F401
from settings import Settings  # noqa: E402, F401

_loader = SourceFileLoader("generate", str(CONTRIB / "prometheus" / "generate"))
generate = module_from_spec(spec_from_loader(_loader.name, _loader))
_loader.exec_module(generate)
