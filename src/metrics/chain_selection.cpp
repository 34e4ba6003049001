#include "metrics/chain_selection.h"

#include <algorithm>

namespace iptables_exporter {
namespace {

bool is_on_chain(const Matcher& matcher) { return is_of_chain(matcher.label()); }

}  // namespace

ChainSelection::ChainSelection(const std::vector<Selector>& selectors, RuleLabels& labels)
    : labels_(labels), keeps_all_rules_(selectors.empty()) {
  for (const Selector& selector : selectors) {
    const bool is_candidate =
        std::all_of(selector.begin(), selector.end(), [&](const Matcher& matcher) {
          return !is_on_chain(matcher) || matcher.matches(labels_[matcher.label()]);
        });
    if (!is_candidate) continue;
    candidates_.push_back(&selector);
    keeps_all_rules_ =
        keeps_all_rules_ || std::all_of(selector.begin(), selector.end(), is_on_chain);
  }
}

bool ChainSelection::keeps_rule() const {
  if (keeps_all_rules_) return true;
  return std::any_of(candidates_.begin(), candidates_.end(), [&](const Selector* selector) {
    return std::all_of(selector->begin(), selector->end(), [&](const Matcher& matcher) {
      return is_on_chain(matcher) || matcher.matches(labels_[matcher.label()]);
    });
  });
}

}  // namespace iptables_exporter
