#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "collection.h"
#include "label_sets.h"

namespace iptables_exporter {

enum class MetricType { counter, gauge };

struct MetricFamily {
  std::string_view name;
  std::string_view help;
  MetricType type;
  std::shared_ptr<const LabelSets> series;  // families with equal series share them
  std::variant<std::vector<std::uint64_t>, std::vector<double>> values;  // one per series
};

struct Metrics {
  std::vector<MetricFamily> families;  // by name; one without series has nothing to show
  std::deque<std::string> text;        // label values that are not part of a dump
};

/// The metrics of all sources. Either every source names its family or none does; so with the
/// backend. Views point into `collections` and `version`, which must outlive what is returned.
///
/// Series whose labels are equal are one series with the sum, which stops at 2^64-1.
Metrics make_metrics(const std::vector<Collection>& collections, std::string_view version);

}  // namespace iptables_exporter
