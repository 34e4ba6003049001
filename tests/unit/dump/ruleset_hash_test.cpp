#include "dump/ruleset_hash.h"

#include <doctest/doctest.h>

#include <functional>
#include <ostream>
#include <string>

#include "dump/save_parser.h"

namespace iptables_exporter {
namespace {

bool covers_all(const Chain& /*chain*/, const Rule& /*rule*/) { return true; }

std::uint64_t hash_of(std::string_view chains_and_rules,
                      const std::function<bool(const Chain&, const Rule&)>& covers = covers_all) {
  SaveParser parser;
  parser.feed("*t\n");
  parser.feed(chains_and_rules);
  parser.feed("COMMIT\n");
  const Ruleset ruleset = parser.finish();
  std::vector<const Chain*> chains;
  for (const Chain& chain : ruleset.tables.at(0).chains) chains.push_back(&chain);
  return ruleset_hash(chains, covers);
}

}  // namespace

// Dashboards and alerts compare these over machines and versions: they must never change.
TEST_CASE("test vectors") {
  // The low 48 bits of what `printf '' | xxhsum -H3` prints, and so on.
  CHECK(hash_of("") == 0x8005'38d3'94c2);
  // printf 'CINPUT\0ACCEPT\0R-j a\0R-j DROP\0Ca\0-\0R\0' | xxhsum -H3
  CHECK(hash_of(":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j DROP\n"
                "[0:0] -A a\n") == 0xca53'19a3'89fc);
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

TEST_CASE("rules that are not covered are as if they were not there") {
  const std::string_view table =
      ":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j a\n[0:0] -A INPUT -j DROP\n[0:0] -A a\n";
  CHECK(hash_of(table, [](const Chain& chain, const Rule& rule) {
          return chain.name == "INPUT" && rule.text != "-j a";
        }) == hash_of(":INPUT ACCEPT [0:0]\n:a - [0:0]\n[0:0] -A INPUT -j DROP\n"));
}

}  // namespace iptables_exporter
