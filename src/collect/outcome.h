#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "collect/capabilities.h"
#include "collect/legacy_lock.h"
#include "collect/subprocess.h"
#include "model/collection.h"
#include "model/ruleset.h"
#include "model/source.h"

namespace iptables_exporter {

// What a source's run comes to. Pure: what the host says is handed in.

/// What the kernel and this process's rights say, whatever the commands print.
struct Host {
  std::array<std::optional<bool>, 2> has_legacy_tables;  // by Family; absent: it may not be known
  Privileges privileges;

  std::optional<bool> legacy_tables_of(const Source& source) const {
    return has_legacy_tables[static_cast<std::size_t>(family_of(source))];
  }
};

/// One run of a source's command.
struct Attempt {
  std::optional<Backend> variant;  // what the command is; absent: only the dump may tell
  SubprocessResult result;
  std::optional<Ruleset> ruleset;  // absent: what it printed is no whole dump
  std::string parse_error;
  Watched watched = Watched::unreliably;
  int tries = 0;  // all before this one were disturbed
};

/// Whether counters that it read may be zeros of a change that was going on.
bool is_disturbed(const Attempt& attempt);

/// What became of a source whose command ran. `timeout` is for the message.
Collection outcome(const Source& source, Attempt attempt, const Host& host,
                   std::chrono::duration<double> timeout);

/// What became of a source that has no command for the reason `why`. Of several `sources`, a legacy
/// one needs none on a host whose kernel has no legacy tables.
Collection outcome_without_command(const Source& source, const std::string& why, const Host& host,
                                   std::size_t sources);

/// What only all sources together say: which legacy tables none of them shows.
void find_hidden_legacy_tables(std::vector<Collection>& collections, const Host& host);

/// Turns success into failure if no collection has a table, nor one that could not be shown.
/// `privileges` are those of the commands; a file has none.
void require_tables(std::vector<Collection>& collections,
                    const std::optional<Privileges>& privileges);

void warn_of_incompatible_tables(Collection& collection);

}  // namespace iptables_exporter
