"""What a Prometheus knows that listens at ADDRESS in this network namespace."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence

from oracle import Labels, labels
from support import DEADLINE

ADDRESS = "127.0.0.1:9090"

Vector = dict[Labels, float]  # without the metric's name and empty labels, as Prometheus has it


class Refused(Exception):
    """Prometheus does not take an expression; the message is its own."""


def ask(path: str, address: str = ADDRESS, **parameters: object) -> dict:
    """The data of its answer. OSError if there is none, as long as it is starting."""
    text = urllib.parse.urlencode(parameters, errors="surrogateescape")
    takes_post = path in ("query", "query_range", "series")  # no URL holds the longest of these
    url, body = (path, text.encode()) if takes_post else (f"{path}?{text}", None)
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/{url}", body, DEADLINE) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        if error.code == 503:
            raise
        raise Refused(json.load(error)["error"]) from None


def query(promql: str, without: Sequence[str] = (), **parameters: object) -> Vector:
    """The result of an instant query, without the labels of the target and those named."""
    left_out = ("__name__", "instance", "job", *without)
    return {
        labels(**{name: text for name, text in sample["metric"].items() if name not in left_out}): float(
            sample["value"][1]
        )
        for sample in ask("query", query=promql, **parameters)["result"]
    }
