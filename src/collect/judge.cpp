#include "collect/judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "collect/family.h"
#include "collect/shown_tables.h"

namespace iptables_exporter {
namespace {

/// What the command wrote to stderr, one line an element.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines = split(text, '\n');
  std::erase(lines, "");
  return lines;
}

void warn_of_stderr(Collection& collection, std::string_view text) {
  for (const std::string_view line : lines_of(text)) {
    // The kernel tells us, and whether there is anything in them.
    if (line.find("legacy tables present") != line.npos) continue;
    collection.warnings.push_back(fmt::format("{}: {}", collection.name, line));
  }
}

/// A table of nft with a rule that holds a newline, or nullptr.
const Table* table_that_spans_lines(const Ruleset& ruleset) {
  if (ruleset.backend == Backend::legacy) return nullptr;
  const auto found = std::find_if(ruleset.tables.begin(), ruleset.tables.end(),
                                  [](const Table& table) { return table.has_rule_of_lines; });
  return found == ruleset.tables.end() ? nullptr : &*found;
}

/// A table that the kernel does not have, or of legacy ones, has with another number of entries: a
/// chain's name may have moved or hidden rules. The kernel may have more tables by now. If it has
/// none of the family, there is no such name, and the command reads something else. Or nullptr.
const Table* table_that_contradicts_kernel(const Attempt& attempt) {
  const std::optional<Ruleset>& ruleset = attempt.collection.ruleset;
  const std::optional<Backend> backend = backend_of(attempt);
  const std::string_view family = facts_of(family_of(attempt.collection.source)).nft_name;
  const auto is_of_family = [&](const KernelTable& table) { return table.family == family; };
  if (!ruleset || !backend || !attempt.kernel ||
      std::ranges::none_of(*attempt.kernel, is_of_family)) {
    return nullptr;
  }
  const auto is_in_kernel = [&](const Table& table) {
    std::size_t entries = 1;
    for (const Chain& chain : table.chains) {
      entries += (chain.policy.empty() ? 2 : 1) + chain.rules;
    }
    return std::ranges::any_of(*attempt.kernel, [&](const KernelTable& other) {
      return is_of_family(other) && other.name == table.name &&
             (backend == Backend::nft || other.entries == entries);
    });
  };
  const auto found = std::ranges::find_if_not(ruleset->tables, is_in_kernel);
  return found == ruleset->tables.end() ? nullptr : &*found;
}

bool any_filters(const KernelTables& tables) {
  return tables && std::any_of(tables->begin(), tables->end(),
                               [](const KernelTable& table) { return table.filters; });
}

constexpr std::string_view no_counters = "; no counters are written";

/// Why the source failed, what that means and what to do; empty if it did not fail.
std::string failure_of(const Attempt& attempt, const Host& host, const TimeLimit& limit) {
  const auto& [collection, path, backend, result, parse_error, watched, kernel, is_repeated,
               ended] = attempt;
  const bool is_late = !result.status && result.failure.empty();
  // What was killed is known by the read before it.
  const bool is_given_up =
      is_disturbed(attempt) || (is_repeated && is_late && backend != Backend::nft);
  if (is_given_up && watched == Watched::changed) {
    return fmt::format(
        "{}: legacy tables kept changing for {} (--timeout); counters read during a change may be "
        "0, so none are written: see who opens or holds xtables.lock (fuser /run/xtables.lock), or "
        "allow more time",
        collection.name, counted(limit.timeout.count(), "second"));
  }
  if (is_given_up) {
    return fmt::format(
        "{}: for {} (--timeout), other tables or other numbers of rules were read than the kernel "
        "has; a chain's name may hide rules, so no counters are written: look for such a name in "
        "what {} prints",
        collection.name, counted(limit.timeout.count(), "second"), collection.name);
  }
  if (result.status != 0) {
    std::string failure =
        is_late ? fmt::format("{} did not end within {} (--timeout) and was killed",
                              collection.name, counted(limit.timeout.count(), "second"))
                : result.failure;
    const auto lines = lines_of(result.stderr_text);
    if (!lines.empty()) failure += fmt::format(": {}", fmt::join(lines, "; "));
    failure += no_counters;
    // The plain command may be of nft where the kernel is not.
    if (backend == Backend::nft && host.nft && host.nft->empty() &&
        any_filters(host.tables(Backend::legacy, collection.source))) {
      failure +=
          "; legacy tables filter here: --backend legacy collects them (iptables-legacy-save)";
    }
    // It begins again whenever anything in nf_tables changed while it read.
    if (is_late && backend == Backend::nft) failure += ": see what changes nf_tables (nft monitor)";
    return failure + privileges_hint(host.privileges, backend, result.stderr_text);
  }
  if (!collection.ruleset) {
    return fmt::format("{}: {}{}", collection.name, parse_error, no_counters);
  }
  // Without the right to read the names of legacy tables, the legacy command prints nothing and
  // exits with 0.
  const auto& legacy = host.tables(Backend::legacy, collection.source);
  if (backend == Backend::legacy && collection.ruleset->tables.empty() &&
      (!legacy || !legacy->empty())) {
    return fmt::format("{}: printed nothing, though the kernel may hold legacy tables{}{}",
                       collection.name, no_counters,
                       privileges_hint(host.privileges, backend, "permission denied"));
  }
  // Only netlink lets white space through, which can look like other chains, rules and tables.
  for (const KernelTable& table : host.nft.value_or(std::vector<KernelTable>())) {
    if (table.spaced_chain.empty() || shows(collection, Backend::nft, table, host) == false) {
      continue;
    }
    return fmt::format(
        "{}: a chain of table {} has white space in its name, so rules may be hidden; no counters "
        "are written: rename the chain {}",
        collection.name, table.name, table.spaced_chain);
  }
  if (const Table* const table = table_that_contradicts_kernel(attempt)) {
    return fmt::format(
        "{}: printed a table {}, but the kernel has no such table; a chain's name may hide rules, "
        "or the command reads another network namespace{}: compare with nft list tables",
        collection.name, table->name, no_counters);
  }
  const Table* const spanned =
      path.empty() || host.nft ? nullptr : table_that_spans_lines(*collection.ruleset);
  if (spanned == nullptr) return "";
  return fmt::format(
      "{}: a rule of table {} spans lines, and the kernel did not say whether a chain's name hides "
      "rules there (nf_tables kept changing, or there is no permission to ask){}",
      collection.name, spanned->name, no_counters);
}

/// Whether it is the backend that is missing, not the source that failed.
bool is_missing(const Attempt& attempt, const Host& host) {
  const Source& source = attempt.collection.source;
  const KernelTables& kernel = host.tables(*source.backend, source);
  const bool fails = attempt.result.status.value_or(0) != 0;
  return kernel && (attempt.path.empty() || (fails && kernel->empty()));
}

void fail(Collection& collection, std::string why) {
  collection.error = std::move(why);
  collection.ruleset.reset();
  collection.warnings.clear();
}

/// Whether the kernel was asked, and has no table that the source's command would show.
bool kernel_has_none(const Source& source, std::optional<Backend> backend, const Host& host) {
  using namespace std::string_view_literals;
  constexpr std::array names = {"filter"sv, "mangle"sv, "nat"sv, "raw"sv, "security"sv};
  const auto is_shown = [&](const KernelTable& table) {
    return table.family == facts_of(family_of(source)).nft_name &&
           std::find(names.begin(), names.end(), table.name) != names.end();
  };
  const auto has_none = [&](Backend of) {
    const KernelTables& tables = host.tables(of, source);
    return backend.value_or(of) != of ||
           (tables && std::none_of(tables->begin(), tables->end(), is_shown));
  };
  return has_none(Backend::legacy) && has_none(Backend::nft);
}

}  // namespace

std::optional<Backend> backend_of(const Attempt& attempt) {
  const std::optional<Ruleset>& ruleset = attempt.collection.ruleset;
  return attempt.backend || !ruleset ? attempt.backend : ruleset->backend;
}

bool is_disturbed(const Attempt& attempt) {
  const std::optional<Ruleset>& ruleset = attempt.collection.ruleset;
  if (!ruleset || attempt.result.status != 0) return false;
  const bool is_nft = backend_of(attempt) == Backend::nft;
  // A table of nft may have been removed in between, but hardly twice.
  if (table_that_contradicts_kernel(attempt) != nullptr) return !is_nft || !attempt.is_repeated;
  // Where nobody can know what it read, it may have been legacy tables.
  return attempt.watched == Watched::changed && !is_nft && !ruleset->tables.empty();
}

std::chrono::system_clock::time_point end_of_collecting(const Evidence& evidence) {
  return std::ranges::max_element(evidence.attempts, {}, &Attempt::ended)->ended;
}

Evidence evidence_of_failure(const std::vector<Source>& sources, const std::string& why) {
  Evidence evidence;
  for (const Source& source : sources) {
    Attempt& attempt = evidence.attempts.emplace_back();
    attempt.collection.source = source;
    attempt.result.failure = why;
  }
  return evidence;
}

std::vector<Collection> judge(Evidence evidence, const TimeLimit& limit, bool allow_empty) {
  std::vector<Attempt>& attempts = evidence.attempts;
  const Host& host = evidence.host;
  const auto has_command = [](const Attempt& attempt) { return !attempt.path.empty(); };
  const bool one_may_be_missing =
      attempts.front().collection.source.backend != attempts.back().collection.source.backend &&
      std::any_of(attempts.begin(), attempts.end(), has_command);

  std::vector<Collection> collections;
  std::vector<std::string> failures;  // also of those that are missing
  for (Attempt& attempt : attempts) {
    Collection& collection = attempt.collection;
    if (attempt.backend && collection.ruleset) collection.ruleset->backend = attempt.backend;
    failures.push_back(failure_of(attempt, host, limit));
    if (one_may_be_missing && is_missing(attempt, host)) {
      collection.ruleset.emplace();
    } else if (!failures.back().empty()) {
      fail(collection, failures.back());
    } else {
      if (attempt.watched && collection.ruleset->backend == Backend::legacy) {
        collection.legacy_read_protected =
            attempt.watched == Watched::unchanged || collection.ruleset->tables.empty();
      }
      warn_of_stderr(collection, attempt.result.stderr_text);
    }
    collections.push_back(std::move(collection));
  }
  compare_with_kernel(collections, host);

  if (allow_empty || !std::ranges::all_of(collections, &Collection::shows_nothing)) {
    return collections;
  }
  for (std::size_t i = 0; i < collections.size(); ++i) {
    if (kernel_has_none(collections[i].source, attempts[i].backend, host)) continue;
    std::string why = failures[i];
    if (why.empty()) {
      why =
          fmt::format("{}: no tables; no counters are written (--allow-empty makes that a success)",
                      collections[i].name);
    }
    for (const std::string& warning : collections[i].warnings) why += "; " + warning;
    for (const std::string& line : messages_of_tables({collections[i]})) why += "; " + line;
    fail(collections[i], std::move(why));
  }
  return collections;
}

}  // namespace iptables_exporter
