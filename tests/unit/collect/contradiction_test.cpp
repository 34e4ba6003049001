#include <doctest/doctest.h>

#include <ostream>

#include "collect/judge.h"

namespace iptables_exporter {
namespace {

/// A chain of `rules` rules.
Chain chain(std::string name, std::string policy, std::size_t rules) {
  Chain made = {std::move(name), std::move(policy), {}, {}};
  made.rules = rules;
  return made;
}

/// Reads nat, which has two built-in chains and one of users, with three rules: 8 entries.
Attempt reads_nat() {
  Attempt attempt;
  attempt.collection.ruleset.emplace().tables.push_back(
      {"nat", {chain("INPUT", "ACCEPT", 0), chain("OUTPUT", "DROP", 1), chain("mine", "", 2)}});
  attempt.path = "/usr/sbin/iptables-legacy-save";
  attempt.backend = Backend::legacy;
  attempt.result.status = 0;
  attempt.watched = Watched::unchanged;
  return attempt;
}

KernelTables kernel(std::string name, std::uint32_t entries, std::string family = "ip") {
  KernelTable table{std::move(family), std::move(name)};
  table.entries = entries;
  return std::vector{KernelTable{"ip", "filter", false, false, "", 4}, table};
}

}  // namespace

TEST_CASE("tables that are not as the kernel has them are read again") {
  struct Row {
    KernelTables kernel;
    bool legacy_is_disturbed;
    bool nft_is_disturbed;
  };
  const Row rows[] = {
      {kernel("nat", 8), false, false},
      {kernel("nat", 7), true, false},
      {kernel("nat", 9), true, false},
      {kernel("mangle", 8), true, true},
      {kernel("nat", 8, "ip6"), true, true},
      {std::vector{KernelTable{"inet", "nat"}}, false, false},
      {{}, false, false},
      {std::vector<KernelTable>(), false, false},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    for (const Backend backend : {Backend::legacy, Backend::nft}) {
      const bool disturbed =
          backend == Backend::nft ? row.nft_is_disturbed : row.legacy_is_disturbed;
      Attempt attempt = reads_nat();
      attempt.kernel = row.kernel;
      attempt.backend = backend;
      CHECK(is_disturbed(attempt) == disturbed);
      attempt.backend = {};  // only the dump may tell
      CHECK(!is_disturbed(attempt));
      attempt.collection.ruleset->backend = backend;
      CHECK(is_disturbed(attempt) == disturbed);
      attempt.is_repeated = true;
      CHECK(is_disturbed(attempt) == (disturbed && backend == Backend::legacy));
      attempt.is_repeated = false;
      attempt.result.status = 1;
      CHECK(!is_disturbed(attempt));
    }
  }
}

TEST_CASE("a table that nft does not have twice has failed") {
  Attempt attempt = reads_nat();
  attempt.collection.name = "iptables-nft-save";
  attempt.backend = Backend::nft;
  attempt.kernel = kernel("mangle", 0);
  attempt.is_repeated = true;
  KernelTable spaced{"ip", "nat"};
  spaced.spaced_chain = "a b";
  const auto error = [&](KernelTables nft) {
    return judge({{attempt}, {{}, std::move(nft), {}}}, {std::chrono::seconds(3)}, false)
        .front()
        .error;
  };
  CHECK(error({}) ==
        "iptables-nft-save: printed a table nat, but the kernel has no such table; a chain's name "
        "may hide rules, or the command reads another network namespace; no counters are written: "
        "compare with nft list tables");
  CHECK(error(std::vector{spaced}).find("rename the chain a b") != std::string::npos);
  attempt.result = {};  // the second read was killed
  attempt.collection.ruleset.reset();
  CHECK(error({}).find("did not end within 3 seconds (--timeout)") != std::string::npos);
}

TEST_CASE("what stays other than the kernel has it has failed") {
  Attempt attempt = reads_nat();
  attempt.kernel = kernel("nat", 9);
  attempt.collection.name = "iptables-legacy-save";
  const TimeLimit limit{std::chrono::seconds(3)};
  const auto error = [&] { return judge({{attempt}}, limit, false).front().error; };
  const std::string beginning =
      "iptables-legacy-save: for 3 seconds (--timeout), other tables or other numbers of rules";
  CHECK(error().substr(0, beginning.size()) == beginning);
  attempt.result = {};  // the next read was killed
  attempt.collection.ruleset.reset();
  attempt.is_repeated = true;
  CHECK(error().substr(0, beginning.size()) == beginning);
  attempt.watched = Watched::changed;
  CHECK(error().find("legacy tables kept changing") != std::string::npos);
}

}  // namespace iptables_exporter
