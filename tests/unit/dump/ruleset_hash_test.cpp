#include "dump/ruleset_hash.h"

#include <doctest/doctest.h>
#include <xxhash.h>

#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "pages.h"

namespace iptables_exporter {
namespace {

/// Covers all rules.
class HashedRules : public RuleSink {
 public:
  void begin() override {}
  void add(const Table& /*table*/, Chain& chain, const Rule& rule) override {
    chain.hash = hash_with_rule(chain.hash, rule.text);
  }
};

std::uint64_t hash_of(const Table& table) {
  std::vector<const Chain*> chains;
  for (const Chain& chain : table.chains) chains.push_back(&chain);
  return ruleset_hash(chains);
}

std::uint64_t hash_of(std::string_view chains_and_rules) {
  HashedRules sink;
  const std::string dump = "*t\n" + std::string(chains_and_rules) + "COMMIT\n";
  return hash_of(parse(dump, dump.size(), sink).tables.at(0));
}

/// XXH3 of the text with a hash as its seed.
std::uint64_t xxh3(const std::string& text, std::uint64_t seed) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

std::string eight_bytes(std::uint64_t number) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift & 0xFF);
  return bytes;
}

}  // namespace

// Dashboards and alerts compare these over machines and versions: they must never change.
TEST_CASE("test vectors") {
  CHECK(hash_of("") == 0);
  const std::uint64_t input = xxh3("-j DROP", xxh3("-j a", 0));
  std::uint64_t hash = xxh3(eight_bytes(input), xxh3("ACCEPT", xxh3("INPUT", 0)));
  hash = xxh3(eight_bytes(xxh3("", 0)), xxh3("-", xxh3("a", hash)));
  const std::string_view table =
      ":a - [0:0]\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A a\n"
      "[0:0] -A INPUT -j DROP\n";
  CHECK(hash_of(table) == (hash & 0xFFFF'FFFF'FFFF));
  CHECK(hash_of(table) == 0xd25e'ec0a'dc99);
}

TEST_CASE("what the hash is blind to, and what it sees") {
  const std::string_view table =
      ":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j DROP\n[0:0] -A a\n";
  const std::uint64_t hash = hash_of(table);
  CHECK(hash < (std::uint64_t{1} << 48));

  for (const std::string_view same : {
           ":INPUT ACCEPT [7:8]\n:a - [0:0]\n[1:2] -A INPUT -j a\n[3:4] -A INPUT -j DROP\n[5:6] -A "
           "a\n",
           ":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j DROP \n"
           "[0:0] -A a\n",
           "# a comment\n:a - [0:0]\n:INPUT ACCEPT [0:0]\n[0:0] -A a\n[0:0] -A INPUT -j a\n[0:0] "
           "-A "
           "INPUT -j DROP\n",
       }) {
    CAPTURE(same);
    CHECK(hash_of(same) == hash);
  }
  for (const std::string_view other : {
           ":INPUT DROP [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j DROP\n[0:0] -A "
           "a\n",
           ":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j DROP\n[0:0] -A INPUT -j a\n[0:0] -A "
           "a\n",
           ":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j DROP\n",
           ":INPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j "
           "DROP\n[0:0] -A a\n",
           ":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A a -j DROP\n[0:0] -A a\n",
       }) {
    CAPTURE(other);
    CHECK(hash_of(other) != hash);
  }
}

TEST_CASE("where a rule, a chain or a text ends is seen") {
  const std::vector<std::string> tables = {
      ":a - [0:0]\n:b - [0:0]\n[0:0] -A a -j X\n",
      ":a - [0:0]\n:b - [0:0]\n[0:0] -A b -j X\n",
      ":a - [0:0]\n:b - [0:0]\n",
      ":a - [0:0]\n:b - [0:0]\n[0:0] -A a\n",
      ":a - [0:0]\n:b - [0:0]\n[0:0] -A a\n[0:0] -A a\n",
      ":a - [0:0]\n:b - [0:0]\n[0:0] -A a\n[0:0] -A b\n",
      ":ab - [0:0]\n",
      ":a - [0:0]\n",
      ":a B [0:0]\n",
      ":aB - [0:0]\n",
  };
  std::set<std::uint64_t> hashes;
  for (const std::string& table : tables) hashes.insert(hash_of(table));
  CHECK(hashes.size() == tables.size());
}

}  // namespace iptables_exporter
