#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace iptables_exporter {

/// A set of ipset(8), which rules of any family and backend may match.
struct IpSet {
  std::string name;
  std::uint32_t entries = 0;                      // those that have not expired
  std::optional<std::uint32_t> max_entries = {};  // absent: its type has no limit of its own
  std::uint32_t references = 0;                   // of rules and of other sets
};

}  // namespace iptables_exporter
