"""Random rules as command lines of iptables: every byte that a comment may hold, newlines too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# Built-in chains by table, without those of nat, where a policy is all that traffic meets.
TABLES = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}
OWN_CHAINS = (b"COMMIT", b":x", b"*x", b"#x", b'"a', b"x[1:2]", b"\x80", "é".encode(), b"plain")
# Of mangle, for rules that versions print differently, and unused.
DIFFERENT = b"different"

COMMENTS = (
    b"-j", b"", b"!", b"COMMIT", b"-m comment --comment", b"\\", b'"', b"'", b"\n", b"\n\n", b" ", b"\\n",
    b"two\nlines\nCOMMIT", b"\nCOMMIT\n*nat\n:EVIL ACCEPT [5:6]\n[7:8] -A EVIL -j DROP\nCOMMIT\n",
    b'" -j DROP\n[7:8] -A INPUT -m comment --comment "',
    b"\n# Table `nat' is incompatible, use 'nft' tool.\n",
    b"  doubled  and trailing  ", b"ends in a backslash\\", b"tab\there", b"carriage\r\nreturn",
    b"-m mark [unsupported revision]", b" -j DNAT [unsupported revision]", b"\xfe", b"\xff",
    b"\xc0\x80 \xed\xa0\x80 \xe2\x98 \xf4\x90\x80\x80", "naïve ☃ 🔥".encode(), b"x" * 255,
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    table: str
    chain: bytes
    words: tuple[bytes, ...]  # of the command line, behind -A CHAIN
    comment: bytes = b""  # the first one


class RandomRules:
    def __init__(self, seed: int, family: str) -> None:
        self.random = random.Random(f"{seed} {family}")
        self.is_ipv6 = family == "ipv6"
        self.own_chains = {table: self.random.sample(OWN_CHAINS, 3) for table in TABLES}

    def rules(self, count: int) -> list[Rule]:
        """Duplicates among them, and those that versions print differently."""
        rules = [Rule("mangle", DIFFERENT, words) for words in self._different()]
        while len(rules) < count:
            is_duplicate = len(rules) > 20 and self.random.random() < 0.15
            rules.append(self.random.choice(rules) if is_duplicate else self._rule())
        return rules

    def _rule(self) -> Rule:
        table = self.random.choice(list(TABLES))
        own = self.own_chains[table]
        chains = [chain.encode() for chain in TABLES[table]] + own
        index = self.random.randrange(len(chains))
        # A jump goes to a later chain only, or the kernel would see a loop.
        later = own[max(0, index - len(TABLES[table]) + 1) :]

        comments = [self._comment() for _ in range(self.random.choice([0, 1, 1, 1, 2]))]
        words = [*self._address(), *self._interface(chains[index]), *self._protocol()]
        for comment in comments[:1]:
            words += [b"-m", b"comment", b"--comment", comment]
        words += self._match()
        for comment in comments[1:]:
            words += [b"-m", b"comment", b"--comment", comment]
        words += self._target(table, chains[index], later)
        return Rule(table, chains[index], tuple(words), comments[0] if comments else b"")

    def _pick(self, *choices: str | tuple[bytes, ...]) -> list[bytes]:
        choice = self.random.choice(choices)
        return choice.encode().split() if isinstance(choice, str) else list(choice)

    def _address(self) -> list[bytes]:
        n = self.random.randrange(256)
        if self.is_ipv6:
            return self._pick("", "", f"-s 2001:db8:{n:x}::/48", f"! -d 2001:db8::{n:x}")
        return self._pick("", "", f"-s 10.{n}.0.0/16", f"! -d 192.0.2.{n}")

    def _interface(self, chain: bytes) -> list[bytes]:
        """Names are printed raw."""
        if chain in (b"INPUT", b"PREROUTING", b"FORWARD"):
            return self._pick("", "", "-i lo", "! -i eth+", (b"-i", b'"x'), (b"!", b"-i", b'a"b'))
        if chain in (b"OUTPUT", b"POSTROUTING"):
            return self._pick("", "", "-o lo", "! -o eth+", (b"-o", b'"'), (b"-o", b"-j"))
        return []

    def _protocol(self) -> list[bytes]:
        port = self.random.randrange(1, 65000)
        icmp = "-p ipv6-icmp -m icmp6 --icmpv6-type" if self.is_ipv6 else "-p icmp -m icmp --icmp-type"
        return self._pick(
            "",
            "! -p udp",
            f"-p udp -m udp --dport {port}",
            f"-p tcp -m tcp ! --sport {port}:65535",
            f"-p tcp -m tcp --dport {port}",
            "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
            f"-p tcp -m multiport ! --dports {port},80:90",
            f"-p udp -m multiport --sports {port},53",
            f"{icmp} {128 if self.is_ipv6 else 8}",
        )

    def _match(self) -> list[bytes]:
        n = self.random.randrange(1, 200)
        return self._pick(
            "",
            "",
            "",
            "-m conntrack --ctstate RELATED,ESTABLISHED",
            f"-m limit --limit {n}/min --limit-burst 7",
            f"-m mark ! --mark 0x{n:x}/0xff",
            f"-m connmark --mark {n}",
            "-m statistic --mode nth --every 3 --packet 1",
            f"-m length --length {n}:1500",
            (b"-m", b"recent", b"--set", b"--name", b'"r%d' % n),
            (b"-m", b"hashlimit", b"--hashlimit-upto", b"5/sec", b"--hashlimit-name", b'"h%d' % n),
            (b"-m", b"helper", b"--helper", b"ftp\nCOMMIT"),
            (b"-m", b"u32", b"--u32", b"0x0>>0x16&0x3c@0x8=0x1"),
            (b"-m", b"physdev", b"--physdev-is-bridged", b"--physdev-in", b'"p'),
        )

    def _target(self, table: str, chain: bytes, later: list[bytes]) -> list[bytes]:
        choices: list[str | tuple[bytes, ...]] = ["", "", "", "-j ACCEPT", "-j RETURN"]
        prefix = self._comment().replace(b"\n", b"")[:29]
        choices.append((b"-j", b"LOG", b"--log-prefix", prefix or b"x"))
        choices += [(jump, name) for name in later for jump in (b"-j", b"-g")]
        if table == "filter":
            choices += ["-j DROP", "-j REJECT"]
        if table == "mangle":
            choices += ["-j MARK --set-mark 0x7/0xff", "-j DSCP --set-dscp 0x0a", "-j CONNMARK --save-mark"]
        if table == "nat" and chain == b"PREROUTING":
            choices.append(f"-j DNAT --to-destination {'2001:db8::1' if self.is_ipv6 else '192.0.2.1'}")
        return self._pick(*choices)

    def _comment(self) -> bytes:
        if self.random.random() < 0.5:
            return self.random.choice(COMMENTS)
        alphabet = self.random.choice([b"abc-_", b"ab \"\\'\n", bytes(range(1, 256))])
        return bytes(self.random.choices(alphabet, k=self.random.choice([1, 3, 10, 100])))

    def _different(self) -> Iterator[tuple[bytes, ...]]:
        yield (b"-m", b"string", b"--algo", b"bm", b"--string", b"--comment \"x\\y' -j DROP\n*nat\n")
        yield (b"-j", b"NFLOG", b"--nflog-prefix", b"-m comment  --comment fake ")
        yield (b"-p", b"tcp", b"-j", b"TCPOPTSTRIP", b"--strip-options", b"2,4,5")
        for protocol in (b"gre", b"esp", b"ospf", b"vrrp", b"l2tp", b"igmp"):
            yield (b"-p", protocol, b"-j", b"ACCEPT")
        if self.is_ipv6:
            yield (b"-m", b"dst", b"--dst-opts", b"1:2", b"-j", b"ACCEPT")
