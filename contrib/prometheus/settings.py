"""What settings.toml says, and the PromQL that follows from it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

DEFAULT = Path(__file__).parent / "settings.toml"

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Settings:
    """`scale` divides all times: a fleet that is tested at 60 times the speed needs that."""

    def __init__(self, path: Path = DEFAULT, scale: int = 1) -> None:
        values = tomllib.loads(path.read_text())
        self.selector: str = values["selector"]
        self.filter_tables: str = values["filter_tables"]
        self.drop_targets: str = values["drop_targets"]
        self.textfile: str = values["textfile"]
        self.runbooks: str = values["runbooks"]
        self.prometheus_rule: dict = values["prometheus_rule"]
        self.limits: dict[str, float] = values["limits"]
        self._alerts: dict[str, dict[str, str]] = values["alerts"]
        self._times: dict[str, str] = {**values["periods"]}
        self._intervals: dict[str, str] = values["intervals"]
        self._scale = scale

        # Lists of labels, for `by` and `on`.
        group, identity = values["group"], values["identity"]
        self.target = ", ".join(identity)  # what node_exporter's and Prometheus's own series have
        self.host = ", ".join([*identity, "netns"])
        self.family = f"{self.host}, family"
        self.source = f"{self.family}, backend"
        self.group = ", ".join([*group, "netns"])
        self.group_labels: list[str] = group

    def series(self, name: str, *matchers: str) -> str:
        chosen = ",".join(matcher for matcher in (self.selector, *matchers) if matcher)
        return f"{name}{{{chosen}}}" if chosen else name

    def period(self, name: str, times: int = 1) -> str:
        return self._scaled(self._times[name], times)

    def seconds(self, name: str) -> str:
        return f"{_seconds(self._times[name]) / self._scale:g}"

    def interval(self, group: str) -> str:
        return self._scaled(self._intervals[group])

    def severity(self, alert: str) -> str:
        return self._alerts[alert]["severity"]

    def pending(self, alert: str) -> str | None:
        """The alert's `for`."""
        time = self._alerts[alert].get("for")
        return time and self._scaled(time)

    def spoken(self, name: str) -> str:
        """A period in words, never scaled."""
        number, unit = re.fullmatch(r"(\d+)([a-z]+)", self._times[name]).groups()
        word = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}[unit]
        return f"a {word}" if number == "1" else f"{number} {word}s"

    @property
    def steps_in_half_a_day(self) -> int:
        return round(_seconds(self._times["day"]) / _seconds(self._times["day_step"]) / 2)

    def _scaled(self, time: str, times: int = 1) -> str:
        if (times, self._scale) == (1, 1):
            return time
        milliseconds = round(_seconds(time) * 1000 * times / self._scale)
        for unit in ("d", "h", "m", "s"):
            if milliseconds % (_SECONDS[unit] * 1000) == 0:
                return f"{milliseconds // (_SECONDS[unit] * 1000)}{unit}"
        return f"{milliseconds}ms"


def _seconds(time: str) -> float:
    """Of a duration as PromQL has it: 1h30m."""
    parts = re.findall(r"(\d+)(ms|[smhdw])", time)
    if "".join(number + unit for number, unit in parts) != time or not time:
        raise ValueError(f"not a duration: {time!r}")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)
