#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/signals.h"

namespace iptables_exporter {

/// What is known of a time in which legacy tables were read: that a change of them may have gone
/// unnoticed, that there was none, or that there may have been one.
enum class Watched { unreliably, undisturbed, disturbed };

/// The lock that is held by who changes legacy tables. A change replaces a whole table by one with
/// zeroed counters and adds the old ones back in a second call; iptables-save takes no lock, so who
/// reads in between sees zeros.
///
/// It is only looked at, never taken: nobody waits for us. Who may read its file watches that;
/// else, for it is root's, its directory, which tells who opens and closes it, too. /proc/locks
/// tells whether it is held.
class LegacyLockWatch {
 public:
  /// In the file that XTABLES_LOCKFILE names, else in /run or /var/run. To look whether somebody
  /// holds it takes a tenth of `timeout` at most, and no more than a second.
  explicit LegacyLockWatch(std::chrono::duration<double> timeout);

  /// Begins to watch it, and anew each time.
  void watch();

  /// Polls readable while there are events, of which the kernel keeps so many and no more.
  int fd() const { return events_; }
  void take_events();

  /// What is known of the time since.
  Watched watched();

  /// Whether somebody is known to hold it now.
  bool is_held();

 private:
  struct File {
    std::pair<std::uint64_t, std::uint64_t> device_and_inode;
    std::uint64_t mount = 0;
    bool is_mounted = false;  // by itself, so that its directory tells nothing of it
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

/// What events of inotify(7) tell of a file.
struct FileEvents {
  bool are_of_use = false;   // somebody opened or closed it
  bool are_of_loss = false;  // it came, went or was changed otherwise, or there is more
};

/// Of the watch `file_watch` they are of the file, of others if they name it.
FileEvents read_events(std::string_view events, int file_watch, std::string_view name);

/// The device of a mount in the text of /proc/self/mountinfo, as /proc/locks writes it: that of
/// stat(2) is another on some file systems. Throws std::runtime_error if it is not there.
std::string device_of_mount(const std::string& mountinfo, std::uint64_t mount);

}  // namespace iptables_exporter
