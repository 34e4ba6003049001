#include "legacy_tables.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <exception>

#include "file_io.h"
#include "unique_fd.h"

namespace iptables_exporter {

std::optional<bool> has_legacy_tables(Family family) {
  const char* const path =
      family == Family::ipv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names";
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) {
    // The kernel has the file once it has the module.
    return errno == ENOENT ? std::optional(false) : std::nullopt;
  }
  try {
    std::array<char, 1> byte{};
    return read_some(file.get(), byte, path) > 0;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace iptables_exporter
