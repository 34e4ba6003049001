"""Four hosts under one Prometheus: silent while all is well, and the right alerts when it is not."""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable

import dashboard
from fleet import DISCARD, Fleet, a_fleet, at_test_speed, eventually, filled_in, prometheus, support

# Without these, IptablesMetricsGone and IptablesDropRateHigh have nothing to compare with.
_SEEN = "source:iptables_exporter_build_info:last_seen"
_PAST = "instance:iptables_dropped_packets:p95_1d"


class TheFleet(unittest.TestCase):
    """One fleet for all tests, which run in the order of their names."""

    fleet: Fleet
    began: float

    @classmethod
    def setUpClass(cls) -> None:
        cls.began = time.time()
        cls.fleet = cls.enterClassContext(a_fleet().running())

    def test_1_healthy(self) -> None:
        hosts = set(self.fleet.hosts)
        for promql in ("up == 1", "iptables_ruleset_hash", _SEEN, _PAST):
            with self.subTest(promql):
                eventually(lambda: self.instances(promql) == hosts, lambda: self.instances(promql))
        self.assertEqual(self.fleet.fired_since(self.began), set())

        for name in self.recorded_names():
            with self.subTest(name):
                eventually(lambda: bool(self.fleet.query(name)), lambda: "no data")
        # Targets read from rules and brought along by --sum-by, with the labels and without.
        dropped = self.fleet.query(
            'instance_target:iptables_rule_packets:rate5m{target=~"DROP|REJECT"} > 0'
        )
        labels = ("instance", "family", "backend", "table", "target")
        self.assertEqual(
            {tuple(one["metric"].get(label) for label in labels) for one in dropped},
            {
                (f"web-{number}", "ipv4", "nft", "filter", target)
                for number in (1, 2, 3)
                for target in ("DROP", "REJECT")
            }
            | {("db-1", None, None, "filter", "DROP")},
        )

    def test_2_failures(self) -> None:
        web_1, web_2, web_3, db_1 = self.fleet.hosts.values()
        junk = web_1.textfiles / "junk.prom"

        def happen() -> None:
            junk.write_text("this is no metric\n")
            web_2.before = ("setpriv", "--bounding-set=-all")
            web_3.stop_timer()
            web_3.output.unlink()
            db_1.stop_timer()

        def heal() -> None:
            junk.unlink()
            web_2.before = ()
            web_3.start_timer()
            db_1.start_timer()

        self.assert_raises(
            {
                ("IptablesTextfileError", "web-1"),
                ("IptablesCollectionFailing", "web-2"),
                ("IptablesMetricsGone", "web-3"),
                ("IptablesCountersStale", "db-1"),
            },
            happen,
            heal,
        )

    def test_3_changes(self) -> None:
        web_1, web_2, web_3, db_1 = self.fleet.hosts.values()
        quiet = web_2.traffic

        def happen() -> None:
            web_1.iptables("--append services --protocol tcp --dport 8080 --jump ACCEPT")
            web_2.traffic = {**quiet, DISCARD: 500}
            web_3.iptables("--flush", "ip6tables-nft")
            db_1.iptables("--policy INPUT ACCEPT")
            db_1.iptables("--flush")

        def heal() -> None:
            web_1.iptables("--delete services --protocol tcp --dport 8080 --jump ACCEPT")
            web_2.traffic = quiet
            web_3.load_rules()
            db_1.load_rules()

        self.assert_raises(
            {
                ("IptablesRulesetChanged", "web-1"),
                ("IptablesRulesetDiffers", "web-1"),
                ("IptablesDropRateHigh", "web-2"),
                ("IptablesRulesetChanged", "web-3"),
                ("IptablesRulesetDiffers", "web-3"),
                ("IptablesFirewallEmptied", "web-3"),
                ("IptablesFirewallMissing", "web-3"),
                ("IptablesRulesetChanged", "db-1"),
                ("IptablesPolicyOpened", "db-1"),
                ("IptablesFirewallEmptied", "db-1"),
            },
            happen,
            heal,
        )

    def test_4_dashboard(self) -> None:
        """After all that has happened, every query of the dashboard has something to show."""
        for source, label in dashboard.variable_sources(dashboard.load()):
            with self.subTest(source, label=label):
                found = self.fleet.query(f"count by ({label}) ({filled_in(source)})")
                self.assertTrue(any(one["metric"] for one in found))
        for title, promql in dashboard.queries(dashboard.load()):
            with self.subTest(title, promql=promql):
                self.assertTrue(self.fleet.query_range(filled_in(promql), self.began))

    def test_5_rules_are_sound(self) -> None:
        for group in self.fleet.get("rules")["groups"]:
            for rule in group["rules"]:
                with self.subTest(rule["name"]):
                    self.assertEqual((rule["health"], rule.get("lastError")), ("ok", None))

    def assert_raises(
        self, expected: set[tuple[str, str]], happen: Callable[[], None], heal: Callable[[], None]
    ) -> None:
        """What happens raises these alerts and no other, and healing ends them."""
        began = time.time()
        try:
            happen()
            eventually(
                lambda: expected <= self.fleet.fired_since(began),
                lambda: f"missing {expected - self.fleet.fired_since(began)}",
            )
            self.assert_annotated()
        finally:
            heal()
        eventually(lambda: not self.fleet.firing(), self.fleet.firing)
        self.assertEqual(self.fleet.fired_since(began), expected)

    def assert_annotated(self) -> None:
        for alert in self.fleet.get("alerts")["alerts"]:
            for name in ("summary", "description", "runbook_url"):
                with self.subTest(alert["labels"]["alertname"], annotation=name):
                    self.assertNotRegex(alert["annotations"][name], r"\A\Z|<error|<no value>|  ")

    def instances(self, promql: str) -> set[str]:
        return {one["metric"]["instance"] for one in self.fleet.query(promql)}

    def recorded_names(self) -> set[str]:
        groups = self.fleet.get("rules", type="record")["groups"]
        names = {rule["name"] for group in groups for rule in group["rules"]}
        # Half a day of history, and a metric that not every version of the program has.
        return names - {"instance:iptables_dropped_packets:p05_1d", "instance:iptables_unshown_tables:max"}


if __name__ == "__main__":
    support.main(support.netfilter, support.node_exporter, prometheus)
