#include "collect/network_namespace.h"

#include "base/file_io.h"

namespace iptables_exporter {

bool is_in_separate_network_namespace() {
  // The kernel shows settings of the whole host in the initial network namespace only, whoever asks
  // (net/core/sysctl_net_core.c). Inode numbers of namespaces are fixed since Linux 6.18, and
  // /proc/1/ns takes CAP_SYS_PTRACE.
  struct stat of_each = {};
  struct stat of_initial = {};
  if (::stat("/proc/sys/net/core/somaxconn", &of_each) != 0 ||
      ::stat("/proc/sys/net/core/netdev_max_backlog", &of_initial) == 0) {
    return false;
  }
  struct stat here = {};
  struct stat of_init = {};
  return ::stat("/proc/self/ns/net", &here) == 0 &&
         (::stat("/proc/1/ns/net", &of_init) != 0 || !is_same_file(here, of_init));
}

}  // namespace iptables_exporter
