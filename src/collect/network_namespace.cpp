#include "collect/network_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/file_io.h"

namespace iptables_exporter {

void enter_network_namespace(const std::string& name) {
  const std::string path = "/run/netns/" + name;
  const UniqueFd wanted(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!wanted) throw_errno("cannot open network namespace", path);
  struct stat there = {};
  struct stat here = {};
  if (::fstat(wanted.get(), &there) == 0 && ::stat("/proc/self/ns/net", &here) == 0 &&
      there.st_dev == here.st_dev && there.st_ino == here.st_ino) {
    return;
  }
  if (::setns(wanted.get(), CLONE_NEWNET) == 0) return;
  throw_errno(errno == EPERM ? "CAP_SYS_ADMIN is needed to enter network namespace"
                             : "cannot enter network namespace",
              path);
}

}  // namespace iptables_exporter
