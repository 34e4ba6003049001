#include "capabilities.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "unique_fd.h"

namespace iptables_exporter {

namespace {

/// The capability's only use here is to read this file, and group root will do for that.
bool may_not_read_names_of_tables() {
  const UniqueFd file(::open("/proc/net/ip_tables_names", O_RDONLY | O_CLOEXEC));
  return !file && errno == EACCES;
}

}  // namespace

std::vector<std::string_view> missing_capabilities(std::optional<Backend> backend) {
  constexpr std::array<std::pair<unsigned, std::string_view>, 3> needed = {{
      {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
      {CAP_NET_RAW, "CAP_NET_RAW"},
      {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"},
  }};
  // capget(2) directly: libcap would be a library for one call.
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return {};
  std::vector<std::string_view> missing;
  for (const auto& [number, name] : needed) {
    if ((data[0].effective & (std::uint32_t{1} << number)) != 0) continue;
    if (number != CAP_NET_ADMIN && backend == Backend::nft) continue;
    if (number == CAP_DAC_READ_SEARCH && !may_not_read_names_of_tables()) continue;
    missing.push_back(name);
  }
  return missing;
}

}  // namespace iptables_exporter
