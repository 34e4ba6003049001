#pragma once

#include <string>
#include <string_view>

#include "termination_signals.h"
#include "unique_fd.h"

namespace iptables_exporter {

/// A file that replaces the one at `path` whole, or not at all.
///
/// The bytes go to a temporary file beside it, under a name that node_exporter does not read. It
/// has an unguessable name, must not exist before, and is locked: what a killed run left behind is
/// not locked and is removed by the next. Termination signals wait while the temporary file is
/// there.
///
/// Everything throws std::system_error; the old file then still stands.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);

  /// Puts the file in place: mode 0644 whatever the umask, its bytes on disk before its name
  /// is. A symlink at `path` is
  /// replaced, not followed. Without commit(), nothing has happened.
  void commit();

 private:
  HeldTerminationSignals held_signals_;
  std::string path_;
  std::string name_;  // the last part of path_
  UniqueFd directory_;
  std::string temporary_name_;  // in directory_; empty: there is none
  UniqueFd file_;
};

}  // namespace iptables_exporter
