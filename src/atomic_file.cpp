#include "atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>

#include "file_io.h"

namespace iptables_exporter {
namespace {

constexpr std::string_view temporary_prefix = ".iptables_exporter.";
constexpr std::string_view temporary_suffix = ".tmp";
constexpr std::size_t random_digits = 16;

std::string new_temporary_name() {
  std::random_device random;
  return fmt::format("{}{:08x}{:08x}{}", temporary_prefix, random(), random(), temporary_suffix);
}

bool is_temporary_name(std::string_view name) {
  return name.size() == temporary_prefix.size() + random_digits + temporary_suffix.size() &&
         name.starts_with(temporary_prefix) && name.ends_with(temporary_suffix);
}

bool lock(const UniqueFd& file) { return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0; }

/// Removes what a killed run left in the directory. Only files of our own that nobody has locked;
/// in a world-writable directory anybody may have planted anything under such a name.
void remove_leftovers(const UniqueFd& directory) {
  const int listed = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listed < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listed), &::closedir);
  if (!entries) {
    ::close(listed);
    return;
  }
  while (const dirent* entry = ::readdir(entries.get())) {
    if (!is_temporary_name(entry->d_name)) continue;
    const UniqueFd file(::openat(directory.get(), entry->d_name,
                                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat status = {};
    if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (status.st_uid != ::geteuid() || !lock(file)) continue;
    ::unlinkat(directory.get(), entry->d_name, 0);
  }
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  const std::size_t slash = path_.rfind('/');
  name_ = path_.substr(slash + 1);
  const std::string directory_path =
      slash == std::string::npos ? "." : path_.substr(0, std::max<std::size_t>(slash, 1));
  directory_ = UniqueFd(::open(directory_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) throw_errno("cannot open directory", directory_path);
  remove_leftovers(directory_);

  // Between being made and being locked it can look like a leftover to another run.
  struct stat status = {};
  do {
    temporary_name_ = new_temporary_name();
    file_ = UniqueFd(::openat(directory_.get(), temporary_name_.c_str(),
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_) {
      temporary_name_.clear();
      throw_errno("cannot create a temporary file in", directory_path);
    }
  } while ((!lock(file_) && errno == EWOULDBLOCK) ||
           (::fstat(file_.get(), &status) == 0 && status.st_nlink == 0));
}

AtomicFile::~AtomicFile() {
  if (!temporary_name_.empty()) ::unlinkat(directory_.get(), temporary_name_.c_str(), 0);
}

void AtomicFile::write(std::string_view bytes) { write_all(file_.get(), bytes, path_); }

void AtomicFile::commit() {
  if (::fchmod(file_.get(), 0644) != 0) throw_errno("cannot set the mode of", path_);
  if (::fsync(file_.get()) != 0) throw_errno("cannot write", path_);
  // Closed only after the rename, for closing unlocks. All errors of writing came with fsync.
  if (::renameat(directory_.get(), temporary_name_.c_str(), directory_.get(), name_.c_str()) != 0) {
    throw_errno("cannot replace", path_);
  }
  temporary_name_.clear();
}

}  // namespace iptables_exporter
