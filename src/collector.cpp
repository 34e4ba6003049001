#include "collector.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <system_error>

#include "capabilities.h"
#include "command_path.h"
#include "error_message.h"
#include "file_io.h"
#include "legacy_tables.h"
#include "save_parser.h"
#include "subprocess.h"
#include "unique_fd.h"

namespace iptables_exporter {
namespace {

/// Parses a dump as it arrives. Keeps the first error instead of throwing it, for how the command
/// ended matters more.
class DumpReader {
 public:
  void feed(std::string_view bytes) {
    if (has_failed()) return;
    guarded([&] { parser_.feed(bytes); });
  }

  bool has_failed() const { return !error_.empty(); }

  void finish_into(Collection& collection) {
    if (!has_failed()) guarded([&] { collection.ruleset = parser_.finish(); });
    collection.error = error_;
  }

 private:
  template <typename Action>
  void guarded(const Action& action) {
    try {
      action();
    } catch (const std::exception& error) {
      parser_ = SaveParser();  // nothing of a broken dump is of use, and it may be large
      error_ = message_of(error);
    }
  }

  SaveParser parser_;
  std::string error_;
};

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

std::string capabilities_hint(const Source& source) {
  const auto missing = missing_capabilities(source.backend);
  if (missing.empty()) return "";
  return fmt::format("; this process lacks {}: run it as root or grant them",
                     fmt::join(missing, ", "));
}

/// Why the command failed, or nothing if it did not.
std::string failure_of(const Collection& collection, const SubprocessResult& result,
                       std::chrono::duration<double> timeout) {
  const std::string& command = collection.name;
  const auto with_stderr = [&](std::string text) {
    const auto lines = lines_of(result.stderr_text);
    if (!lines.empty()) text += fmt::format(": {}", fmt::join(lines, "; "));
    return text;
  };
  switch (result.end) {
    case SubprocessResult::End::exited:
      if (result.code == 0) return "";
      return with_stderr(fmt::format("{} exited with status {}", command, result.code)) +
             capabilities_hint(collection.source);
    case SubprocessResult::End::killed:
      return with_stderr(fmt::format("{} was killed by signal {} ({})", command, result.code,
                                     ::strsignal(result.code)));
    case SubprocessResult::End::timed_out:
      return with_stderr(fmt::format("{} did not end within {} seconds (--timeout) and was killed",
                                     command, timeout.count()));
    case SubprocessResult::End::not_run:
      return fmt::format("cannot run {}: {}", command,
                         std::generic_category().message(result.code));
  }
  return "";
}

Subprocess subprocess_for(const std::string& command, DumpReader& reader) {
  const char* const path_variable = std::getenv("PATH");
  const auto directories = command_directories(path_variable == nullptr ? "" : path_variable);
  return {find_command(command, directories),
          {command, "-c"},
          {"LC_ALL=C", fmt::format("PATH={}", fmt::join(directories, ":"))},
          [&reader](std::string_view bytes) { reader.feed(bytes); }};
}

/// Of several sources, legacy ones may have no command: that is no failure on a host whose kernel
/// has no legacy tables, for there is nothing that the command could show.
bool has_nothing_to_show(const Source& source, std::size_t sources) {
  return sources > 1 && source.backend == Backend::legacy &&
         has_legacy_tables(source.family.value_or(Family::ipv4)) == false;
}

/// Without the right to read the names of legacy tables, the legacy command prints nothing and
/// exits with 0.
bool is_blind(const Collection& collection) {
  return collection.source.backend == Backend::legacy && collection.ruleset->tables.empty() &&
         has_legacy_tables(collection.source.family.value_or(Family::ipv4)) != false;
}

void warn_of_incompatible_tables(Collection& collection) {
  if (!collection.ruleset) return;
  for (const std::string_view table : collection.ruleset->incompatible_tables) {
    collection.warnings.push_back(
        fmt::format("{}: table {} is not shown, or not whole: it holds what only nft can show "
                    "(nft list ruleset)",
                    collection.name, table));
  }
}

/// What the command said, but not that there are legacy tables where this run shows them.
void warn_of_stderr(Collection& collection, std::string_view text) {
  for (const std::string& line : lines_of(text)) {
    const bool is_of_legacy_tables = line.find("legacy tables present") != std::string::npos;
    if (is_of_legacy_tables && collection.hidden_legacy_tables == false) continue;
    collection.warnings.push_back(fmt::format("{}: {}", collection.name, line));
  }
}

void find_hidden_legacy_tables(std::vector<Collection>& collections) {
  const auto shows_legacy_tables = [](const Collection& collection) {
    return collection.ruleset && (collection.source.backend == Backend::legacy ||
                                  collection.ruleset->variant == "legacy");
  };
  for (Collection& collection : collections) {
    const Family family = collection.source.family.value_or(Family::ipv4);
    const bool are_shown =
        std::any_of(collections.begin(), collections.end(), [&](const Collection& other) {
          return shows_legacy_tables(other) && other.source.family.value_or(Family::ipv4) == family;
        });
    collection.hidden_legacy_tables = are_shown ? false : has_legacy_tables(family);
  }
}

}  // namespace

std::string save_command(const Source& source) {
  std::string command = source.family == Family::ipv6 ? "ip6tables" : "iptables";
  if (source.backend) command += fmt::format("-{}", name_of(*source.backend));
  return command + "-save";
}

std::vector<Collection> collect(const std::vector<Source>& sources,
                                std::chrono::duration<double> timeout) {
  std::vector<Collection> collections(sources.size());
  std::vector<DumpReader> readers(sources.size());
  std::vector<Subprocess> subprocesses;
  std::vector<std::size_t> started;  // the source of each subprocess
  for (std::size_t i = 0; i < sources.size(); ++i) {
    collections[i].source = sources[i];
    collections[i].name = save_command(sources[i]);
    try {
      subprocesses.push_back(subprocess_for(collections[i].name, readers[i]));
      started.push_back(i);
    } catch (const std::runtime_error& error) {
      if (has_nothing_to_show(sources[i], sources.size())) {
        collections[i].ruleset.emplace();
      } else {
        collections[i].error = error.what();
      }
    }
  }

  std::vector<SubprocessResult> results;
  try {
    results = run_side_by_side(subprocesses, timeout);
  } catch (const std::exception& error) {
    for (const std::size_t i : started) collections[i].error = message_of(error);
    return collections;
  }

  for (std::size_t i = 0; i < results.size(); ++i) {
    Collection& collection = collections[started[i]];
    collection.duration = results[i].duration;
    collection.error = failure_of(collection, results[i], timeout);
    if (!collection.error.empty()) continue;
    readers[started[i]].finish_into(collection);
    if (collection.ruleset && is_blind(collection)) {
      collection.ruleset.reset();
      collection.error = "printed nothing, though the kernel may hold legacy tables" +
                         capabilities_hint(collection.source);
    }
    if (!collection.error.empty()) collection.error = collection.name + ": " + collection.error;
  }
  find_hidden_legacy_tables(collections);
  for (std::size_t i = 0; i < results.size(); ++i) {
    Collection& collection = collections[started[i]];
    if (!collection.ruleset) continue;  // its error tells what it said
    warn_of_stderr(collection, results[i].stderr_text);
    warn_of_incompatible_tables(collection);
  }
  return collections;
}

Collection read_dump(const std::string& path, const Source& source) {
  const auto started = std::chrono::steady_clock::now();
  Collection collection;
  collection.source = source;
  collection.name = path == "-" ? "stdin" : path;
  try {
    UniqueFd file;
    if (path != "-") {
      file = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!file) throw_errno("cannot open", path);
    }
    DumpReader reader;
    std::vector<char> buffer(64 << 10);
    while (!reader.has_failed()) {
      const std::size_t count =
          read_some(path == "-" ? STDIN_FILENO : file.get(), buffer, collection.name);
      if (count == 0) break;
      reader.feed({buffer.data(), count});
    }
    reader.finish_into(collection);
    if (!collection.error.empty()) collection.error = collection.name + ": " + collection.error;
  } catch (const std::exception& error) {
    collection.error = message_of(error);
  }
  warn_of_incompatible_tables(collection);
  collection.duration = std::chrono::steady_clock::now() - started;
  return collection;
}

void require_tables(std::vector<Collection>& collections, bool is_from_file) {
  const auto shows_something = [](const Collection& collection) {
    return !collection.ruleset || !collection.ruleset->tables.empty() ||
           !collection.ruleset->incompatible_tables.empty();
  };
  if (std::any_of(collections.begin(), collections.end(), shows_something)) return;
  for (Collection& collection : collections) {
    collection.ruleset.reset();
    collection.error =
        fmt::format("{}: no tables (--allow-empty makes that a success)", collection.name);
    if (!is_from_file) collection.error += capabilities_hint(collection.source);
    for (const std::string& warning : collection.warnings) collection.error += "; " + warning;
    collection.warnings.clear();
  }
}

}  // namespace iptables_exporter
