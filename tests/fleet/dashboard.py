"""Reads contrib/grafana's dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "contrib" / "grafana" / "iptables_exporter.json"


def load() -> dict:
    return json.loads(PATH.read_text())


def queries(dashboard: dict) -> list[tuple[str, str]]:
    """(title, PromQL) of every target of every panel, and of the annotations."""
    return [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ] + [
        (annotation["name"], annotation["expr"]) for annotation in dashboard["annotations"]["list"]
    ]


def variable_sources(dashboard: dict) -> list[tuple[str, str]]:
    """(PromQL, label) of every variable whose values are those of a label."""
    found = []
    for variable in dashboard["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", "")):
            found.append((match[1], match[2]))
    return found
