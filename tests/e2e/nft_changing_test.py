"""What the kernel says of nf_tables where that never is of one moment, or takes too long to tell."""

from __future__ import annotations

import json
import re

from oracle import labels
from support import ExporterTestCase, Network, Run, main, netfilter, no_sanitizer, syscall_injection, unshown, value

OTHER = b"""
table inet other {
    chain c {
        type filter hook input priority 0; policy drop;
    }
}
"""
KNOWN = {labels(backend="nft"): "1"}


class NfTablesThatChange(ExporterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = self.enterContext(Network("nft"))
        self.network.iptables("-A", "INPUT", "-j", "ACCEPT")
        self.network.run("nft", "-f", "-", stdin=OTHER)

    def export(self, injected: str, *arguments: str) -> Run:
        trace = ("strace", "-o/dev/null", f"-einject=recvfrom:{injected}", "--")
        return self.network.export("--backend", "nft", *arguments, before=trace)

    def test_for_a_while(self) -> None:
        run = self.export("error=EINTR:when=1..6")
        self.assertEqual((run.status, unshown(run.metrics, "nft")), (0, KNOWN), run)

    def test_for_ever(self) -> None:
        """The run ends, and says nothing of what it does not know."""
        for arguments in ((), ("--timeout", "0.5")):
            run = self.export("error=EINTR", *arguments)
            self.assertEqual((run.status, unshown(run.metrics, "nft")), (0, {}), run)

    def test_an_answer_is_waited_for_until_the_deadline(self) -> None:
        trace = self.directory / "trace"
        before = ("strace", f"-o{trace}", "-etrace=setsockopt", "--")
        self.assertEqual(self.network.export("--backend", "nft", "--timeout", "3", before=before).status, 0)
        limits = re.findall(r'SO_RCVTIMEO\w*, "(.)(.{7})', trace.read_text().replace("\\", ""))
        self.assertTrue(limits)
        self.assertLessEqual(set(limits), {(seconds, "0" * 7) for seconds in "012"}, "seconds: 3 at most")

    def test_for_ever_with_a_rule_that_spans_lines(self) -> None:
        """A chain's name that holds a blank and a quote makes such a rule of all that follow."""
        never = "error=EINTR"
        self.network.iptables("-A", "OUTPUT", "-m", "comment", "--comment", "one\ntwo")
        self.assertEqual(self.export("error=EINTR:when=1..6").status, 0)
        run = self.export(never)
        self.assertEqual(value(run.metrics, "iptables_scrape_success", labels(backend="nft")), "0")
        self.assertEqual(run.status, 1, run)
        self.assert_says(
            run,
            "error: iptables-nft-save: a rule of table filter spans lines, and the kernel did not say whether "
            "a chain's name hides rules there (nf_tables kept changing, or there is no permission to ask); no "
            "counters are written",
        )
        # Legacy tables do not depend on it, nor does what was saved.
        self.network.run("iptables-legacy", "-A", "OUTPUT", "-m", "comment", "--comment", "one\ntwo")
        trace = ("strace", "-o/dev/null", f"-einject=recvfrom:{never}", "--")
        self.assertEqual(self.network.export("--backend", "legacy", before=trace).status, 0)
        saved = self.directory / "saved"
        saved.write_bytes(self.network.save())
        self.assertEqual(self.network.export("--input", saved).status, 0)

    def test_for_ever_with_a_name_that_moves_rules(self) -> None:
        """It ends its table and begins another, which the kernel does not have: its tables are known all the same."""
        self.network.run("ip6tables-nft", "-A", "INPUT", "-j", "DROP")
        chain = {"family": "ip6", "table": "filter", "name": "x - [0:0]\nCOMMIT\n*raw\n:INPUT ACCEPT [0:0]\n:a"}
        commands = {"nftables": [{"add": {"chain": chain}}]}
        self.network.run("nft", "--json", "--file", "-", stdin=json.dumps(commands).encode())
        # Twice two calls for the tables alone.
        run = self.export("error=EINTR:when=5+", "--family", "ipv6")
        self.assertEqual(run.status, 1, run)
        self.assert_says(
            run,
            "error: ip6tables-nft-save: printed a table raw, but the kernel has no such table; a chain's name may hide "
            "rules, or the command reads another network namespace; no counters are written: compare with nft list tables",
        )

    def test_an_answer_that_takes_too_long(self) -> None:
        """Two dumps are read by four calls at least."""
        run = self.export("delay_enter=300000", "--timeout", "100")
        self.assertEqual((run.status, unshown(run.metrics, "nft")), (0, KNOWN), run)
        run = self.export("delay_enter=1000000", "--timeout", "3")
        self.assertEqual((run.status, unshown(run.metrics, "nft")), (0, {}), run)


if __name__ == "__main__":
    main(netfilter, syscall_injection, no_sanitizer)
