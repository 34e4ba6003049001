#include "collect/judge.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <csignal>
#include <ostream>

#include "collect/command.h"
#include "collect/shown_tables.h"

namespace iptables_exporter {
namespace {

const TimeLimit limit{std::chrono::duration<double>(2.5)};
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

SubprocessResult exited(int status) { return {status, status == 0 ? "" : "it failed"}; }

Attempt attempt_with(std::optional<Backend> backend, SubprocessResult result, Ruleset ruleset = {},
                     std::string stderr_text = "") {
  Attempt attempt;
  attempt.collection.ruleset = std::move(ruleset);
  attempt.path = "/sbin/x";
  attempt.backend = backend;
  attempt.result = std::move(result);
  attempt.result.stderr_text = std::move(stderr_text);
  return attempt;
}

Attempt of(const Source& source, Attempt attempt) {
  attempt.collection.source = source;
  attempt.collection.name = save_command(source);
  return attempt;
}

/// What becomes of a source. Beside one of the other backend, that backend may be missing.
Collection judged(const Source& source, Attempt attempt, const Host& host,
                  bool may_be_missing = false) {
  Evidence evidence{{of(source, std::move(attempt))}, host};
  if (may_be_missing) {
    const Source& other = source.backend == Backend::nft ? legacy : nft;
    evidence.attempts.push_back(of(other, attempt_with(other.backend, exited(1))));
  }
  return judge(std::move(evidence), limit, true).front();
}

std::string hint_for(std::string_view capabilities) {
  return fmt::format(
      "; the command lacks {}: run as root or with ambient capabilities (the systemd unit, setpriv "
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
       "; for ipsets the command needs AF_INET (RestrictAddressFamilies=)"},
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
  broken.collection.ruleset.reset();
  broken.parse_error = "line 3: expected a line of iptables-save -c: x";
  struct Row {
    Source source;
    Attempt attempt;
    Host host;
    std::string error;
  };
  const Row rows[] = {
      {{},
       attempt_with({}, SubprocessResult{{}, "cannot make a pipe: Too many open files"}),
       root,
       "cannot make a pipe: Too many open files; no counters are written"},
      {{},
       attempt_with({}, exited(3), {}, "one\ntwo\n"),
       root,
       "it failed: one; two; no counters are written"},
      {legacy, attempt_with(Backend::legacy, exited(1), {}, "why: Permission denied\n"), nobody,
       "it failed: why: Permission denied; no counters are written" +
           hint_for("CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH")},
      {{Family::ipv6, {}},
       attempt_with({}, SubprocessResult{}, {}, "slow\n"),
       nobody,
       "ip6tables-save did not end within 2.5 seconds (--timeout) and was killed: slow; no "
       "counters "
       "are written"},
      {nft, attempt_with(Backend::nft, SubprocessResult{}), nobody,
       "iptables-nft-save did not end within 2.5 seconds (--timeout) and was killed; no counters "
       "are written: see what changes nf_tables (nft monitor)"},
      {nft, broken, root,
       "iptables-nft-save: line 3: expected a line of iptables-save -c: x; no counters are "
       "written"},
      // A legacy command that prints nothing may not see what there is, whatever was asked for.
      {legacy, attempt_with(Backend::legacy, exited(0)), root_with_legacy_tables,
       "iptables-legacy-save: printed nothing, though the kernel may hold legacy tables; no "
       "counters "
       "are written"},
      {{},
       attempt_with(Backend::legacy, exited(0)),
       {{}, {}, {true, true, false}},
       "iptables-save: printed nothing, though the kernel may hold legacy tables; no counters are "
       "written" +
           hint_for("CAP_DAC_READ_SEARCH")},
  };
  for (const Row& row : rows) {
    const Collection collection = judged(row.source, row.attempt, row.host);
    CHECK(collection.error == row.error);
    CHECK(!collection.ruleset);
    CHECK(collection.warnings.empty());
  }
}

TEST_CASE("a read of legacy tables beside a change of them") {
  const auto watched = [](Watched state, Attempt attempt, bool is_repeated = false) {
    attempt.watched = state;
    attempt.is_repeated = is_repeated;
    return attempt;
  };
  const auto read = [](std::optional<Backend> backend, std::vector<std::string> tables = {"nat"}) {
    return attempt_with(backend, exited(0), ruleset_with(std::move(tables)));
  };
  Ruleset says_legacy = ruleset_with({"nat"});
  says_legacy.backend = Backend::legacy;
  Attempt broken = read(Backend::legacy);
  broken.collection.ruleset.reset();
  struct Row {
    Attempt attempt;
    bool is_disturbed;
    std::optional<bool> is_protected;
  };
  const Row rows[] = {
      {watched(Watched::unchanged, read(Backend::legacy)), false, true},
      {watched(Watched::unknown, read(Backend::legacy)), false, false},
      {watched(Watched::changed, read(Backend::legacy)), true, {}},
      {watched(Watched::changed, attempt_with({}, exited(0), says_legacy)), true, {}},
      {watched(Watched::changed, read(Backend::nft)), false, {}},
      {watched(Watched::changed, read({})), true, {}},
      {watched(Watched::unchanged, read({})), false, {}},
      // Without tables there are no counters.
      {watched(Watched::changed, read(Backend::legacy, {})), false, true},
      {watched(Watched::unknown, read(Backend::legacy, {})), false, true},
      {watched(Watched::changed, attempt_with(Backend::legacy, exited(1))), false, {}},
      {watched(Watched::changed, broken), false, {}},
      {watched(Watched::changed, attempt_with(Backend::legacy, SubprocessResult{})), false, {}},
  };
  for (const Row& row : rows) {
    CHECK(is_disturbed(row.attempt) == row.is_disturbed);
    const Collection collection = judged({}, row.attempt, root);
    CHECK(collection.legacy_read_protected == row.is_protected);
    CHECK((collection.error.find("legacy tables kept changing") != std::string::npos) ==
          row.is_disturbed);
    if (row.is_disturbed) CHECK(!collection.ruleset);
  }
  // One that was still trying again when time was up.
  const Attempt late =
      watched(Watched::changed, attempt_with(Backend::legacy, SubprocessResult{}), true);
  CHECK(judged({}, late, root).error.find("legacy tables kept changing") != std::string::npos);
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
    const Collection collection = judged(row.source, row.attempt, row.host);
    CHECK(collection.error == "");
    CHECK(collection.ruleset);
  }
}

TEST_CASE("the backend is what the command is, else what the dump says") {
  Ruleset says_legacy;
  says_legacy.backend = Backend::legacy;
  const auto backend_of = [&](std::optional<Backend> command, const Ruleset& ruleset) {
    return judged({}, attempt_with(command, exited(0), ruleset), root).ruleset->backend;
  };
  CHECK(backend_of(Backend::nft, says_legacy) == Backend::nft);
  CHECK(backend_of({}, says_legacy) == Backend::legacy);
  CHECK(backend_of({}, {}) == std::nullopt);
}

TEST_CASE("a source without a command") {
  const auto fails = [](const Source& source, const Host& host, bool may_be_missing) {
    Attempt attempt = attempt_with({}, SubprocessResult{{}, "no such"});
    attempt.path.clear();
    const Collection collection = judged(source, std::move(attempt), host, may_be_missing);
    CHECK(collection.error == (collection.ruleset ? "" : "no such; no counters are written"));
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
  const auto fails = [](const Source& source, SubprocessResult end, const Host& host,
                        bool may_be_missing) {
    Attempt attempt = attempt_with(source.backend, std::move(end), ruleset_with({"filter"}));
    const Collection collection = judged(source, std::move(attempt), host, may_be_missing);
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
  CHECK(fails(nft, SubprocessResult{}, root, true));
  CHECK(fails(nft, SubprocessResult{{}, "no memory"}, root, true));
}

TEST_CASE("tables of the host that no source shows") {
  const auto read = [](const Source& source, std::optional<Backend> backend, Ruleset ruleset) {
    return of(source, attempt_with(backend, exited(0), std::move(ruleset)));
  };
  Ruleset cannot_show_filter;
  cannot_show_filter.incompatible_tables = {"filter"};
  const Attempt nothing = read(nft, Backend::nft, {});
  const Attempt of_nft = read(nft, Backend::nft, ruleset_with({"filter"}));
  const Attempt of_incompatible = read(nft, Backend::nft, cannot_show_filter);
  const Attempt of_plain = read({}, std::nullopt, ruleset_with({"filter"}));
  const Attempt of_legacy = read(legacy, Backend::legacy, ruleset_with({"filter"}));
  const Source ipv6_nft{Family::ipv6, Backend::nft};
  const Attempt of_ipv6 = read(ipv6_nft, Backend::nft, ruleset_with({"filter"}));
  const Attempt of_failed = of(nft, attempt_with(Backend::nft, exited(1)));

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
    std::vector<Attempt> attempts;
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
      // It shows one of the two.
      {{of_plain}, {{filter, none}, nft_filter, {}}, {}, {}},
      {{of_plain}, {{std::nullopt, none}, nft_filter, {}}, {}, {}},
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
  for (const Row& row : rows) {
    auto unshown = judge({row.attempts, row.host}, limit, true).front().unshown_tables;
    CHECK(unshown.contains(Backend::legacy) == row.legacy.has_value());
    CHECK(unshown.contains(Backend::nft) == row.nft.has_value());
    CHECK(unshown[Backend::legacy] == row.legacy.value_or(Names{}));
    CHECK(unshown[Backend::nft] == row.nft.value_or(Names{}));
  }
}

TEST_CASE("tables that are switched off") {
  KernelTable dormant{"ip", "filter", true};
  const KernelTables tables{{dormant, {"ip", "nat"}, {"ip6", "raw", true}, {"inet", "a", true}}};
  const auto dormant_of = [&](const Source& source, std::optional<Backend> backend,
                              std::vector<std::string> names, const KernelTables& kernel) {
    return judged(source, attempt_with(backend, exited(0), ruleset_with(std::move(names))),
                  {{none, none}, kernel, {}})
        .dormant_tables;
  };
  using Names = std::vector<std::string>;
  CHECK(dormant_of(nft, Backend::nft, {"filter", "nat"}, tables) == Names{"filter"});
  CHECK(dormant_of(nft, Backend::nft, {"nat", "raw"}, tables) == Names{});
  CHECK(dormant_of({Family::ipv6, {}}, Backend::nft, {"filter", "raw"}, tables) == Names{"raw"});
  CHECK(dormant_of(nft, Backend::nft, {}, none) == Names{});
  CHECK(dormant_of(nft, Backend::nft, {"filter"}, std::nullopt) == std::nullopt);
  CHECK(dormant_of(legacy, Backend::legacy, {"filter"}, tables) == std::nullopt);
  CHECK(dormant_of({}, {}, {"filter"}, tables) == std::nullopt);
  CHECK(judged(nft, attempt_with(Backend::nft, exited(1)), {{none, none}, tables, {}})
            .dormant_tables == std::nullopt);
}

TEST_CASE("legacy tables that filter are named where nft's command fails for lack of nf_tables") {
  const std::string hint = "--backend legacy";
  const auto error_of = [](std::optional<Backend> backend, const Host& host) {
    return judged({}, attempt_with(backend, exited(3)), host).error;
  };
  KernelTables idle = filter;
  idle->front().filters = false;
  CHECK(error_of(Backend::nft, root_with_legacy_tables) ==
        "it failed; no counters are written; legacy tables filter here: --backend legacy collects "
        "them (iptables-legacy-save)");
  CHECK(error_of(Backend::nft, {{idle, none}, none, {}}).find(hint) == std::string::npos);
  CHECK(error_of(Backend::nft, {{filter, none}, filter, {}}).find(hint) == std::string::npos);
  CHECK(error_of(Backend::nft, nobody).find(hint) == std::string::npos);
  CHECK(error_of(Backend::legacy, root_with_legacy_tables).find(hint) == std::string::npos);
}

TEST_CASE("unshown tables are named once, a line for each reason") {
  std::vector<Collection> collections(3);
  collections[0].name = "iptables-save";
  collections[0].ruleset.emplace().incompatible_tables = {"nat", "raw"};
  collections[0].unshown_tables = {{Backend::legacy, {"ip filter"}}, {Backend::nft, {"inet b"}}};
  collections[1].ruleset.emplace();
  collections[1].name = "ip6tables-save";
  collections[1].dormant_tables = {"raw"};
  collections[1].unshown_tables = {{Backend::legacy, {}}, {Backend::nft, {"ip6 a", "inet b"}}};
  collections[2].unshown_tables = {{Backend::nft, {"inet of_failed"}}};
  CHECK(
      messages_of_tables(collections) ==
      std::vector<std::string>{
          "legacy tables that are not counted (iptables-legacy-save): ip filter",
          "nft tables that are not counted (nft list ruleset): inet b, ip6 a",
          "tables that are switched off and filter nothing (flags dormant): raw of ip6tables-save",
          "tables that only nft can show whole (nft list ruleset): nat of iptables-save, raw of "
          "iptables-save"});
  CHECK(messages_of_tables({}).empty());
}

TEST_CASE("white space in a chain's name fails the source that shows it") {
  const Host host = {{none, none}, {{{"ip", "filter", false, false, "a b"}}}, {}};
  const auto is_failed = [&](const Source& source, Backend backend, const char* table) {
    const Collection collection =
        judged(source, attempt_with(backend, exited(0), ruleset_with({table})), host);
    CHECK(collection.ruleset.has_value() == collection.error.empty());
    return !collection.ruleset;
  };
  CHECK(is_failed(nft, Backend::nft, "filter"));
  CHECK(is_failed({}, Backend::nft, "filter"));
  CHECK(!is_failed(nft, Backend::nft, "nat"));
  CHECK(!is_failed({}, Backend::legacy, "filter"));
  CHECK(!is_failed({Family::ipv6, {}}, Backend::nft, "filter"));
}

TEST_CASE("no tables in any source") {
  const std::vector<KernelTable> foreign = {
      {"inet", "a", false, true}, {"ip", "own", false, true}, {"ip6", "filter", false, true}};
  Host host{{none, none}, foreign, {}};
  const auto judge_all = [&](std::vector<Attempt> attempts, bool allow_empty = false) {
    return judge({std::move(attempts), host}, limit, allow_empty);
  };
  const Attempt empty = of(nft, attempt_with(Backend::nft, exited(0), {}, "look out\n"));
  const Attempt plain = attempt_with({}, exited(0), {});
  Attempt not_run = of(legacy, attempt_with({}, SubprocessResult{{}, "no such command"}));
  not_run.path.clear();
  not_run.backend = Backend::legacy;

  // The kernel says so.
  for (const std::vector<Attempt>& attempts :
       {std::vector{empty}, std::vector{plain}, std::vector{not_run, empty}}) {
    for (const Collection& collection : judge_all(attempts)) CHECK(collection.ruleset);
  }
  CHECK(judge_all({empty}).front().warnings.size() == 1);

  // It says something else, or nothing.
  std::vector<KernelTable> with_filter = foreign;
  with_filter.push_back({"ip", "filter", false, false});
  for (const KernelTables& tables : {KernelTables(with_filter), KernelTables()}) {
    host.nft = tables;
    const Collection failed = judge_all({empty}).front();
    CHECK(!failed.ruleset);
    CHECK(failed.warnings.empty());
    CHECK(failed.error ==
          fmt::format("iptables-nft-save: no tables; no counters are written (--allow-empty makes "
                      "that a success); "
                      "iptables-nft-save: look out{}",
                      tables
                          ? "; nft tables that are not counted (nft list ruleset): inet a, ip own"
                          : ""));
    CHECK(!judge_all({plain}).front().ruleset);
    CHECK(!judge_all({not_run, empty}).back().ruleset);
    CHECK(judge_all({empty}, true).front().ruleset);
    CHECK(judge_all({not_run, empty}, true).front().ruleset);
  }
  host.nft = foreign;
  for (const KernelTables& tables : {KernelTables(with_filter), KernelTables()}) {
    host.legacy = {tables, none};
    CHECK(!judge_all({plain}).front().ruleset);
    CHECK(judge_all({empty}).front().ruleset);
  }

  Ruleset incompatible;
  incompatible.incompatible_tables = {"nat"};
  for (const Ruleset& ruleset : {ruleset_with({"filter"}), incompatible}) {
    const Attempt shown = of(nft, attempt_with(Backend::nft, exited(0), ruleset));
    for (const Collection& collection : judge_all({empty, shown})) {
      CHECK(collection.ruleset);
      CHECK(collection.error == "");
    }
  }
}

TEST_CASE("collecting ends with the last attempt") {
  Evidence evidence = evidence_of_failure({legacy, nft, legacy}, "");
  const auto last = evidence.attempts[1].ended += std::chrono::seconds(5);
  CHECK(end_of_collecting(evidence) == last);
}

TEST_CASE("where nothing could be read, every source fails for that reason") {
  const auto collections = judge(evidence_of_failure({legacy, nft}, "out of memory"), limit, true);
  REQUIRE(collections.size() == 2);
  for (const Collection& collection : collections) {
    CHECK(!collection.ruleset);
    CHECK(collection.error == "out of memory; no counters are written");
  }
  CHECK(collections[1].source.backend == Backend::nft);
}

}  // namespace iptables_exporter
