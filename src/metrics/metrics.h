#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/large_memory.h"
#include "metrics/label_sets.h"
#include "metrics/selector.h"
#include "model/collection.h"

namespace iptables_exporter {

/// Which rule series there are.
struct RuleSeriesOptions {
  std::vector<CustomLabel> labels;
  std::vector<Selector> selectors;  // a rule is kept if any selects it; none: all rules
  std::vector<std::size_t> sum_by = {LabelId::table, LabelId::chain, LabelId::rule};
  std::size_t max_series = 0;  // over all sources; 0: no limit
};

enum class MetricType { counter, gauge };

struct MetricFamily {
  std::string_view name;
  std::string_view help;
  MetricType type;
  std::shared_ptr<const LabelSets> series;  // families with equal series share them
  std::variant<LargeVector<std::uint64_t>, LargeVector<double>> values;  // one per series
};

struct Metrics {
  std::vector<MetricFamily> families;  // by name; one without series has nothing to show
  std::deque<std::string> text;        // label values that are not part of a dump
  std::size_t omitted_series = 0;      // rule series left out because of max_series
};

/// The metrics of all sources. Either every source names its family or none does; so with the
/// backend. Views point into all arguments, which must outlive what is returned.
///
/// Series whose labels are equal are one series with the sum, which stops at 2^64-1. Of the
/// selectors, matchers on family, backend, table and chain decide about the series of chains too,
/// and about what the ruleset hash covers.
Metrics make_metrics(const std::vector<Collection>& collections, const RuleSeriesOptions& options,
                     std::string_view version);

}  // namespace iptables_exporter
