#include "metrics/label_sets.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
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

void LabelSets::reserve(std::size_t size) {
  values_.reserve(size * names_.size());
  make_slots(size);
}

std::uint32_t LabelSets::prepare(std::span<const std::string_view> values) const {
  const std::uint32_t hash = hash_of(values);
  if (!slots_.empty()) __builtin_prefetch(&slots_[first_slot(hash)]);
  return hash;
}

std::size_t LabelSets::find_or_add(std::span<const std::string_view> values, std::uint32_t hash) {
  make_slots(size_ + 1);
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = first_slot(hash);
  for (; slots_[at].index_plus_one != 0; at = (at + 1) & mask) {
    const std::size_t index = slots_[at].index_plus_one - 1;
    if (slots_[at].hash == hash && std::ranges::equal(this->values(index), values)) return index;
  }
  values_.insert(values_.end(), values.begin(), values.end());
  slots_[at] = {static_cast<std::uint32_t>(++size_), hash};
  return size_ - 1;
}

/// So that with `size` label sets at least half of the slots are free.
void LabelSets::make_slots(std::size_t size) {
  constexpr std::size_t first_size = 64;
  constexpr std::uint64_t max_size = std::uint64_t{1} << 31;
  if (2 * size <= slots_.size()) return;
  if (size > max_size) throw std::length_error("too many series");
  LargeVector<Slot> larger(std::max(first_size, std::bit_ceil(2 * size)));
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
