#include "capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <utility>

namespace iptables_exporter {

std::vector<std::string_view> missing_capabilities() {
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
    if ((data[0].effective & (std::uint32_t{1} << number)) == 0) missing.push_back(name);
  }
  return missing;
}

}  // namespace iptables_exporter
