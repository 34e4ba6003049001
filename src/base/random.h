#pragma once

#include <sys/random.h>

#include <cstdint>

#include "base/file_io.h"

namespace iptables_exporter {

/// From the kernel: std::random_device takes longer to start than a file to write. Throws
/// std::system_error.
inline std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) {
    throw_errno("cannot get", "random bytes");
  }
  return number;
}

}  // namespace iptables_exporter
