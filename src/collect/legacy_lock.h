#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace iptables_exporter {

/// What is known of a time in which legacy tables were read: that a change of them may have gone
/// unnoticed, that there was none, or that there may have been one.
enum class Watched { unreliably, undisturbed, disturbed };

/// The lock that is held by who changes legacy tables. A change replaces a whole table by one with
/// zeroed counters and adds the old ones back in a second call; iptables-save takes no lock, so who
/// reads in between sees zeros.
///
/// It is only looked at, never taken: nobody waits for us. That needs no right to open its file,
/// which is root's: the directory tells who opens and closes it, /proc/locks whether it is held.
class LegacyLockWatch {
 public:
  /// In the file that XTABLES_LOCKFILE names, else in /run or /var/run.
  LegacyLockWatch();

  /// Begins to watch it, and anew each time.
  void watch();

  /// What is known of the time since.
  Watched watched();

  /// Whether somebody is known to hold it now.
  bool is_held();

 private:
  void take_events();

  int events_;  // never closed: that waits for the kernel, and the page must not
  std::string path_;
  bool is_reliable_ = false;
  bool was_used_ = false;
};

/// Whether events of inotify(7) are of the file called `name`, or say that some are missing.
bool tells_of(std::string_view events, std::string_view name);

/// The device of a mount in the text of /proc/self/mountinfo, as /proc/locks writes it: that of
/// stat(2) is another on some file systems. Throws std::runtime_error if it is not there.
std::string device_of_mount(const std::string& mountinfo, std::uint64_t mount);

}  // namespace iptables_exporter
