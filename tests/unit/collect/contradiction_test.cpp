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

KernelTables kernel(std::string name, std::uint32_t entries) {
  KernelTable table{"ip", std::move(name)};
  table.entries = entries;
  return std::vector{KernelTable{"ip", "filter", false, false, "", 4}, table};
}

}  // namespace

TEST_CASE("legacy tables that are not as the kernel has them are read again") {
  struct Row {
    KernelTables legacy;
    bool is_disturbed;
  };
  const Row rows[] = {
      {kernel("nat", 8), false},
      {kernel("nat", 7), true},
      {kernel("nat", 9), true},
      {kernel("mangle", 8), true},
      {{}, false},
      {std::vector<KernelTable>(), false},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    Attempt attempt = reads_nat();
    attempt.legacy = row.legacy;
    CHECK(is_disturbed(attempt) == row.is_disturbed);
    attempt.backend = Backend::nft;
    CHECK(!is_disturbed(attempt));
    attempt.backend = {};  // only the dump may tell
    CHECK(!is_disturbed(attempt));
    attempt.collection.ruleset->backend = Backend::legacy;
    CHECK(is_disturbed(attempt) == row.is_disturbed);
    attempt.result.status = 1;
    CHECK(!is_disturbed(attempt));
  }
}

TEST_CASE("what stays other than the kernel has it has failed") {
  Attempt attempt = reads_nat();
  attempt.legacy = kernel("nat", 9);
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
