#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace iptables_exporter {

/// From the kernel. Throws std::system_error.
std::uint64_t random_number();

/// Hashes keys that come from a ruleset, with a seed that is new in each process, against collision
/// attacks. Throws what random_number() throws.
struct SeededHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view key) const;
};

}  // namespace iptables_exporter
