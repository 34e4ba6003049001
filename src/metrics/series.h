#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/large_memory.h"
#include "metrics/label_sets.h"
#include "metrics/metrics.h"
#include "model/ruleset.h"
#include "model/source.h"

namespace iptables_exporter {

/// One label set to be filled in, the source's labels already in place.
class Labels {
 public:
  Labels(std::vector<std::string_view> names, const Source& source);

  const std::vector<std::string_view>& names() const { return names_; }
  const std::vector<std::string_view>& values() const { return values_; }

  /// The value of a label that is in names(); the reference holds as long as this.
  std::string_view& operator[](std::string_view name);

 private:
  std::vector<std::string_view> names_;  // in alphabetical order
  std::vector<std::string_view> values_;
};

/// The series of a pair of families, one for packets and one for bytes.
class CounterSeries {
 public:
  /// Makes room for this many more series with the names of `labels`.
  void reserve(const Labels& labels, std::size_t more);

  /// Adds to the series with these labels, to 2^64-1 at most.
  void add(const Labels& labels, const Counters& counters);

  /// The same, but some are kept back to be added together, which spares waiting for memory. The
  /// views in `labels` must hold until then. True if nothing is kept back now; before all else but
  /// add_soon(), settle() sees to that.
  bool add_soon(const Labels& labels, const Counters& counters);
  void settle();

  std::size_t size() const { return packets_.size(); }

  /// Leaves out all but the first `size` series.
  void truncate(std::size_t size);

  /// Moves the series into two families; this is then empty.
  void move_to(std::vector<MetricFamily>& families, std::string_view bytes_name,
               std::string_view bytes_help, std::string_view packets_name,
               std::string_view packets_help);

 private:
  struct Pending {
    std::uint32_t hash;
    Counters counters;
  };

  void add_to(std::size_t index, const Counters& counters);

  std::shared_ptr<LabelSets> series_;
  std::vector<Pending> pending_;
  std::vector<std::string_view> pending_values_;  // those of the first, of the second and so on
  LargeVector<std::uint64_t> packets_;
  LargeVector<std::uint64_t> bytes_;
};

class GaugeSeries {
 public:
  /// Adds to the series with these labels.
  void add(const Labels& labels, double value);

  /// Moves the series into a family; this is then empty.
  void move_to(std::vector<MetricFamily>& families, std::string_view name, std::string_view help);

 private:
  std::shared_ptr<LabelSets> series_;
  LargeVector<double> values_;
};

}  // namespace iptables_exporter
