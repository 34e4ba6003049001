#include "collect/network_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/capability.h>

#include <cerrno>

#include "base/file_io.h"

namespace iptables_exporter {

void enter_network_namespace(const std::string& name) {
  const std::string path = "/run/netns/" + name;
  const UniqueFd wanted(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!wanted) throw_errno("cannot open network namespace", path);
  struct stat there = {};
  struct stat here = {};
  const bool is_there = ::fstat(wanted.get(), &there) == 0 &&
                        ::stat("/proc/self/ns/net", &here) == 0 && is_same_file(there, here);
  if (!is_there && ::setns(wanted.get(), CLONE_NEWNET) != 0) {
    throw_errno(errno == EPERM ? "CAP_SYS_ADMIN is needed to enter network namespace"
                               : "cannot enter network namespace",
                path);
  }
  // The commands, which come out of the caller's PATH, have no use for it.
  cap_set_ambient(CAP_SYS_ADMIN, CAP_CLEAR);
}

}  // namespace iptables_exporter
