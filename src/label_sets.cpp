#include "label_sets.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <stdexcept>

namespace iptables_exporter {
namespace {

std::uint32_t hash_of(std::span<const std::string_view> values) {
  XXH64_hash_t hash = 0;
  for (const std::string_view value : values) {
    hash = XXH3_64bits_withSeed(value.data(), value.size(), hash);
  }
  return static_cast<std::uint32_t>(hash);
}

}  // namespace

std::size_t LabelSets::find_or_add(std::span<const std::string_view> values) {
  if (2 * (size_ + 1) > slots_.size()) grow();
  const std::uint32_t hash = hash_of(values);
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  for (; slots_[at].index_plus_one != 0; at = (at + 1) & mask) {
    const std::size_t index = slots_[at].index_plus_one - 1;
    if (slots_[at].hash == hash && std::ranges::equal(this->values(index), values)) return index;
  }
  values_.insert(values_.end(), values.begin(), values.end());
  slots_[at] = {static_cast<std::uint32_t>(++size_), hash};
  return size_ - 1;
}

void LabelSets::grow() {
  constexpr std::size_t first_size = 64;
  constexpr std::size_t max_size = std::size_t{1} << 32;
  if (slots_.size() >= max_size) throw std::length_error("too many series");
  std::vector<Slot> larger(std::max(first_size, 2 * slots_.size()));
  const std::size_t mask = larger.size() - 1;
  for (const Slot slot : slots_) {
    if (slot.index_plus_one == 0) continue;
    std::size_t at = slot.hash & mask;
    while (larger[at].index_plus_one != 0) at = (at + 1) & mask;
    larger[at] = slot;
  }
  slots_ = std::move(larger);
}

}  // namespace iptables_exporter
