#include "collect/legacy_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "base/file_io.h"

namespace iptables_exporter {
namespace {

constexpr std::size_t max_lock_bytes = 1 << 20;
constexpr int max_passes = 10;

std::string text_of(const char* path) {
  std::ifstream file(path);
  if (!file) throw_errno("cannot open", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Locks {
  std::string text;     // lines of /proc/locks, some of them more than once
  bool are_all = true;  // whether no lock is missing
};

/// Any user may make and remove as many locks as he likes. A read(2) gets one page, and walks all
/// locks from the first to get there. If a lock goes between two reads, one behind it is missed: so
/// all are read until they are twice the same.
Locks read_locks(Clock::time_point end) {
  constexpr std::size_t page_bytes = 4 << 10;
  const char* const path = "/proc/locks";
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) throw_errno("cannot open", path);
  const auto read_all = [&] {
    Locks locks;
    std::array<char, page_bytes> buffer;
    while (const std::size_t count = locks.are_all ? read_some(file.get(), buffer, path) : 0) {
      locks.text.append(buffer.data(), count);
      locks.are_all = locks.text.size() <= max_lock_bytes && Clock::now() <= end;
    }
    return locks;
  };
  Locks locks = read_all();
  if (!locks.are_all || locks.text.size() < page_bytes / 2) return locks;  // one read(2) got all
  Locks before = locks;
  for (int passes = 1; passes < max_passes; ++passes) {
    if (::lseek(file.get(), 0, SEEK_SET) != 0) throw_errno("cannot read again", path);
    Locks again = read_all();
    locks.text += again.text;
    if (!again.are_all) break;
    if (again.text == before.text) return locks;
    before = std::move(again);
  }
  locks.are_all = false;
  return locks;
}

/// /proc/locks leaves out who is not in our PID namespace, so only the initial one sees all.
bool sees_all_holders() {
  constexpr ino_t initial_pid_namespace = 0xEFFFFFFC;
  struct stat pids = {};
  return ::stat("/proc/self/ns/pid", &pids) == 0 && pids.st_ino == initial_pid_namespace;
}

std::string lock_file() {
  const char* const named = std::getenv("XTABLES_LOCKFILE");
  if (named != nullptr && *named != '\0') return named;
  const char* const path = "/run/xtables.lock";
  const char* const old_path = "/var/run/xtables.lock";
  return ::access(path, F_OK) != 0 && ::access(old_path, F_OK) == 0 ? old_path : path;
}

}  // namespace

LegacyLockWatch::LegacyLockWatch(std::chrono::duration<double> timeout)
    : events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
      path_(lock_file()),
      patience_(std::chrono::duration_cast<Clock::duration>(
          std::min<std::chrono::duration<double>>(timeout / 10, std::chrono::seconds(1)))) {}

void LegacyLockWatch::watch() {
  take_events();
  was_used_ = false;
  constexpr std::uint32_t use = IN_OPEN | IN_CLOSE | IN_MOVE_SELF;
  file_watch_ = ::inotify_add_watch(events_, path_.c_str(), use | IN_ATTRIB | IN_DONT_FOLLOW);
  const std::string directory = path_.substr(0, path_.rfind('/') + 1);
  const bool is_watched =
      file_watch_ >= 0 ||
      ::inotify_add_watch(events_, directory.c_str(), use | IN_CREATE | IN_DELETE | IN_MOVE) >= 0;
  is_reliable_ = is_watched && can_read_events_ && sees_all_holders();
  file_ = file_at_path();
}

Watched LegacyLockWatch::watched() {
  // In this order: who closes the file makes the event first and lets go of the lock then.
  const bool is_held_now = is_held();
  take_events();
  if (is_held_now || was_used_) return Watched::changed;
  return is_reliable_ ? Watched::unchanged : Watched::unknown;
}

bool LegacyLockWatch::is_held() {
  const std::optional<File> file = file_at_path();
  // Without a file, whoever changes tables does it without this lock.
  if (!file || !file_ || file->device_and_inode != file_->device_and_inode ||
      (file->has_other_paths && file_watch_ < 0)) {
    is_reliable_ = false;
  }
  if (!file) return false;
  try {
    const Locks locks = read_locks(Clock::now() + patience_);
    if (!locks.are_all) is_reliable_ = false;
    const std::string inode = fmt::format(":{} ", file->device_and_inode.second);
    if (locks.text.find(inode) == std::string::npos) return false;
    return locks.text.find(device_of_mount(text_of("/proc/self/mountinfo"), file->mount) + inode) !=
           std::string::npos;
  } catch (const std::runtime_error&) {
    is_reliable_ = false;
    return false;
  }
}

std::optional<LegacyLockWatch::File> LegacyLockWatch::file_at_path() const {
  struct statx file = {};
  if (::statx(AT_FDCWD, path_.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID,
              &file) != 0 ||
      !S_ISREG(file.stx_mode) || (file.stx_mask & STATX_MNT_ID) == 0) {
    return std::nullopt;
  }
  return File{{std::uint64_t{file.stx_dev_major} << 32 | file.stx_dev_minor, file.stx_ino},
              file.stx_mnt_id,
              (file.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 || file.stx_nlink > 1};
}

void LegacyLockWatch::take_events() {
  const std::string_view name = std::string_view(path_).substr(path_.rfind('/') + 1);
  std::array<char, 16 << 10> buffer;
  int left = 0;  // those that come meanwhile are for the next time, or there might be no end
  ssize_t count = ::ioctl(events_, FIONREAD, &left);
  while (count >= 0 && left > 0 && (count = ::read(events_, buffer.data(), buffer.size())) > 0) {
    left -= static_cast<int>(count);
    const FileEvents events =
        read_events({buffer.data(), static_cast<std::size_t>(count)}, file_watch_, name);
    if (events.are_of_use) was_used_ = true;
    if (events.are_of_loss) is_reliable_ = false;
  }
  if (count < 0) can_read_events_ = is_reliable_ = false;
}

FileEvents read_events(std::string_view events, int file_watch, std::string_view name) {
  FileEvents found;
  while (!events.empty()) {
    inotify_event event = {};
    std::memcpy(&event, events.data(), sizeof event);
    const std::string_view padded = events.substr(sizeof event, event.len);
    const bool is_of_file = event.wd == file_watch || padded.substr(0, padded.find('\0')) == name;
    // An overflow is of no watch; when one ends, or its own directory moves, there is no name.
    const bool is_of_watch = (event.mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_MOVE_SELF)) != 0;
    const bool is_use = (event.mask & (IN_OPEN | IN_CLOSE)) != 0;
    if (is_of_file && is_use) found.are_of_use = true;
    if (is_of_watch || (is_of_file && !is_use)) found.are_of_loss = true;
    events.remove_prefix(sizeof event + event.len);
  }
  return found;
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
