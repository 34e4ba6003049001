#pragma once

#include <tsl/ordered_map.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/random.h"
#include "metrics/labels.h"
#include "metrics/selector.h"
#include "model/collection.h"
#include "model/ruleset.h"

namespace iptables_exporter {

/// Also read back from the file of an earlier run.
inline constexpr std::string_view last_success_metric = "iptables_last_success_timestamp_seconds";

/// Which rule series there are, and what the ruleset hash covers.
struct RuleSeriesOptions {
  std::vector<Selector> selectors;  // a rule is kept if any selects it; none: all rules
  std::vector<Label> sum_by;        // by name
  std::vector<Selector> hash;       // which rules the ruleset hash covers; none: see make_metrics()
  std::size_t max_series = 0;       // over all sources; 0: no limit
};

/// Series by their label text, `chain="INPUT",rule="-j \"x\"",table="filter"`, in order of first
/// appearance.
template <typename Value>
using Series = tsl::ordered_map<std::string, Value, SeededHash, std::equal_to<>>;

using Gauge = Series<double>;

/// Packets or bytes; the two have their series in common.
struct Counter {
  std::shared_ptr<Series<Counters>> series;
  std::uint64_t Counters::*value;
};

struct MetricFamily {
  std::string_view help;
  std::variant<Gauge, Counter> metric;
};

/// Everything that is written.
struct Metrics {
  std::map<std::string_view, MetricFamily> families;  // by name; one without series is not written
  std::size_t rule_series = 0;
  std::size_t omitted_rule_series = 0;
};

/// The metrics of all sources; takes their rulesets apart to save memory. Either every source names
/// its family or none does; so with the backend.
///
/// Series whose labels are equal are one series with the sum, which stops at 2^64-1. Of the
/// selectors, matchers on labels of chains decide about the series of chains too, and without
/// `hash` about what the ruleset hash covers.
Metrics make_metrics(std::vector<Collection>& collections, const RuleSeriesOptions& options,
                     std::string_view version);

/// Of these, what is known of a firewall that is saved and does not run: hashes, numbers of rules,
/// and policies, under names of their own.
Metrics saved_metrics(Metrics metrics);

}  // namespace iptables_exporter
