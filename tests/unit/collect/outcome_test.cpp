#include "collect/outcome.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <csignal>
#include <ostream>

#include "collect/command.h"

namespace iptables_exporter {
namespace {

constexpr std::chrono::duration<double> timeout{2.5};
const Source legacy{Family::ipv4, Backend::legacy};
const Source nft{Family::ipv4, Backend::nft};
const KernelTables none(std::in_place);
const KernelTables filter{{{"ip", "filter", false, true, ""}}};
const Host root{{none, none}, none, {}};
const Host root_with_legacy_tables{{filter, none}, none, {}};
const Host nobody{{std::nullopt, std::nullopt}, std::nullopt, {false, false, false}};

Ruleset ruleset_with(std::vector<std::string> tables) {
  Ruleset ruleset;
  for (const std::string& name : tables) ruleset.tables.push_back({name, {}});
  return ruleset;
}

End exited(int status) { return {status, status == 0 ? "" : "it failed"}; }

Attempt attempt_with(std::optional<Backend> variant, End end, Ruleset ruleset = {},
                     std::string stderr_text = "") {
  return {
      {}, "", "/sbin/x", variant, {std::move(end), std::move(stderr_text), {}}, std::move(ruleset),
      ""};
}

Collection outcome_of(const Source& source, Attempt attempt, const Host& host,
                      bool may_be_missing = false) {
  attempt.source = source;
  attempt.command = save_command(source);
  return outcome(std::move(attempt), host, timeout, may_be_missing);
}

std::string hint_for(std::string_view capabilities) {
  return fmt::format(
      "; it lacks {}: run as root or with ambient capabilities (the systemd unit, setpriv "
      "--ambient-caps); capabilities set with setcap are not passed to iptables-save",
      capabilities);
}

}  // namespace

TEST_CASE("what a command lacks is named where that is why it failed") {
  const Privileges all;
  const Privileges none_of_them{false, false, false};
  const std::string ipset = "iptables v1.8.9: Can't open socket to ipset.";
  struct Row {
    Privileges privileges;
    std::optional<Backend> backend;
    std::string complaint;
    std::string hint;
  };
  const Row rows[] = {
      {none_of_them, Backend::nft, "id: Permission denied (you must be root)",
       hint_for("CAP_NET_ADMIN")},
      {none_of_them, Backend::legacy, "names: Permission denied",
       hint_for("CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH")},
      {none_of_them,
       {},
       "Operation not permitted",
       hint_for("CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH")},
      {{true, false, true}, Backend::legacy, "permission denied", hint_for("CAP_NET_RAW")},
      {{true, false, true}, Backend::nft, "Permission denied", ""},
      {{true, false, false}, Backend::nft, ipset, hint_for("CAP_NET_RAW")},
      {{true, true, false},
       Backend::nft,
       ipset,
       "; for ipsets it needs AF_INET (RestrictAddressFamilies=)"},
      {none_of_them, Backend::nft, "Unknown match `x'", ""},
      {none_of_them, Backend::nft, "", ""},
      {all, {}, "Permission denied", ""},
  };
  for (const Row& row : rows) {
    CHECK(privileges_hint(row.privileges, row.backend, row.complaint) == row.hint);
  }
}

TEST_CASE("why a source failed") {
  Attempt broken = attempt_with(Backend::nft, exited(0));
  broken.ruleset.reset();
  broken.parse_error = "line 3: expected a line of iptables-save -c: x";
  struct Row {
    Source source;
    Attempt attempt;
    Host host;
    std::string error;
  };
  const Row rows[] = {
      {{},
       attempt_with({}, End{{}, "cannot make a pipe: Too many open files"}),
       root,
       "cannot make a pipe: Too many open files"},
      {{}, attempt_with({}, exited(3), {}, "one\ntwo\n"), root, "it failed: one; two"},
      {legacy, attempt_with(Backend::legacy, exited(1), {}, "why: Permission denied\n"), nobody,
       "it failed: why: Permission denied" +
           hint_for("CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH")},
      {{Family::ipv6, {}},
       attempt_with({}, End{}, {}, "slow\n"),
       nobody,
       "ip6tables-save did not end within 2.5 seconds (--timeout) and was killed: slow"},
      {nft, attempt_with(Backend::nft, End{}), nobody,
       "iptables-nft-save did not end within 2.5 seconds (--timeout) and was killed; nf_tables "
       "kept "
       "changing, or is too large"},
      {nft, broken, root, "iptables-nft-save: line 3: expected a line of iptables-save -c: x"},
      // A legacy command that prints nothing may not see what there is, whatever was asked for.
      {legacy, attempt_with(Backend::legacy, exited(0)), root_with_legacy_tables,
       "iptables-legacy-save: printed nothing, though the kernel may hold legacy tables"},
      {{},
       attempt_with(Backend::legacy, exited(0)),
       {{}, {}, {true, true, false}},
       "iptables-save: printed nothing, though the kernel may hold legacy tables" +
           hint_for("CAP_DAC_READ_SEARCH")},
  };
  for (const Row& row : rows) {
    const Collection collection = outcome_of(row.source, row.attempt, row.host);
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
    return attempt_with(variant, exited(0), ruleset_with(std::move(tables)));
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
      {watched(Watched::disturbed, attempt_with({}, exited(0), says_legacy)), true, {}},
      {watched(Watched::disturbed, read(Backend::nft)), false, {}},
      {watched(Watched::disturbed, read({})), true, {}},
      {watched(Watched::undisturbed, read({})), false, {}},
      // Without tables there are no counters.
      {watched(Watched::disturbed, read(Backend::legacy, {})), false, true},
      {watched(Watched::unreliably, read(Backend::legacy, {})), false, true},
      {watched(Watched::disturbed, attempt_with(Backend::legacy, exited(1))), false, {}},
      {watched(Watched::disturbed, broken), false, {}},
      {watched(Watched::disturbed, attempt_with(Backend::legacy, End{})), false, {}},
  };
  for (const Row& row : rows) {
    CHECK(is_disturbed(row.attempt) == row.is_disturbed);
    const Collection collection = outcome_of({}, row.attempt, root);
    CHECK(collection.legacy_read_protected == row.is_protected);
    CHECK((collection.error.find("somebody was changing") != std::string::npos) ==
          row.is_disturbed);
    if (row.is_disturbed) CHECK(!collection.ruleset);
  }
  // One that was still trying again when time was up.
  const Attempt late = watched(Watched::undisturbed, attempt_with(Backend::legacy, End{}), 2);
  CHECK(outcome_of({}, late, root).error.find("somebody was changing") != std::string::npos);
}

TEST_CASE("what succeeded") {
  struct Row {
    Source source;
    Attempt attempt;
    Host host;
  };
  const Row rows[] = {
      {legacy, attempt_with(Backend::legacy, exited(0)), root},
      {legacy, attempt_with(Backend::legacy, exited(0), ruleset_with({"filter"})),
       root_with_legacy_tables},
      {nft, attempt_with(Backend::nft, exited(0)), root_with_legacy_tables},
      {{}, attempt_with({}, exited(0)), nobody},
  };
  for (const Row& row : rows) {
    const Collection collection = outcome_of(row.source, row.attempt, row.host);
    CHECK(collection.error == "");
    CHECK(collection.ruleset);
  }
}

TEST_CASE("the variant is what the command is, else what the dump says") {
  Ruleset says_legacy;
  says_legacy.variant = Backend::legacy;
  const auto variant_of = [&](std::optional<Backend> command, const Ruleset& ruleset) {
    return outcome_of({}, attempt_with(command, exited(0), ruleset), root).ruleset->variant;
  };
  CHECK(variant_of(Backend::nft, says_legacy) == Backend::nft);
  CHECK(variant_of({}, says_legacy) == Backend::legacy);
  CHECK(variant_of({}, {}) == std::nullopt);
}

TEST_CASE("a source without a command") {
  const auto fails = [](const Source& source, const Host& host, bool may_be_missing) {
    Attempt attempt = attempt_with({}, End{{}, "no such"});
    attempt.path.clear();
    const Collection collection = outcome_of(source, std::move(attempt), host, may_be_missing);
    CHECK(collection.error == "no such");
    return !collection.ruleset;
  };
  CHECK(!fails(legacy, root, true));
  CHECK(!fails(nft, root, true));
  CHECK(!fails(legacy, root_with_legacy_tables, true));  // these are unshown
  CHECK(fails(legacy, root, false));
  CHECK(fails(nft, root, false));
  CHECK(fails({}, root, false));
  CHECK(fails(legacy, nobody, true));
  CHECK(fails(nft, nobody, true));
}

TEST_CASE("a command that fails on a kernel without its backend") {
  const auto fails = [](const Source& source, End end, const Host& host, bool may_be_missing) {
    Attempt attempt = attempt_with(source.backend, std::move(end), ruleset_with({"filter"}));
    const Collection collection = outcome_of(source, std::move(attempt), host, may_be_missing);
    if (collection.ruleset) CHECK(collection.ruleset->tables.empty());
    return !collection.ruleset;
  };
  const Host with_nft_tables{{none, none}, filter, {}};
  CHECK(!fails(nft, exited(1), root, true));
  CHECK(!fails(legacy, exited(1), root, true));
  CHECK(fails(nft, exited(1), root, false));
  CHECK(fails(nft, exited(1), with_nft_tables, true));
  CHECK(fails(legacy, exited(1), root_with_legacy_tables, true));
  CHECK(fails(nft, exited(1), nobody, true));
  CHECK(fails(nft, End{}, root, true));
  CHECK(fails(nft, End{{}, "no memory"}, root, true));
}

TEST_CASE("tables of the host that no source shows") {
  const auto of = [](const Source& source, std::optional<Backend> variant, const Ruleset& ruleset) {
    return outcome_of(source, attempt_with(variant, exited(0), ruleset), root);
  };
  Ruleset cannot_show_filter;
  cannot_show_filter.incompatible_tables = {"filter"};
  const Collection nothing = of(nft, Backend::nft, {});
  const Collection of_nft = of(nft, Backend::nft, ruleset_with({"filter"}));
  const Collection of_incompatible = of(nft, Backend::nft, cannot_show_filter);
  const Collection of_plain = of({}, std::nullopt, ruleset_with({"filter"}));
  const Collection of_legacy = of(legacy, Backend::legacy, ruleset_with({"filter"}));
  const Collection of_ipv6 = of({Family::ipv6, {}}, Backend::nft, ruleset_with({"filter"}));
  const Collection of_failed = outcome_of(nft, attempt_with(Backend::nft, exited(1)), root);

  const auto table = [](std::string family, std::string name) {
    return KernelTable{std::move(family), std::move(name), false, true, ""};
  };
  KernelTable idle = table("inet", "idle");
  idle.filters = false;
  KernelTable dormant = table("inet", "dormant");
  dormant.is_dormant = true;
  const KernelTables nft_filter{{table("ip", "filter")}};
  const KernelTables foreign{{table("inet", "a"), table("netdev", "b"), table("bridge", "c"),
                              table("arp", "d"), table("ip", "e"), table("ip6", "f"), idle,
                              dormant}};
  using Names = std::vector<std::string>;
  struct Row {
    std::vector<Collection> collections;
    Host host;
    std::optional<Names> legacy;
    std::optional<Names> nft;
  };
  const Row rows[] = {
      {{of_nft}, root, Names{}, Names{}},
      {{of_nft}, nobody, {}, {}},
      {{of_nft}, root_with_legacy_tables, Names{"ip filter"}, Names{}},
      {{of_plain}, root_with_legacy_tables, Names{}, Names{}},  // whatever it is, it shows one
      {{of_nft, of_legacy}, root_with_legacy_tables, Names{}, Names{}},
      {{of_nft}, {{none, none}, nft_filter, {}}, Names{}, Names{}},
      {{of_incompatible}, {{none, none}, nft_filter, {}}, Names{}, Names{}},
      {{of_plain}, {{none, none}, nft_filter, {}}, Names{}, Names{}},
      {{of_legacy}, {{filter, none}, nft_filter, {}}, Names{}, Names{"ip filter"}},
      {{of_legacy, of_failed}, {{filter, none}, nft_filter, {}}, Names{}, Names{"ip filter"}},
      {{of_legacy, of_ipv6}, {{filter, none}, nft_filter, {}}, Names{}, Names{"ip filter"}},
      {{nothing},
       {{none, none}, foreign, {}},
       Names{},
       Names{"inet a", "netdev b", "bridge c", "arp d", "ip e"}},
      {{of_ipv6},
       {{none, none}, foreign, {}},
       Names{},
       Names{"inet a", "netdev b", "bridge c", "arp d", "ip6 f"}},
  };
  for (Row row : rows) {
    find_unshown_tables(row.collections, row.host);
    auto& unshown = row.collections.front().unshown_tables;
    CHECK(unshown.contains(Backend::legacy) == row.legacy.has_value());
    CHECK(unshown.contains(Backend::nft) == row.nft.has_value());
    CHECK(unshown[Backend::legacy] == row.legacy.value_or(Names{}));
    CHECK(unshown[Backend::nft] == row.nft.value_or(Names{}));
  }
}

TEST_CASE("unshown tables are named once, a line for each reason") {
  std::vector<Collection> collections(3);
  collections[0].name = "iptables-save";
  collections[0].ruleset.emplace().incompatible_tables = {"nat", "raw"};
  collections[0].unshown_tables = {{Backend::legacy, {"ip filter"}}, {Backend::nft, {"inet b"}}};
  collections[1].ruleset.emplace();
  collections[1].unshown_tables = {{Backend::legacy, {}}, {Backend::nft, {"ip6 a", "inet b"}}};
  collections[2].unshown_tables = {{Backend::nft, {"inet of_failed"}}};
  CHECK(messages_of_unshown_tables(collections) ==
        std::vector<std::string>{
            "legacy tables that are not counted (iptables-legacy-save): ip filter",
            "nft tables that are not counted (nft list ruleset): inet b, ip6 a",
            "tables that only nft can show whole (nft list ruleset): nat of iptables-save, raw of "
            "iptables-save"});
  CHECK(messages_of_unshown_tables({}).empty());
}

TEST_CASE("white space in a chain's name fails the source that shows it") {
  const Host host = {{none, none}, {{{"ip", "filter", false, false, "a b"}}}, {}};
  const auto is_failed = [&](const Source& source, Backend variant, const char* table) {
    std::vector<Collection> collections = {
        outcome_of(source, attempt_with(variant, exited(0), ruleset_with({table})), root)};
    fail_spaced_chains(collections, host);
    CHECK(collections[0].ruleset.has_value() == collections[0].error.empty());
    return !collections[0].ruleset;
  };
  CHECK(is_failed(nft, Backend::nft, "filter"));
  CHECK(is_failed({}, Backend::nft, "filter"));
  CHECK(!is_failed(nft, Backend::nft, "nat"));
  CHECK(!is_failed({}, Backend::legacy, "filter"));
  CHECK(!is_failed({Family::ipv6, {}}, Backend::nft, "filter"));
}

TEST_CASE("no tables in any source") {
  const auto collections_with = [](const Ruleset& ruleset) {
    std::vector<Collection> collections(1);
    collections[0].name = "iptables-nft-save";
    collections[0].ruleset = ruleset;
    collections[0].ruleset->variant = Backend::nft;
    collections[0].warnings = {"iptables-nft-save: look out"};
    collections[0].unshown_tables = {{Backend::nft, {"inet a"}}};
    return collections;
  };
  auto empty = collections_with({});
  require_tables(empty);
  CHECK(!empty[0].ruleset);
  CHECK(empty[0].warnings.empty());
  CHECK(
      empty[0].error ==
      "iptables-nft-save: no tables (--allow-empty makes that a success); iptables-nft-save: look "
      "out; nft tables that are not counted (nft list ruleset): inet a");

  auto not_run = collections_with({});
  not_run[0].error = "no such command";
  require_tables(not_run);
  CHECK(not_run[0].error.starts_with("no such command; "));

  Ruleset incompatible;
  incompatible.incompatible_tables = {"nat"};
  for (const Ruleset& ruleset : {ruleset_with({"filter"}), incompatible}) {
    auto shown = collections_with(ruleset);
    require_tables(shown);
    CHECK(shown[0].ruleset);
    CHECK(shown[0].error == "");
  }
}

}  // namespace iptables_exporter
