#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/signals.h"
#include "collect/capabilities.h"
#include "collect/kernel_tables.h"
#include "collect/legacy_lock.h"
#include "collect/subprocess.h"
#include "model/collection.h"
#include "model/source.h"

namespace iptables_exporter {

// Whether a source failed is decided here and nowhere else, with what its command, the text, the
// kernel and the other sources say side by side. Pure: all of that is handed in.

/// What the kernel and this process's rights say, whatever the commands print.
struct Host {
  std::array<KernelTables, 2> legacy = {};  // by Family
  KernelTables nft = {};                    // of all families
  Privileges privileges = {};

  const KernelTables& tables(Backend backend, const Source& source) const {
    return backend == Backend::nft ? nft : legacy[static_cast<std::size_t>(family_of(source))];
  }
};

/// The last attempt to read a source, and the collection that it becomes. That has a ruleset where
/// what was read is a whole dump.
struct Attempt {
  Collection collection;
  std::string path = {};                // of the command; empty: none was run
  std::optional<Backend> backend = {};  // of the command; absent: only the dump may tell
  SubprocessResult result = {};
  std::string parse_error = {};
  std::optional<Watched> watched = {};  // absent: the kernel was not read
  KernelTables kernel = {};             // of its backend, asked when its dump was read
  bool is_repeated = false;             // all before this one were disturbed
  // When its dump was read, or it failed.
  std::chrono::system_clock::time_point ended = std::chrono::system_clock::now();
};

/// That of its command, or else of what the command printed.
std::optional<Backend> backend_of(const Attempt& attempt);

/// Whether it is to be read again: its counters may be zeros of a change that was going on, or it
/// shows tables that the kernel does not have, or, of legacy ones, other numbers of rules.
bool is_disturbed(const Attempt& attempt);

/// All that is known of a run.
struct Evidence {
  std::vector<Attempt> attempts;  // one for each source
  Host host = {};
};

/// When the last attempt ended.
std::chrono::system_clock::time_point end_of_collecting(const Evidence& evidence);

/// That nothing could be read, for the reason `why`.
Evidence evidence_of_failure(const std::vector<Source>& sources, const std::string& why);

/// What became of each source. It failed if its command did, if its dump is not whole, may be
/// forged or hold counters of a change, or if it cannot see what the kernel has. If no source shows
/// a table, nor names one that it cannot show, those fail of which the kernel does not say that
/// there is none, unless `allow_empty`.
///
/// Of two backends, one may be missing. It is an empty success if (a) it has no command and its
/// kernel tables are known (they are unshown then), or (b) its command fails and the kernel has
/// none of its tables.
std::vector<Collection> judge(Evidence evidence, const TimeLimit& limit, bool allow_empty);

}  // namespace iptables_exporter
