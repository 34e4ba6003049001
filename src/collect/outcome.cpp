#include "collect/outcome.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "collect/command.h"

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

/// In words what an end was, if it was not the exit status 0.
struct WordsOfFailure {
  std::string_view command;
  std::chrono::duration<double> timeout;

  std::string operator()(const NotRun& end) const { return end.why; }
  std::string operator()(const Exited& end) const {
    return end.status == 0 ? "" : fmt::format("{} exited with status {}", command, end.status);
  }
  std::string operator()(const Killed& end) const {
    return fmt::format("{} was killed by signal {} ({})", command, end.signal,
                       ::strsignal(end.signal));
  }
  std::string operator()(const TimedOut&) const {
    return fmt::format("{} did not end within {} seconds (--timeout) and was killed", command,
                       timeout.count());
  }
};

/// Why the run failed, or nothing if it did not.
std::string failure_of(const Collection& collection, const Attempt& attempt, const Host& host,
                       std::chrono::duration<double> timeout) {
  const End& end = attempt.result.end;
  if (is_disturbed(attempt) || (attempt.tries > 1 && std::holds_alternative<TimedOut>(end))) {
    return fmt::format(
        "{}: somebody was changing legacy tables, whose counters may read 0 meanwhile, whenever "
        "they were read within {} seconds (--timeout): see who opens or holds xtables.lock "
        "(fuser /run/xtables.lock), or allow more time",
        collection.name, timeout.count());
  }
  std::string failure = std::visit(WordsOfFailure{collection.name, timeout}, end);
  if (!failure.empty()) {
    const auto lines = lines_of(attempt.result.stderr_text);
    if (!lines.empty()) failure += fmt::format(": {}", fmt::join(lines, "; "));
    if (std::holds_alternative<Exited>(end)) {
      failure += privileges_hint(host.privileges, attempt.variant);
    }
    return failure;
  }
  if (!attempt.ruleset) return fmt::format("{}: {}", collection.name, attempt.parse_error);
  // Without the right to read the names of legacy tables, the legacy command prints nothing and
  // exits with 0.
  const bool is_blind = attempt.variant == Backend::legacy && attempt.ruleset->tables.empty() &&
                        host.legacy_tables_of(collection.source) != false;
  if (!is_blind) return "";
  return fmt::format("{}: printed nothing, though the kernel may hold legacy tables{}",
                     collection.name, privileges_hint(host.privileges, attempt.variant));
}

void warn_of_stderr(Collection& collection, std::string_view text) {
  for (const std::string& line : lines_of(text)) {
    collection.warnings.push_back(fmt::format("{}: {}", collection.name, line));
  }
}

bool is_of_legacy_tables(const std::string& warning) {
  return warning.find("legacy tables present") != std::string::npos;
}

}  // namespace

bool is_disturbed(const Attempt& attempt) {
  const auto* const exited = std::get_if<Exited>(&attempt.result.end);
  if (attempt.watched != Watched::disturbed || !attempt.ruleset || !exited || exited->status != 0)
    return false;
  const auto variant = attempt.variant ? attempt.variant : attempt.ruleset->variant;
  return variant == Backend::legacy && !attempt.ruleset->tables.empty();
}

Collection outcome(const Source& source, Attempt attempt, const Host& host,
                   std::chrono::duration<double> timeout) {
  Collection collection;
  collection.source = source;
  collection.name = save_command(source);
  collection.duration = attempt.result.duration;
  collection.error = failure_of(collection, attempt, host, timeout);
  if (!collection.error.empty()) return collection;
  collection.ruleset = std::move(attempt.ruleset);
  if (attempt.variant) collection.ruleset->variant = attempt.variant;
  if (collection.ruleset->variant == Backend::legacy) {
    collection.legacy_read_protected =
        attempt.watched == Watched::undisturbed || collection.ruleset->tables.empty();
  }
  warn_of_stderr(collection, attempt.result.stderr_text);
  warn_of_incompatible_tables(collection);
  return collection;
}

Collection outcome_without_command(const Source& source, const std::string& why, const Host& host,
                                   std::size_t sources) {
  Collection collection;
  collection.source = source;
  collection.name = save_command(source);
  if (sources > 1 && source.backend == Backend::legacy && host.legacy_tables_of(source) == false) {
    collection.ruleset.emplace();
  } else {
    collection.error = why;
  }
  return collection;
}

void warn_of_incompatible_tables(Collection& collection) {
  for (const std::string_view table : collection.ruleset->incompatible_tables) {
    collection.warnings.push_back(
        fmt::format("{}: table {} is not shown, or not whole: it holds what only nft can show "
                    "(nft list ruleset)",
                    collection.name, table));
  }
}

void find_hidden_legacy_tables(std::vector<Collection>& collections, const Host& host) {
  for (Collection& collection : collections) {
    const bool are_shown =
        std::any_of(collections.begin(), collections.end(), [&](const Collection& other) {
          return family_of(other.source) == family_of(collection.source) && other.ruleset &&
                 (other.source.backend == Backend::legacy ||
                  other.ruleset->variant == Backend::legacy);
        });
    collection.hidden_legacy_tables =
        are_shown ? std::optional(false) : host.legacy_tables_of(collection.source);
    // iptables' own warning of them counts only where this run does not show them.
    if (collection.hidden_legacy_tables == false)
      std::erase_if(collection.warnings, is_of_legacy_tables);
  }
}

void require_tables(std::vector<Collection>& collections,
                    const std::optional<Privileges>& privileges) {
  const auto shows_something = [](const Collection& collection) {
    return !collection.ruleset || !collection.ruleset->tables.empty() ||
           !collection.ruleset->incompatible_tables.empty();
  };
  if (std::any_of(collections.begin(), collections.end(), shows_something)) return;
  for (Collection& collection : collections) {
    collection.error =
        fmt::format("{}: no tables (--allow-empty makes that a success)", collection.name);
    if (privileges) collection.error += privileges_hint(*privileges, collection.ruleset->variant);
    for (const std::string& warning : collection.warnings) collection.error += "; " + warning;
    collection.ruleset.reset();
    collection.warnings.clear();
  }
}

}  // namespace iptables_exporter
