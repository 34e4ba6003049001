#pragma once

#include <vector>

#include "metrics/rule_labels.h"
#include "metrics/selector.h"

namespace iptables_exporter {

/// What the selectors have to say about one chain and its rules. Without selectors all are kept.
class ChainSelection {
 public:
  /// About the chain that `labels` are of. Both arguments must outlive this.
  ChainSelection(const std::vector<Selector>& selectors, RuleLabels& labels);

  bool keeps_chain() const { return keeps_all_rules_ || !candidates_.empty(); }

  /// About the rule of this chain that the labels are of by now.
  bool keeps_rule() const;

 private:
  RuleLabels& labels_;
  bool keeps_all_rules_;
  std::vector<const Selector*> candidates_;  // those whose matchers on chains match
};

}  // namespace iptables_exporter
