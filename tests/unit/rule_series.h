#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/expressions.h"
#include "metrics/selector.h"

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
  for (const Label& label : labels) {
    if (label.is_of_source() && find_label(options.sum_by, label.name) == nullptr) {
      options.sum_by.push_back(label);
    }
  }
  std::sort(options.sum_by.begin(), options.sum_by.end(),
            [](const Label& a, const Label& b) { return a.name < b.name; });
  return options;
}

}  // namespace iptables_exporter
