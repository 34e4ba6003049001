#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/expressions.h"
#include "metrics/metrics.h"

namespace iptables_exporter {

/// What --sum-by, --select and the names of the sources come to.
inline RuleSeriesOptions rule_series(const std::vector<Label>& labels,
                                     const std::vector<std::string>& selectors = {},
                                     std::string_view sum_by = "table,chain,rule") {
  RuleSeriesOptions options;
  for (const std::string& text : selectors) {
    options.selectors.push_back(parse_selector(text, labels));
  }
  options.sum_by = parse_sum_by(sum_by, labels);
  for (const std::string_view name : {"family", "backend"}) {
    const Label* const label = find_label(labels, name);
    if (label != nullptr && find_label(options.sum_by, name) == nullptr) {
      options.sum_by.push_back(*label);
    }
  }
  std::sort(options.sum_by.begin(), options.sum_by.end(),
            [](const Label& a, const Label& b) { return a.name < b.name; });
  return options;
}

}  // namespace iptables_exporter
