"""The ruleset hash is what src/dump/ruleset_hash.h says, computed here from the dump alone."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path

from oracle import Labels, Malformed, labels, read_save
from support import ExporterTestCase, main, run

FIXTURES = Path(__file__).parents[2] / "fixtures"


def xxhash() -> str | None:
    return None if ctypes.util.find_library("xxhash") else "no libxxhash"


def hashes(dump: bytes) -> dict[Labels, str]:
    function = ctypes.CDLL(ctypes.util.find_library("xxhash")).XXH3_64bits_withSeed
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
    function.restype = ctypes.c_uint64

    def xxh3(text: bytes, seed: int) -> int:
        return function(text, len(text), seed)

    found = {}
    for table in read_save(dump):
        of_table = 0
        for chain in sorted(table.chains, key=lambda chain: chain.name):
            of_chain = 0
            for rule in table.rules:
                if rule.chain == chain.name:
                    of_chain = xxh3(rule.text, of_chain)
            of_table = xxh3(chain.name, of_table)
            of_table = xxh3(chain.policy, of_table)
            of_table = xxh3(of_chain.to_bytes(8, "big"), of_table)
        found[labels(table=table.name)] = str(of_table & 0xFFFF_FFFF_FFFF)
    return found


class RulesetHash(ExporterTestCase):
    def test_every_fixture(self) -> None:
        checked = 0
        for path in sorted(FIXTURES.glob("*.save")):
            if path.stem == "others-extensions":
                continue  # the oracle knows iptables' own quotes only
            dump = path.read_bytes()
            try:
                wanted = hashes(dump)
            except Malformed:
                continue  # old versions, which the oracle does not read
            with self.subTest(path.name):
                found = run("-i", path).metrics.get("iptables_ruleset_hash")
                self.assertEqual(found.samples if found else {}, wanted)
            checked += len(wanted)
        self.assertGreater(checked, 20)


if __name__ == "__main__":
    main(xxhash)
