#pragma once

#include <cstdint>

namespace iptables_exporter {

struct Counters {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

}  // namespace iptables_exporter
