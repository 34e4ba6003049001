"""Draws the main panels of contrib/grafana's dashboard, as SVG on stdout, from a living fleet.

The queries, titles, units, thresholds and legends are the dashboard's, the data are what Prometheus answers
after the fleet has lived for an hour, which takes a minute; only the looks are our own, not Grafana's.

    IPTABLES_EXPORTER=build/release/iptables_exporter python3 tests/fleet/draw_dashboard.py > FILE
"""

from __future__ import annotations

import math
import re
import time
from html import escape

import dashboard
from fleet import DISCARD, DNS, ECHO, Fleet, a_fleet, filled_in, ipset, prometheus, support

SECONDS = 60  # an hour, at this speed
HOST = "web-1"
STATS = ("Hosts", "Failing", "Stale", "Without rules", "Not saved", "Not all shown")
GRAPHS = ("Dropped and rejected", "Packets by target", "Rules that drop most", "Number of rules")

CHANGED = "Ruleset changed"  # the annotation

WIDTH, MARGIN = 1200, 12
STAT_HEIGHT, GRAPH_HEIGHT, LEGEND_LINE = 78, 330, 15
PALETTE = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#17becf",
)  # fmt: skip
STYLE = """text{font-family:Inter,Helvetica,Arial,sans-serif;font-size:11px;fill:#4b5563}
.t{font-size:13px;font-weight:600;fill:#111827}.n{font-size:30px;font-weight:600}
.g{stroke:#e5e7eb}.p{fill:#fff;stroke:#d1d5db}.l{fill:none;stroke-width:1.6}
.a{stroke:#f59e0b;stroke-dasharray:4 3}"""


COLORS = {"green": "#15803d", "red": "#b91c1c", "yellow": "#a16207"}


def live(fleet: Fleet) -> None:
    """An hour of ordinary and less ordinary days."""
    web_1, web_2, web_3, db_1, _ = fleet.hosts.values()
    for second in range(SECONDS):
        for host in (web_1, web_2, web_3, db_1):
            wave = math.sin(second / 5 + host.number)
            host.traffic[DNS] = round((14 + 4 * host.number) * (1 + 0.5 * wave))
            host.traffic[ECHO] = round(3 + wave)
        web_2.traffic[DISCARD] = 60 if 20 <= second < 32 else 2
        if second == 38:
            web_1.iptables("--append services --protocol tcp --dport 8080 --jump ACCEPT")
        if second == 52:
            db_1.iptables("--append INPUT --protocol tcp --dport 6432 --jump ACCEPT")
        time.sleep(1)


def text(x: float, y: float, words: str, attributes: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {attributes}>{escape(words)}</text>'


def with_unit(value: float, unit: str) -> str:
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:g} {prefix}{unit}".strip()
    return f"{value:.3g} {unit}".strip()


def unit_of(panel: dict) -> str:
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    return {"pps": "p/s", "Bps": "B/s", "short": ""}.get(unit, unit)


def legend_of(series: dict, panel: dict) -> str:
    template = panel["targets"][0]["legendFormat"]
    words = re.sub(r"\{\{(\w+)\}\}", lambda name: series["metric"].get(name[1], ""), template)
    return " ".join(words.split())


def shortened(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"


def tick_step(top: float) -> float:
    """A round step, such that at most five fit below `top`."""
    magnitude = 10 ** math.floor(math.log10(top / 5))
    return next(step * magnitude for step in (1, 2, 2.5, 5, 10) if step * magnitude * 5 >= top)


class Drawing:
    def __init__(self, fleet: Fleet, start: float) -> None:
        self.fleet = fleet
        self.start = start
        self.end = time.time()
        panels = dashboard.load()["panels"]
        self.panels = {panel["title"]: panel for panel in panels}
        rows = [panel["title"] for panel in panels if panel["type"] == "row"]
        of_one_host = panels.index(self.panels[next(title for title in rows if "$host" in title)])
        self.of_one_host = {panel["title"] for panel in panels[of_one_host:]}
        self.changes = self.points(dict(dashboard.queries(dashboard.load()))[CHANGED], step=1)
        self.parts: list[str] = []

    def points(self, promql: str, step: float = 1) -> list[dict]:
        return self.fleet.query_range(filled_in(promql, HOST), self.start, step)

    def box(self, x: float, y: float, width: float, height: float, title: str) -> None:
        self.parts.append(
            f'<rect class="p" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
        )
        self.parts.append(text(x + 10, y + 19, title, 'class="t"'))

    def stat(self, x: float, y: float, width: float, title: str) -> None:
        panel = self.panels[title]
        self.box(x, y, width, STAT_HEIGHT, title)
        found = self.fleet.query(filled_in(panel["targets"][0]["expr"], HOST))
        value = float(found[0]["value"][1]) if found else None
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        reached = [step for step in steps if step["value"] is None or (value or 0) >= step["value"]]
        color = COLORS[reached[-1]["color"]] if found else "#6b7280"
        words = "No data" if value is None else with_unit(value, unit_of(panel))
        look = f'class="n" fill="{color}" style="fill:{color}" text-anchor="middle"'
        self.parts.append(text(x + width / 2, y + 58, words, look))

    def graph(self, x: float, y: float, width: float, title: str) -> None:
        panel = self.panels[title]
        of_whom = f"{HOST}: " if title in self.of_one_host else "All hosts: "
        self.box(x, y, width, GRAPH_HEIGHT, of_whom + title)
        found = self.points(panel["targets"][0]["expr"])
        found.sort(key=lambda series: -sum(float(value) for _, value in series["values"]))
        found = found[: len(PALETTE)]

        legends = [legend_of(series, panel) for series in found]
        columns = 2 if all(len(words) < 40 for words in legends) else 1
        left, right = x + 62, x + width - 12
        top = y + 34
        bottom = y + GRAPH_HEIGHT - 36 - LEGEND_LINE * math.ceil(len(found) / columns)
        highest = max(float(value) for series in found for _, value in series["values"]) or 1
        step = tick_step(highest)
        highest = step * math.ceil(highest / step)

        def at_x(moment: float) -> float:
            return left + (moment - self.start) / (self.end - self.start) * (right - left)

        def at_y(value: float) -> float:
            return bottom - value / highest * (bottom - top)

        for tick in range(round(highest / step) + 1):
            line = at_y(tick * step)
            self.parts.append(f'<path class="g" d="M{left} {line:.1f}H{right}"/>')
            label = with_unit(tick * step, unit_of(panel))
            self.parts.append(text(left - 6, line + 4, label, 'text-anchor="end"'))
        for minute in range(0, round(self.end - self.start), 10):  # a minute is a second here
            clock = f"12:{minute:02}" if minute < 60 else "13:00"
            self.parts.append(text(at_x(self.start + minute), bottom + 15, clock, 'text-anchor="middle"'))
        for change in self.changes:
            moment = at_x(change["values"][0][0])
            self.parts.append(f'<path class="a" d="M{moment:.1f} {top}V{bottom}"/>')
        self.parts.append(text(at_x(self.changes[0]["values"][0][0]) + 4, top + 8, CHANGED))

        for number, series in enumerate(found):
            # A gap in the data is a gap in the line.
            path, last = "", -math.inf
            for moment, value in series["values"]:
                pen = "L" if moment - last < 3 else "M"
                path += f"{pen}{at_x(moment):.1f} {at_y(float(value)):.1f}"
                last = moment
            self.parts.append(f'<path class="l" stroke="{PALETTE[number]}" d="{path}"/>')
            at = x + 18 + number % columns * width / 2
            line = bottom + 36 + LEGEND_LINE * (number // columns)
            self.parts.append(
                f'<path stroke="{PALETTE[number]}" stroke-width="3" d="M{at:.0f} {line - 4}h14"/>'
            )
            self.parts.append(text(at + 20, line, shortened(legends[number], 92)))

    def svg(self) -> str:
        width = (WIDTH - MARGIN) / len(STATS) - MARGIN
        for number, title in enumerate(STATS):
            self.stat(MARGIN + number * (width + MARGIN), MARGIN, width, title)
        width = (WIDTH - 3 * MARGIN) / 2
        height = 0
        for number, title in enumerate(GRAPHS):
            row, column = divmod(number, 2)
            y = 2 * MARGIN + STAT_HEIGHT + row * (GRAPH_HEIGHT + MARGIN)
            self.graph(MARGIN + column * (width + MARGIN), y, width, title)
            height = y + GRAPH_HEIGHT + MARGIN
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
                f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#f3f4f6"/>',
                *self.parts,
                "</svg>\n",
            )
        )


def main() -> None:
    with a_fleet().running() as fleet:
        fleet.configure()
        time.sleep(20)  # until all rates have their past
        for name in ("web-1", "web-2", "web-3"):
            fleet.hosts[name].save()
        start = time.time()
        live(fleet)
        print(Drawing(fleet, start).svg(), end="")


if __name__ == "__main__":
    support.main(support.netfilter, support.node_exporter, prometheus, ipset, run=main)
