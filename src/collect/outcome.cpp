#include "collect/outcome.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "collect/family.h"

namespace iptables_exporter {
namespace {

/// What the command wrote to stderr, one line an element.
std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (!line.empty()) lines.emplace_back(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

/// Why the run failed, or nothing if it did not.
std::string failure_of(const Attempt& attempt, const Host& host,
                       std::chrono::duration<double> timeout) {
  const End& end = attempt.result.end;
  const bool is_late = !end.status && end.failure.empty();
  if (is_disturbed(attempt) || (attempt.tries > 1 && is_late)) {
    return fmt::format(
        "{}: somebody was changing legacy tables, whose counters may read 0 meanwhile, whenever "
        "they were read within {} seconds (--timeout): see who opens or holds xtables.lock "
        "(fuser /run/xtables.lock), or allow more time",
        attempt.command, timeout.count());
  }
  if (end.status != 0) {
    std::string failure = end.failure;
    if (is_late) {
      // Of nft, it begins again whenever anything in nf_tables was changed meanwhile.
      failure = fmt::format(
          "{} did not end within {} seconds (--timeout) and was killed{}", attempt.command,
          timeout.count(),
          attempt.variant == Backend::nft ? "; nf_tables kept changing, or is too large" : "");
    }
    const auto lines = lines_of(attempt.result.stderr_text);
    if (!lines.empty()) failure += fmt::format(": {}", fmt::join(lines, "; "));
    return failure + privileges_hint(host.privileges, attempt.variant, attempt.result.stderr_text);
  }
  if (!attempt.ruleset) return fmt::format("{}: {}", attempt.command, attempt.parse_error);
  // Without the right to read the names of legacy tables, the legacy command prints nothing and
  // exits with 0.
  const auto& kernel = host.tables(Backend::legacy, attempt.source);
  const bool is_blind = attempt.variant == Backend::legacy && attempt.ruleset->tables.empty() &&
                        (!kernel || !kernel->empty());
  if (!is_blind) return "";
  return fmt::format("{}: printed nothing, though the kernel may hold legacy tables{}",
                     attempt.command,
                     privileges_hint(host.privileges, attempt.variant, "permission denied"));
}

void warn_of_stderr(Collection& collection, std::string_view text) {
  for (const std::string& line : lines_of(text)) {
    // The kernel tells us, and whether there is anything in them.
    if (line.find("legacy tables present") != std::string::npos) continue;
    collection.warnings.push_back(fmt::format("{}: {}", collection.name, line));
  }
}

/// Whether packets of the source's family meet it. They may meet inet, netdev, bridge and arp.
bool concerns(const KernelTable& table, const Source& source) {
  const FamilyFacts& own = facts_of(family_of(source));
  return std::none_of(families.begin(), families.end(), [&](const FamilyFacts& one) {
    return &one != &own && one.nft_name == table.family;
  });
}

/// Whether the collection has this table, or names it as incompatible.
bool shows(const Collection& collection, Backend backend, const KernelTable& table) {
  if (!collection.ruleset || collection.ruleset->variant.value_or(backend) != backend) return false;
  if (table.family != facts_of(family_of(collection.source)).nft_name) return false;
  const auto& tables = collection.ruleset->tables;
  const auto& incompatible = collection.ruleset->incompatible_tables;
  return std::any_of(tables.begin(), tables.end(),
                     [&](const Table& shown) { return shown.name == table.name; }) ||
         std::find(incompatible.begin(), incompatible.end(), table.name) != incompatible.end();
}

}  // namespace

bool is_disturbed(const Attempt& attempt) {
  if (attempt.watched != Watched::disturbed || !attempt.ruleset || attempt.result.end.status != 0)
    return false;
  // Where nobody can know what it read, it may have been legacy tables.
  const auto variant = attempt.variant ? attempt.variant : attempt.ruleset->variant;
  return variant != Backend::nft && !attempt.ruleset->tables.empty();
}

Collection outcome(Attempt attempt, const Host& host, std::chrono::duration<double> timeout,
                   bool may_be_missing) {
  const Source& source = attempt.source;
  Collection collection;
  collection.source = source;
  collection.name = attempt.command;
  collection.duration = attempt.result.duration;
  collection.error = failure_of(attempt, host, timeout);
  if (may_be_missing) {
    const KernelTables& kernel = host.tables(*source.backend, source);
    const bool fails = attempt.result.end.status.value_or(0) != 0;
    if (kernel && (attempt.path.empty() || (fails && kernel->empty()))) {
      collection.ruleset.emplace();
      return collection;
    }
  }
  if (!collection.error.empty()) return collection;
  collection.ruleset = std::move(attempt.ruleset);
  if (attempt.variant) collection.ruleset->variant = attempt.variant;
  if (collection.ruleset->variant == Backend::legacy) {
    collection.legacy_read_protected =
        attempt.watched == Watched::undisturbed || collection.ruleset->tables.empty();
  }
  warn_of_stderr(collection, attempt.result.stderr_text);
  return collection;
}

std::vector<Collection> all_failed(const std::vector<Source>& sources, const std::string& why) {
  std::vector<Collection> collections;
  for (const Source& source : sources) {
    collections.emplace_back();
    collections.back().source = source;
    collections.back().error = why;
  }
  return collections;
}

void fail_spaced_chains(std::vector<Collection>& collections, const Host& host) {
  if (!host.nft) return;
  for (Collection& collection : collections) {
    for (const KernelTable& table : *host.nft) {
      if (table.spaced_chain.empty() || !shows(collection, Backend::nft, table)) continue;
      collection.error = fmt::format(
          "{}: a chain of table {} has white space in its name, which may hide others: {}",
          collection.name, table.name, table.spaced_chain);
      collection.ruleset.reset();
    }
  }
}

void find_unshown_tables(std::vector<Collection>& collections, const Host& host) {
  for (Collection& collection : collections) {
    for (const Backend backend : {Backend::legacy, Backend::nft}) {
      const auto& kernel = host.tables(backend, collection.source);
      if (!kernel) continue;
      std::vector<std::string>& unshown = collection.unshown_tables[backend];
      for (const KernelTable& table : *kernel) {
        const auto shows_it = [&](const Collection& other) { return shows(other, backend, table); };
        if (table.filters && !table.is_dormant && concerns(table, collection.source) &&
            std::none_of(collections.begin(), collections.end(), shows_it)) {
          unshown.push_back(fmt::format("{} {}", table.family, table.name));
        }
      }
    }
  }
}

std::vector<std::string> messages_of_unshown_tables(const std::vector<Collection>& collections) {
  std::map<std::string_view, std::set<std::string>> tables_by_reason;
  for (const Collection& collection : collections) {
    if (!collection.ruleset) continue;
    for (const std::string& table : collection.ruleset->incompatible_tables) {
      tables_by_reason["tables that only nft can show whole (nft list ruleset)"].insert(
          fmt::format("{} of {}", table, collection.name));
    }
    for (const auto& [backend, tables] : collection.unshown_tables) {
      tables_by_reason[backend == Backend::nft
                           ? "nft tables that are not counted (nft list ruleset)"
                           : "legacy tables that are not counted (iptables-legacy-save)"]
          .insert(tables.begin(), tables.end());
    }
  }
  std::vector<std::string> lines;
  for (const auto& [reason, tables] : tables_by_reason) {
    if (!tables.empty()) lines.push_back(fmt::format("{}: {}", reason, fmt::join(tables, ", ")));
  }
  return lines;
}

void require_tables(std::vector<Collection>& collections) {
  const auto shows_something = [](const Collection& collection) {
    return !collection.ruleset || !collection.ruleset->tables.empty() ||
           !collection.ruleset->incompatible_tables.empty();
  };
  if (std::any_of(collections.begin(), collections.end(), shows_something)) return;
  for (Collection& collection : collections) {
    if (collection.error.empty()) {
      collection.error =
          fmt::format("{}: no tables (--allow-empty makes that a success)", collection.name);
    }
    for (const std::string& warning : collection.warnings) collection.error += "; " + warning;
    for (const std::string& line : messages_of_unshown_tables({collection})) {
      collection.error += "; " + line;
    }
    collection.ruleset.reset();
    collection.warnings.clear();
  }
}

}  // namespace iptables_exporter
