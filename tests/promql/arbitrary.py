"""Rulesets, selectors and regular expressions at random, with all that is hard about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from oracle import Chain, Rule, Table

# --- rulesets -----------------------------------------------------------------------------------

_WORDS = ("a", "web", "WEB", "db-1", "x y", "ssh", "COMMIT", "-j", "--comment", "'", '"', "\\")
_ODD = (
    "ü", "Ü", "ß", "ſ", "\u212a", "🔥", "\n", "\t", "\r", "\x01", "\x7f", "\u2028", ".*", "(a|b)", "$",
)  # fmt: skip


def value(random: Random) -> str:
    """A text as users write it into comments, or do not."""
    count = random.randint(0, 3)
    parts = [random.choice(random.choice((_WORDS, _WORDS, _ODD))) for _ in range(count)]
    return random.choice(("", "", " ", "-")).join(parts)


def _quoted(text: str) -> bytes:
    """As iptables-save writes it, and with a byte that is not UTF-8 for each $."""
    if re.fullmatch("[A-Za-z0-9_-]+", text):
        return text.encode()
    return b'"%s"' % re.sub(rb"""(["'\\])""", rb"\\\1", text.encode()).replace(b"$", b"\xff")


@dataclass
class KnownRule(Rule):
    """A rule of which we know what it was made of."""

    comment: str
    target: str


def _rule(random: Random, chain: bytes) -> KnownRule:
    words = []
    if random.random() < 0.5:
        words.append(b"-s 10.0.0.%d/32" % random.randint(0, 3))
    if random.random() < 0.3:
        words.append(random.choice((b"-i eth0", b'-i a"b', b"! -i --comment", b"-i -j")))
    if random.random() < 0.5:
        words.append(b"-p tcp -m tcp --dport %d" % random.choice((22, 80, 443, 8080)))
    comments = [value(random) for _ in range(random.choice((0, 1, 1, 1, 2)))]
    words += [b"-m comment --comment " + _quoted(comment) for comment in comments]
    if random.random() < 0.2:
        words.append(b"-m string --string %s --algo bm" % _quoted('--comment no" -j DROP'))
    target = random.choice(("", "ACCEPT", "DROP", "LOG", "web", "a.b", "\xff", "-j", '"x"'))
    if target == "LOG":
        words.append(b'-j LOG --log-prefix "-j DROP --comment no "')
    elif target:
        words.append(random.choice((b"-j ", b"-g ")) + target.encode("latin-1"))
    return KnownRule(
        chain,
        b" ".join(words),
        *_counters(random),
        comment=comments[0].replace("$", "\ufffd") if comments else "",
        target=target.replace("\xff", "\ufffd"),
    )


def _counters(random: Random) -> tuple[int, int]:
    """Thousands of these add up to less than 2^53, from where on Prometheus rounds."""
    largest = 2 ** random.choice((0, 4, 20, 40))
    return random.randint(0, largest), random.randint(0, largest)


def ruleset(random: Random) -> list[Table]:
    tables = []
    for name in random.sample((b"filter", b"nat", b"mangle"), random.randint(1, 3)):
        builtin = [Chain(chain, b"DROP", *_counters(random)) for chain in (b"INPUT", b"OUTPUT")]
        own = [b"web", b"KUBE-A", b"KUBE-B", b"a.b", b'a"b', b"\\", b"\xff", "ü".encode(), b"#x"]
        chains = [*builtin, *(Chain(chain, b"-", 0, 0) for chain in random.sample(own, 4))]
        rules = [_rule(random, chain.name) for chain in chains for _ in range(random.randint(0, 8))]
        tables.append(Table(name, chains, rules))
    return tables if any(table.rules for table in tables) else ruleset(random)


def dump(tables: Sequence[Table]) -> bytes:
    """What iptables-save -c prints of it."""
    lines = []
    for table in tables:
        lines.append(b"*" + table.name)
        for chain in table.chains:
            lines.append(b":%s %s [%d:%d]" % (chain.name, chain.policy, chain.packets, chain.bytes))
        for rule in table.rules:
            text = b"[%d:%d] -A %s %s" % (rule.packets, rule.bytes, rule.chain, rule.text)
            lines.append(text if rule.text else text[:-1])
        lines.append(b"COMMIT")
    return b"".join(line + b"\n" for line in lines)


# --- selectors ----------------------------------------------------------------------------------


@dataclass
class Matcher:
    label: str
    operator: str
    string: str  # with its quotes

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{self.string}"

    @property
    def is_on_chain(self) -> bool:
        return self.label in ("table", "chain", "family", "backend")

    def negated(self) -> Matcher:
        operator = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[self.operator]
        return Matcher(self.label, operator, self.string)


Selector = list[Matcher]
Series = Sequence[dict[str, str]]  # with all labels, empty ones too


def written(selector: Selector, random: Random) -> str:
    """The selector with its braces, and with white space and commas where they may be."""

    def space() -> str:
        return random.choice(("",) * 12 + (" ", "  ", "\t", "\n", "\r\n"))

    matchers = [
        space().join(("", matcher.label, matcher.operator, matcher.string, ""))
        for matcher in selector
    ]
    text = ",".join(matchers) + (random.choice(("", "", ",")) if matchers else "")
    return space().join(("", "{", text, "}", ""))


_SHORT = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\"}


def _escaped(character: str, random: Random) -> str:
    ways = [f"\\U{ord(character):08x}"]
    if ord(character) <= 0xFFFF:
        ways.append(f"\\u{ord(character):04X}")
    if character != "\ufffd":
        ways.append("".join(f"\\x{byte:02x}" for byte in character.encode()))
    if character in _SHORT:
        ways += [f"\\{_SHORT[character]}"] * 4
    return random.choice(ways)


def string(text: str, random: Random) -> str:
    """A string of PromQL that means this, one of many."""
    quotes = ["'", '"', '"']
    if "`" not in text and "\ufffd" not in text:  # which PromQL does not take as it is
        quotes.append("`")
    quote = random.choice(quotes)
    if quote == "`":
        return f"`{text}`"
    result = ""
    for character in text:
        if character == quote:
            result += random.choice(("\\" + quote, _escaped(character, random)))
        elif character in "\\\n\ufffd" or random.random() < (0.1 if character.isascii() else 0.5):
            result += _escaped(character, random)
        else:
            result += character
    return quote + result + quote


def _changed(text: str, random: Random) -> str:
    at = random.randint(0, len(text))
    inserted = text[:at] + "a" + text[at:]
    return random.choice((text[:at], text[at:], text + "x", text.swapcase(), inserted))


_ATOMS = (
    "a", "b", "é", "-", "|", "{", "}", "x{,2}", "(?:)", "^", "$", r"\A", r"\z", r"\b", r"\B",
    "[a-z]", "[^a-z]", "[]a]", r"[\d-]", "[[:alpha:]]", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S",
    r"\pL", r"\PL", r"\p{Lu}", r"\x{fc}", r"\x41", r"\141", r"\t", r"\.", r"\-", r"\_", r"\Qa.b|\E",
)  # fmt: skip
_REPEATS = ("*", "+", "?", "*?", "+?", "??", "{2}", "{0,1}", "{1,}", "{0}")


def regex(values: Sequence[str], random: Random, depth: int = 2) -> str:
    """A regular expression that has a good chance to match one of the values."""
    kind = random.randint(0, 9) if depth else random.randint(0, 3)
    if kind <= 1:
        return _literal(random.choice(values))
    if kind == 2:
        return random.choice(_ATOMS)
    if kind == 3:
        return random.choice((".*", ".+", ".", "", ".?"))
    if kind <= 5:
        parts = [regex(values, random, depth - 1) for _ in range(random.randint(1, 3))]
        return "|".join(parts)
    if kind == 6:
        group = random.choice(("(", "(?:", "(?i:", "(?P<name>", "(?s:", "(?U:", "(?m:"))
        return group + regex(values, random, depth - 1) + ")" + random.choice(("", *_REPEATS))
    if kind == 7:
        text = random.choice(values)
        at = random.randint(0, len(text))
        return random.choice((_literal(text[:at]) + ".*", ".*" + _literal(text[at:])))
    if kind == 8:
        text = random.choice(values)
        at = random.randint(0, len(text))
        between = random.choice((".", r"\w", "[^x]", ".+"))
        return _literal(text[:at]) + between + _literal(text[at + 1 :])
    return "(?i)" + _literal(random.choice(values).swapcase())


def _literal(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def matcher(series: Series, names: Sequence[str], random: Random) -> Matcher:
    """On one of the names, with values as the series have."""
    label = random.choice(names)
    values = [random.choice(series)[label] for _ in range(3)]
    operator = random.choice(("=", "!=", "=~", "=~", "!~"))
    if operator.endswith("~"):
        text = regex(values, random)
        if "." in text and any("\n" in one[label] for one in series):
            text = "(?s)" + text  # without, Prometheus 2 differs
    else:
        text = random.choice((values[0], values[0], values[0], "", _changed(values[1], random)))
    return Matcher(label, operator, string(text, random))


def selector(series: Series, names: Sequence[str], random: Random) -> Selector:
    count = random.choice((0, 1, 1, 1, 2, 2, 3))
    return [matcher(series, names, random) for _ in range(count)]


_BITS = (
    "{", "}", ",", "=", "~", "!", "<", "==", "=~", "!~", "!=", "'", '"', "`", " ", "\n", "\v", "\u00a0",
    "a", "_", "0", "-", ".", ":", ";", "@", "/", "é", "🔥", "and", "by", "offset 5m", "[5m]",
    "\\", "\\\\", "\\/", "\\n", "\\x41", "\\x4", "\\u00fc", "\\ud800", "\\U0001F525", "\\U00110000",
    "\\400", "\\8", "\\d", "\\\\d", "\\\\p{X}", "(", ")", "[", "]", "*", "+", "?", "|", "^", "$",
    "**", "{2}", "x{2,1}", "x{1001}", "(?i)", "(?=", "(?P<", "[[:x:]]",
)  # fmt: skip


def damaged(text: str, random: Random) -> str:
    """The selector with a change inside of its braces or behind, which may leave it valid."""
    begin = text.index("{") + 1
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at = random.randint(begin, len(text))
        end = min(len(text), at + random.randint(1, 6))
        text = random.choice(
            (
                text[:at] + text[at + 1 :],
                text[:at] + random.choice(_BITS) + text[at:],
                text[:at] + random.choice(_BITS) + text[end:],
                text[:end] + text[at:],
                text[:at],
            )
        )
    return text
