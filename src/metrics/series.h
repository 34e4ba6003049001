#pragma once

#include <tsl/ordered_map.h>
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace iptables_exporter {

/// Seeded, against rules that are made to collide. Throws what random_number() throws.
struct SeededHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view key) const {
    static const std::uint64_t seed = random_number();
    return XXH3_64bits_withSeed(key.data(), key.size(), seed);
  }
};

/// Series by their label text, `chain="INPUT",rule="-j \"x\"",table="filter"`, in order of first
/// appearance.
template <typename Value>
using Series = tsl::ordered_map<std::string, Value, SeededHash, std::equal_to<>>;

}  // namespace iptables_exporter
