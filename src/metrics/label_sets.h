#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/large_memory.h"

namespace iptables_exporter {

/// The label sets of a metric family: distinct, in order of first appearance, each with a value
/// for every name. Names and values are views of text that outlives this.
class LabelSets {
 public:
  /// `names` are distinct and in the order in which values are given and printed.
  explicit LabelSets(std::vector<std::string_view> names) : names_(std::move(names)) {}

  const std::vector<std::string_view>& names() const { return names_; }
  std::size_t size() const { return size_; }

  /// The values of the label set at `index`, in the order of names().
  std::span<const std::string_view> values(std::size_t index) const {
    return std::span(values_).subspan(index * names_.size(), names_.size());
  }

  /// Makes room for this many label sets, so that nothing is copied as they grow. Throws
  /// std::length_error past 2^31.
  void reserve(std::size_t size);

  /// The hash of `values`. Starts to fetch what find_or_add() will read into the cache: if other
  /// work is done between the two, that need not wait for memory.
  std::uint32_t prepare(std::span<const std::string_view> values) const;

  /// Index of the label set with these values, which is size() - 1 if it was not there before.
  /// `hash` is prepare(values).
  std::size_t find_or_add(std::span<const std::string_view> values, std::uint32_t hash);
  std::size_t find_or_add(std::span<const std::string_view> values) {
    return find_or_add(values, prepare(values));
  }

 private:
  struct Slot {
    std::uint32_t index_plus_one = 0;  // 0: the slot is free
    std::uint32_t hash = 0;
  };

  std::size_t first_slot(std::uint32_t hash) const { return hash & (slots_.size() - 1); }
  void make_slots(std::size_t size);

  std::vector<std::string_view> names_;
  LargeVector<std::string_view> values_;  // names_.size() per label set
  std::size_t size_ = 0;
  LargeVector<Slot> slots_;  // open addressing, linear probing; a power of two, or none
};

}  // namespace iptables_exporter
