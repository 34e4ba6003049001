#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "collect/capabilities.h"
#include "collect/kernel_tables.h"
#include "collect/legacy_lock.h"
#include "collect/subprocess.h"
#include "model/collection.h"
#include "model/ruleset.h"
#include "model/source.h"

namespace iptables_exporter {

// What a source's run comes to. Pure: what the host says is handed in.

/// What the kernel and this process's rights say, whatever the commands print.
struct Host {
  std::array<KernelTables, 2> legacy;  // by Family
  KernelTables nft;                    // of all families
  Privileges privileges;

  const KernelTables& tables(Backend backend, const Source& source) const {
    return backend == Backend::nft ? nft : legacy[static_cast<std::size_t>(family_of(source))];
  }
};

/// A source and the last run of its command.
struct Attempt {
  Source source;
  std::string command;             // its name
  std::string path;                // empty: there is none, and the result says why
  std::optional<Backend> variant;  // what the command is; absent: only the dump may tell
  SubprocessResult result;
  std::optional<Ruleset> ruleset;  // absent: what it printed is no whole dump
  std::string parse_error;
  Watched watched = Watched::unreliably;
  int tries = 0;  // all before this one were disturbed
};

/// Whether counters that it read may be zeros of a change that was going on.
bool is_disturbed(const Attempt& attempt);

/// What became of a source. `timeout` is for the message. A backend that may be missing shows
/// nothing where it is known what the kernel has of it, which is unshown then, but there is no
/// command; and where the kernel has nothing of it and the command fails.
Collection outcome(Attempt attempt, const Host& host, std::chrono::duration<double> timeout,
                   bool may_be_missing);

/// What became of all sources where nothing was run, for the reason `why`.
std::vector<Collection> all_failed(const std::vector<Source>& sources, const std::string& why);

/// Fails sources whose dump may be forged: white space in a chain's name, which only netlink lets
/// through, can look like other chains, rules and tables, and hide them.
void fail_spaced_chains(std::vector<Collection>& collections, const Host& host);

/// What only all sources together say: which tables that filter none of them shows.
void find_unshown_tables(std::vector<Collection>& collections, const Host& host);

/// For those who do not read the metric: each reason, and the tables that it hides.
std::vector<std::string> messages_of_unshown_tables(const std::vector<Collection>& collections);

/// Turns success into failure if no collection has a table, nor one that could not be shown.
void require_tables(std::vector<Collection>& collections);

}  // namespace iptables_exporter
