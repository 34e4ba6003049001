#include "collect/outcome.h"

#include <doctest/doctest.h>

#include <csignal>
#include <ostream>

namespace iptables_exporter {
namespace {

constexpr std::chrono::duration<double> timeout{2.5};
constexpr Source legacy{Family::ipv4, Backend::legacy};
constexpr Source nft{Family::ipv4, Backend::nft};
const Host root{{false, false}, {}};
const Host root_with_legacy_tables{{true, true}, {}};
const Host nobody{{std::nullopt, std::nullopt}, {false, false, false}};

Ruleset ruleset_with(std::vector<std::string> tables) {
  Ruleset ruleset;
  for (const std::string& name : tables) ruleset.tables.push_back({name, {}});
  return ruleset;
}

Attempt attempt_with(std::optional<Backend> variant, End end, Ruleset ruleset = {},
                     std::string stderr_text = "") {
  return {variant, {std::move(end), std::move(stderr_text), {}}, std::move(ruleset), ""};
}

}  // namespace

TEST_CASE("why a source failed") {
  Attempt broken = attempt_with(Backend::nft, Exited{0});
  broken.ruleset.reset();
  broken.parse_error = "line 3: expected a line of iptables-save -c: x";
  struct Row {
    Source source;
    Attempt attempt;
    Host host;
    std::string_view error;
  };
  const std::string lacks = "; this process lacks ";
  const Row rows[] = {
      {{},
       attempt_with({}, NotRun{"cannot make a pipe: Too many open files"}),
       root,
       "cannot make a pipe: Too many open files"},
      {{},
       attempt_with({}, Exited{3}, {}, "one\ntwo\n"),
       root,
       "iptables-save exited with status 3: one; two"},
      {nft, attempt_with(Backend::nft, Exited{4}), nobody,
       "iptables-nft-save exited with status 4; this process lacks CAP_NET_ADMIN: run it as root "
       "or "
       "grant them"},
      {legacy, attempt_with(Backend::legacy, Exited{1}), nobody,
       "iptables-legacy-save exited with status 1; this process lacks CAP_NET_ADMIN, CAP_NET_RAW, "
       "CAP_DAC_READ_SEARCH: run it as root or grant them"},
      {legacy,
       attempt_with(Backend::legacy, Exited{1}),
       {{}, {true, true, false}},
       "iptables-legacy-save exited with status 1; this process lacks CAP_DAC_READ_SEARCH: run it "
       "as "
       "root or grant them"},
      {{},
       attempt_with({}, Killed{SIGSEGV}),
       nobody,
       "iptables-save was killed by signal 11 (Segmentation fault)"},
      {{Family::ipv6, {}},
       attempt_with({}, TimedOut{}, {}, "slow\n"),
       nobody,
       "ip6tables-save did not end within 2.5 seconds (--timeout) and was killed: slow"},
      {nft, broken, root, "iptables-nft-save: line 3: expected a line of iptables-save -c: x"},
      // A legacy command that prints nothing may not see what there is, whatever was asked for.
      {legacy, attempt_with(Backend::legacy, Exited{0}), root_with_legacy_tables,
       "iptables-legacy-save: printed nothing, though the kernel may hold legacy tables"},
      {{},
       attempt_with(Backend::legacy, Exited{0}),
       {{}, {true, true, false}},
       "iptables-save: printed nothing, though the kernel may hold legacy tables; this process "
       "lacks "
       "CAP_DAC_READ_SEARCH: run it as root or grant them"},
  };
  for (const Row& row : rows) {
    const Collection collection = outcome(row.source, row.attempt, row.host, timeout);
    CHECK(collection.error == row.error);
    CHECK(!collection.ruleset);
    CHECK(collection.warnings.empty());
  }
}

TEST_CASE("a read of legacy tables beside a change of them") {
  const auto watched = [](Watched state, Attempt attempt, int tries = 1) {
    attempt.watched = state;
    attempt.tries = tries;
    return attempt;
  };
  const auto read = [](std::optional<Backend> variant, std::vector<std::string> tables = {"nat"}) {
    return attempt_with(variant, Exited{0}, ruleset_with(std::move(tables)));
  };
  Ruleset says_legacy = ruleset_with({"nat"});
  says_legacy.variant = Backend::legacy;
  Attempt broken = read(Backend::legacy);
  broken.ruleset.reset();
  struct Row {
    Attempt attempt;
    bool is_disturbed;
    std::optional<bool> is_protected;
  };
  const Row rows[] = {
      {watched(Watched::undisturbed, read(Backend::legacy)), false, true},
      {watched(Watched::unreliably, read(Backend::legacy)), false, false},
      {watched(Watched::disturbed, read(Backend::legacy)), true, {}},
      {watched(Watched::disturbed, attempt_with({}, Exited{0}, says_legacy)), true, {}},
      {watched(Watched::disturbed, read(Backend::nft)), false, {}},
      {watched(Watched::disturbed, read({})), false, {}},
      // Without tables there are no counters.
      {watched(Watched::disturbed, read(Backend::legacy, {})), false, true},
      {watched(Watched::unreliably, read(Backend::legacy, {})), false, true},
      {watched(Watched::disturbed, attempt_with(Backend::legacy, Exited{1})), false, {}},
      {watched(Watched::disturbed, broken), false, {}},
      {watched(Watched::disturbed, attempt_with(Backend::legacy, TimedOut{})), false, {}},
  };
  for (const Row& row : rows) {
    CHECK(is_disturbed(row.attempt) == row.is_disturbed);
    const Collection collection = outcome({}, row.attempt, root, timeout);
    CHECK(collection.legacy_read_protected == row.is_protected);
    CHECK((collection.error.find("somebody was changing") != std::string::npos) ==
          row.is_disturbed);
    if (row.is_disturbed) CHECK(!collection.ruleset);
  }
  // One that was still trying again when time was up.
  const Attempt late = watched(Watched::undisturbed, attempt_with(Backend::legacy, TimedOut{}), 2);
  CHECK(outcome({}, late, root, timeout).error.find("somebody was changing") != std::string::npos);
}

TEST_CASE("what succeeded") {
  struct Row {
    Source source;
    Attempt attempt;
    Host host;
  };
  const Row rows[] = {
      {legacy, attempt_with(Backend::legacy, Exited{0}), root},
      {legacy, attempt_with(Backend::legacy, Exited{0}, ruleset_with({"filter"})),
       root_with_legacy_tables},
      {nft, attempt_with(Backend::nft, Exited{0}), root_with_legacy_tables},
      {{}, attempt_with({}, Exited{0}), nobody},
  };
  for (const Row& row : rows) {
    const Collection collection = outcome(row.source, row.attempt, row.host, timeout);
    CHECK(collection.error == "");
    CHECK(collection.ruleset);
  }
}

TEST_CASE("the variant is what the command is, else what the dump says") {
  Ruleset says_legacy;
  says_legacy.variant = Backend::legacy;
  const auto variant_of = [&](std::optional<Backend> command, const Ruleset& ruleset) {
    return outcome({}, attempt_with(command, Exited{0}, ruleset), root, timeout).ruleset->variant;
  };
  CHECK(variant_of(Backend::nft, says_legacy) == Backend::nft);
  CHECK(variant_of({}, says_legacy) == Backend::legacy);
  CHECK(variant_of({}, {}) == std::nullopt);
}

TEST_CASE("a source without a command") {
  const auto fails = [](const Source& source, const Host& host, std::size_t sources) {
    const Collection collection = outcome_without_command(source, "no such", host, sources);
    CHECK(collection.ruleset.has_value() == collection.error.empty());
    CHECK((collection.error == "" || collection.error == "no such"));
    return !collection.ruleset;
  };
  CHECK(!fails(legacy, root, 2));
  CHECK(fails(legacy, root, 1));
  CHECK(fails(legacy, root_with_legacy_tables, 2));
  CHECK(fails(legacy, nobody, 2));
  CHECK(fails(nft, root, 2));
}

TEST_CASE("legacy tables that nobody shows are hidden, and then iptables' warning of them counts") {
  const std::string warning = "# Warning: iptables-legacy tables present, use ...\n";
  struct Row {
    std::vector<Collection> collections;
    Host host;
    std::optional<bool> are_hidden;
    std::size_t warnings;
  };
  const auto of_nft =
      outcome(nft, attempt_with(Backend::nft, Exited{0}, {}, warning), root, timeout);
  const auto of_plain = outcome({}, attempt_with({}, Exited{0}, {}, warning), root, timeout);
  const auto of_legacy = outcome(legacy, attempt_with(Backend::legacy, Exited{0}), root, timeout);
  const auto of_plain_legacy = outcome({}, attempt_with(Backend::legacy, Exited{0}), root, timeout);
  const auto of_ipv6_legacy = outcome({Family::ipv6, Backend::legacy},
                                      attempt_with(Backend::legacy, Exited{0}), root, timeout);
  const auto of_failed = outcome(legacy, attempt_with(Backend::legacy, Exited{1}), root, timeout);
  const Row rows[] = {
      {{of_nft}, root, false, 0},
      {{of_nft}, root_with_legacy_tables, true, 1},
      {{of_nft}, nobody, std::nullopt, 1},
      {{of_plain}, root_with_legacy_tables, true, 1},
      {{of_nft, of_legacy}, root_with_legacy_tables, false, 0},
      {{of_nft, of_plain_legacy}, root_with_legacy_tables, false, 0},
      {{of_nft, of_ipv6_legacy}, root_with_legacy_tables, true, 1},
      {{of_nft, of_failed}, root_with_legacy_tables, true, 1},
  };
  for (Row row : rows) {
    find_hidden_legacy_tables(row.collections, row.host);
    CHECK(row.collections.front().hidden_legacy_tables == row.are_hidden);
    CHECK(row.collections.front().warnings.size() == row.warnings);
  }
}

TEST_CASE("no tables in any source") {
  const auto collections_with = [](const Ruleset& ruleset) {
    std::vector<Collection> collections(1);
    collections[0].name = "iptables-nft-save";
    collections[0].ruleset = ruleset;
    collections[0].ruleset->variant = Backend::nft;
    collections[0].warnings = {"iptables-nft-save: look out"};
    return collections;
  };
  auto empty = collections_with({});
  require_tables(empty, nobody.privileges);
  CHECK(!empty[0].ruleset);
  CHECK(empty[0].warnings.empty());
  CHECK(empty[0].error ==
        "iptables-nft-save: no tables (--allow-empty makes that a success); this process lacks "
        "CAP_NET_ADMIN: run it as root or grant them; iptables-nft-save: look out");

  auto file = collections_with({});
  require_tables(file, std::nullopt);
  CHECK(
      file[0].error ==
      "iptables-nft-save: no tables (--allow-empty makes that a success); iptables-nft-save: look "
      "out");

  Ruleset incompatible;
  incompatible.incompatible_tables = {"nat"};
  for (const Ruleset& ruleset : {ruleset_with({"filter"}), incompatible}) {
    auto shown = collections_with(ruleset);
    require_tables(shown, nobody.privileges);
    CHECK(shown[0].ruleset);
    CHECK(shown[0].error == "");
  }
}

}  // namespace iptables_exporter
