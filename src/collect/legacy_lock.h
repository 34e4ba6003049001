#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/signals.h"

namespace iptables_exporter {

/// The result of a watch over a read of legacy tables: a change could have gone unnoticed; there
/// was none; there may have been one.
enum class Watched { unknown, unchanged, changed };

/// Watches the lock that programs hold while they change legacy tables. A change replaces a whole
/// table by one with zeroed counters and adds the old counters back in a second call; iptables-save
/// takes no lock, and between the two calls it reads zeros.
///
/// The lock is not taken: nobody waits for us. We watch the lock file if we have permission to read
/// it (it is root's), else its directory, where opening and closing the file shows, too.
/// /proc/locks shows whether the lock is held.
class LegacyLockWatch {
 public:
  /// The lock file is what XTABLES_LOCKFILE names, else xtables.lock in /run or /var/run. To look
  /// whether the lock is held takes a tenth of `timeout` at most, and no more than a second.
  explicit LegacyLockWatch(std::chrono::duration<double> timeout);

  /// Begins a new watch.
  void watch();

  /// Polls readable while there are events. Take them: the kernel keeps a limited number.
  int fd() const { return events_; }
  void take_events();

  /// The result since watch().
  Watched watched();

  /// Whether somebody is known to hold it now.
  bool is_held();

 private:
  struct File {
    std::pair<std::uint64_t, std::uint64_t> device_and_inode;
    std::uint64_t mount = 0;
    bool has_other_paths = false;  // its directory does not show all who open it
  };
  std::optional<File> file_at_path() const;

  int events_;  // never closed: that waits for the kernel, and the page must not
  std::string path_;
  Clock::duration patience_;
  int file_watch_ = -1;  // not of the directory
  std::optional<File> file_;
  bool can_read_events_ = true;
  bool is_reliable_ = false;
  bool was_used_ = false;
};

/// What events of inotify(7) say about a file.
struct FileEvents {
  bool are_of_use = false;   // somebody opened or closed it
  bool are_of_loss = false;  // the file came, went or was changed otherwise, or events are missing
};

/// Events of the watch `file_watch` are about the file; events of other watches, if they name it.
FileEvents read_events(std::string_view events, int file_watch, std::string_view name);

/// The device of a mount in the text of /proc/self/mountinfo, which is the device that /proc/locks
/// shows; stat(2) has another on some file systems. Throws std::runtime_error if it is not there.
std::string device_of_mount(const std::string& mountinfo, std::uint64_t mount);

}  // namespace iptables_exporter
