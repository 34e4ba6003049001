#pragma once

#include <cstdint>

namespace iptables_exporter {

/// From the kernel. Throws std::system_error.
std::uint64_t random_number();

}  // namespace iptables_exporter
