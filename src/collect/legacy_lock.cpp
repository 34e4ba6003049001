#include "collect/legacy_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "base/file_io.h"

namespace iptables_exporter {
namespace {

std::string text_of(const char* path) {
  std::ifstream file(path);
  if (!file) throw_errno("cannot open", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// /proc/locks leaves out who is not in our PID namespace. To a container that may be anybody if
/// its network is the host's, which alone has that one file.
bool sees_all_holders() {
  constexpr ino_t initial_pid_namespace = 0xEFFFFFFC;
  struct stat pids = {};
  if (::stat("/proc/self/ns/pid", &pids) == 0 && pids.st_ino == initial_pid_namespace) return true;
  return ::access("/proc/sys/net/core", F_OK) == 0 &&
         ::access("/proc/sys/net/core/netdev_budget", F_OK) != 0 && errno == ENOENT;
}

std::string lock_file() {
  const char* const named = std::getenv("XTABLES_LOCKFILE");
  if (named != nullptr && *named != '\0') return named;
  const char* const path = "/run/xtables.lock";
  const char* const old_path = "/var/run/xtables.lock";
  return ::access(path, F_OK) != 0 && ::access(old_path, F_OK) == 0 ? old_path : path;
}

}  // namespace

LegacyLockWatch::LegacyLockWatch()
    : events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), path_(lock_file()) {}

void LegacyLockWatch::watch() {
  const std::string directory = path_.substr(0, path_.rfind('/') + 1);
  const bool is_watched = ::inotify_add_watch(events_, directory.c_str(), IN_OPEN | IN_CLOSE) >= 0;
  is_reliable_ = is_watched && sees_all_holders();
  take_events();
  was_used_ = false;
}

Watched LegacyLockWatch::watched() {
  // In this order: who closes the file makes the event first and lets go of the lock then.
  const bool is_held_now = is_held();
  take_events();
  if (is_held_now || was_used_) return Watched::disturbed;
  return is_reliable_ ? Watched::undisturbed : Watched::unreliably;
}

bool LegacyLockWatch::is_held() {
  struct statx file = {};
  // Without a file, whoever changes tables does it without this lock. Of one that is mounted there
  // or linked to, the directory tells nothing.
  if (::statx(AT_FDCWD, path_.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID,
              &file) != 0 ||
      !S_ISREG(file.stx_mode) || (file.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 ||
      (file.stx_mask & STATX_MNT_ID) == 0) {
    is_reliable_ = false;
    return false;
  }
  try {
    const std::string locks = text_of("/proc/locks");
    const std::string inode = fmt::format(":{} ", file.stx_ino);
    if (locks.find(inode) == locks.npos) return false;
    const auto device = device_of_mount(text_of("/proc/self/mountinfo"), file.stx_mnt_id);
    return locks.find(device + inode) != locks.npos;
  } catch (const std::runtime_error&) {
    is_reliable_ = false;
    return false;
  }
}

void LegacyLockWatch::take_events() {
  const std::string_view name = std::string_view(path_).substr(path_.rfind('/') + 1);
  std::array<char, 16 << 10> buffer;
  ssize_t count = 0;
  while ((count = ::read(events_, buffer.data(), buffer.size())) > 0) {
    if (tells_of({buffer.data(), static_cast<std::size_t>(count)}, name)) was_used_ = true;
  }
  if (errno != EAGAIN) is_reliable_ = false;
}

bool tells_of(std::string_view events, std::string_view name) {
  while (!events.empty()) {
    inotify_event event = {};
    std::memcpy(&event, events.data(), sizeof event);
    const std::string_view padded = events.substr(sizeof event, event.len);
    if ((event.mask & (IN_Q_OVERFLOW | IN_IGNORED)) != 0) return true;
    if (padded.substr(0, padded.find('\0')) == name) return true;
    events.remove_prefix(sizeof event + event.len);
  }
  return false;
}

std::string device_of_mount(const std::string& mountinfo, std::uint64_t mount) {
  const std::size_t line = ("\n" + mountinfo).find(fmt::format("\n{} ", mount));
  std::istringstream fields(line == mountinfo.npos ? "" : mountinfo.substr(line));
  unsigned number = 0;
  unsigned major = 0;
  unsigned minor = 0;
  char colon = '\0';
  if (!(fields >> number >> number >> major >> colon >> minor)) {
    throw std::runtime_error(fmt::format("there is no mount {}", mount));
  }
  return fmt::format(" {:02x}:{:02x}", major, minor);
}

}  // namespace iptables_exporter
