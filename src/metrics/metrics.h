#pragma once

#include <cstddef>
#include <map>
#include <string_view>
#include <vector>

#include "metrics/series.h"
#include "model/counters.h"

namespace iptables_exporter {

struct Collection;
class RuleSeries;

/// A gauge NAME, or two counters NAME_bytes_total and NAME_packets_total that have their series in
/// common. One without series is not written.
struct Metric {
  std::string_view help;  // of counters with {} for the unit
  Series<double> gauge = {};
  std::vector<Series<Counters>> counters = {};  // of each source
};

/// Everything that is written.
struct Metrics {
  std::map<std::string_view, Metric> by_name;
  std::size_t rule_series = 0;
  std::size_t omitted_rule_series = 0;
};

/// The metrics of all sources; takes the series of their rules. Either every source names its
/// family or none does; so with the backend. Series whose labels are equal are one series with the
/// sum.
Metrics make_metrics(const std::vector<Collection>& collections, std::vector<RuleSeries>& rules,
                     std::string_view version);

/// Of these, what is known of a firewall that is saved and does not run: hashes, numbers of rules,
/// and policies, under names of their own.
Metrics saved_metrics(Metrics metrics);

}  // namespace iptables_exporter
