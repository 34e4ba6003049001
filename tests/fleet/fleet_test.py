"""Hosts under one Prometheus: silent while all is well, and the right alerts when it is not.

The incidents that incidents.py simulates and that matter most, with the real iptables, node_exporter and
Prometheus. A minute is a second here.
"""

from __future__ import annotations

import contextlib
import time
import unittest
from collections.abc import Callable, Iterator

import dashboard
from fleet import DISCARD, Fleet, Host, a_fleet, eventually, filled_in, ipset, prometheus, support

LOST, OPENED = "IptablesRulesLost", "IptablesPolicyOpened"
CHANGED, NOT_SAVED = "IptablesRulesetChanged", "IptablesNotSaved"
FAILING = "IptablesCollectionFailing"

# Of no host is it said what is saved, up to a later test.
MAY_BE_MISSING = {"table:iptables_hash:is_saved"}
MAY_BE_EMPTY = {"Tables that nobody counts", "Legacy reads"}

NEW_RULE = "-p tcp -m tcp --dport 8080 -j ACCEPT"


def daemons(host: Host) -> Callable[[int], None]:
    """Containers that start and stop, and bans."""
    rules = (
        ("nat", "DOCKER", "-p tcp -m tcp --dport 8000 -j DNAT --to-destination 172.17.0.2:80"),
        ("nat", "POSTROUTING", "-s 172.17.0.2/32 -d 172.17.0.2/32 -j MASQUERADE"),
        ("filter", "FORWARD", "-o br-0 -j DOCKER"),
        ("filter", "DOCKER", "-d 172.17.0.2/32 ! -i docker0 -o docker0 -j ACCEPT"),
        ("filter", "f2b-sshd", "-s 192.0.2.7/32 -j DROP"),
    )

    def live(second: int) -> None:
        command = "--delete" if second % 2 else "--append"
        for table, chain, rule in rules:
            host.iptables(f"--wait --table {table} {command} {chain} {rule}")

    return live


class TheFleet(unittest.TestCase):
    """One fleet for all tests, which run in the order of their names."""

    fleet: Fleet
    began: float

    @classmethod
    def setUpClass(cls) -> None:
        cls.began = time.time()
        cls.fleet = cls.enterClassContext(a_fleet().running())
        docker = cls.fleet.hosts["docker-1"]
        docker.every_second = daemons(docker)

    def test_1_healthy_without_what_is_recorded(self) -> None:
        """The dear group was never evaluated up to now."""
        hosts = set(self.fleet.hosts)
        for promql in ("up == 1", "iptables_ruleset_hash", "chain:iptables_rules:sum"):
            with self.subTest(promql):
                eventually(lambda: self.instances(promql) == hosts, lambda: self.instances(promql))
        self.stays_silent(seconds=10)

    def test_2_healthy(self) -> None:
        """While daemons come and go on one host, and all targets get another label."""
        self.fleet.configure(pod="node-exporter-1")
        past = "instance:iptables_dropped_packets:rate5m"
        hosts = set(self.fleet.hosts)
        eventually(lambda: self.instances(past) == hosts, lambda: self.instances(past))
        self.fleet.configure(pod="node-exporter-2", rack="r7")
        for host in self.fleet.hosts.values():
            if not host.name.startswith("docker"):
                host.load_rules()
        self.stays_silent(seconds=22)

        for name in self.recorded_names() - MAY_BE_MISSING:
            with self.subTest(name):
                eventually(lambda: bool(self.fleet.query(name)), lambda: "no data")
        # Targets read from rules and brought along by --sum-by, with the labels and without.
        dropped = self.fleet.query(
            'instance_target:iptables_rule_packets:rate5m{target=~"DROP|REJECT"} > 0'
        )
        labels = ("instance", "family", "table", "target")
        self.assertEqual(
            {tuple(one["metric"].get(label) for label in labels) for one in dropped},
            {
                (f"web-{number}", "ipv4", "filter", target)
                for number in (1, 2, 3)
                for target in ("DROP", "REJECT")
            }
            | {(name, "ipv4", "filter", "DROP") for name in ("db-1", "docker-1")},
        )

    def test_3_firewalls_are_lost(self) -> None:
        web_1, web_2, _, db_1, docker_1 = self.fleet.hosts.values()
        live, quiet = docker_1.every_second, docker_1.traffic

        def zeroed(second: int) -> None:
            """Every "two minutes", while 800 packets a second are dropped."""
            live(second)
            if second % 2 == 0:
                docker_1.iptables("--wait --zero KUBE-FIREWALL")

        expected = {
            (LOST, "web-1"), (OPENED, "web-1"), (CHANGED, "web-1"),
            (LOST, "web-2"), (OPENED, "web-2"), (CHANGED, "web-2"),
            (OPENED, "db-1"), (CHANGED, "db-1"),
            ("IptablesDropRateHigh", "docker-1"),
        }  # fmt: skip
        with self.raising(expected) as undo:
            for host in (web_1, web_2, db_1):
                undo.callback(host.load_rules)
            undo.callback(setattr, docker_1, "traffic", quiet)
            undo.callback(setattr, docker_1, "every_second", live)
            web_1.iptables("--flush")  # filter alone: nat stays
            web_2.network.run("nft", "delete", "table", "ip", "filter")
            db_1.iptables("--policy INPUT ACCEPT")
            docker_1.every_second = zeroed
            docker_1.traffic = {**quiet, DISCARD: 80}

    def test_4_nobody_watches(self) -> None:
        web_1, web_2, web_3, db_1, docker_1 = self.fleet.hosts.values()
        junk = web_1.textfiles / "junk.prom"
        second_run = db_1.runs["iptables6.prom"]
        expected = {
            ("IptablesTextfileError", "web-1"),
            (FAILING, "web-2"), (FAILING, "docker-1"),
            ("IptablesCountersStale", "web-3"),
            ("IptablesMetricsGone", "db-1"),
        }  # fmt: skip
        with self.raising(expected) as undo:
            for host in (web_2, docker_1):
                undo.callback(setattr, host, "fails", host.fails)
            undo.callback(web_3.start_timer)
            undo.callback(db_1.runs.__setitem__, "iptables6.prom", second_run)
            undo.callback(junk.unlink)
            junk.write_text("this is no metric\n")
            web_2.fails = lambda run: run % 16 != 0
            docker_1.fails = lambda run: run % 2 == 0
            web_3.stop_timer()
            db_1.stop_timer()
            del db_1.runs["iptables6.prom"]
            db_1.start_timer()
            (db_1.textfiles / "iptables6.prom").unlink()
            self.fleet.restart_prometheus()  # what was there is remembered

    def test_5_a_reboot_would_not_restore_it(self) -> None:
        web_1 = self.fleet.hosts["web-1"]
        web_1.save()
        eventually(lambda: self.instances("table:iptables_hash:is_saved == 1") == {"web-1"}, "nothing is saved")
        with self.raising({(CHANGED, "web-1"), (NOT_SAVED, "web-1")}) as undo:
            undo.callback(web_1.load_rules)
            web_1.iptables(f"--append services {NEW_RULE}")
            self.dashboard_names_the_rule()

    def test_6_a_set_is_flushed(self) -> None:
        docker_1 = self.fleet.hosts["docker-1"]
        with self.raising({("IptablesSetEmptied", "docker-1")}) as undo:
            undo.callback(docker_1.network.run, "ipset", "-exist", "restore", stdin=docker_1.sets.encode())
            docker_1.network.run("ipset", "flush", "bans")

    def dashboard_names_the_rule(self) -> None:
        queries = dict(dashboard.queries(dashboard.load()))
        promql = filled_in(queries["Rules changed on $host"], "web-1")

        def changed() -> set[tuple[str, str]]:
            found = self.fleet.query(promql)
            return {(one["metric"]["rule"], one["value"][1]) for one in found}

        eventually(lambda: changed() == {(NEW_RULE, "1")}, changed)

    def test_7_dashboard(self) -> None:
        """After all that has happened, every query of the dashboard has something to show."""
        for source, label in dashboard.variable_sources(dashboard.load()):
            if label not in ("cluster", "netns"):
                with self.subTest(source, label=label):
                    self.assertTrue(self.somewhere(f"group by ({label}) ({source})"))
        for title, promql in dashboard.queries(dashboard.load()):
            with self.subTest(title, promql=promql):
                found = self.somewhere(promql)
                self.assertTrue(found or title in MAY_BE_EMPTY)

    def somewhere(self, promql: str) -> list[dict]:
        """What a query has shown for one host or another since the fleet began."""
        for host in self.fleet.hosts:
            if found := self.fleet.query_range(filled_in(promql, host), self.began):
                return found
        return []

    def test_8_rules_are_sound(self) -> None:
        for group in self.fleet.get("rules")["groups"]:
            for rule in group["rules"]:
                with self.subTest(rule["name"]):
                    self.assertEqual((rule["health"], rule.get("lastError")), ("ok", None))

    @contextlib.contextmanager
    def raising(self, expected: set[tuple[str, str]]) -> Iterator[contextlib.ExitStack]:
        """What is done raises these alerts and no other, and undoing it ends them."""
        began = time.time()
        with contextlib.ExitStack() as undo:
            yield undo
            eventually(
                lambda: expected <= self.fleet.fired_since(began),
                lambda: f"missing {expected - self.fleet.fired_since(began)}",
            )
            self.assert_annotated()
        # Undoing it changes rules, too, which may be told a moment after the rest has ended.
        eventually(lambda: not self.fleet.fired_since(time.time() - 5), self.fleet.firing)
        self.assertEqual(self.fleet.fired_since(began), expected)

    def assert_annotated(self) -> None:
        for alert in self.fleet.get("alerts")["alerts"]:
            for name in ("summary", "description", "runbook_url"):
                with self.subTest(alert["labels"]["alertname"], annotation=name):
                    self.assertNotRegex(alert["annotations"][name], r"\A\Z|<error|<no value>|  ")

    def stays_silent(self, seconds: float) -> None:
        """Waits, and nothing has fired since the fleet began."""
        time.sleep(seconds)
        self.assertEqual(self.fleet.fired_since(self.began), set())

    def instances(self, promql: str) -> set[str]:
        return {one["metric"]["instance"] for one in self.fleet.query(promql)}

    def recorded_names(self) -> set[str]:
        groups = self.fleet.get("rules", type="record")["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}


if __name__ == "__main__":
    support.main(support.netfilter, support.node_exporter, prometheus, ipset)
