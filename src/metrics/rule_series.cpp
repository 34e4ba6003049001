#include "metrics/rule_series.h"

#include <limits>

#include "dump/ruleset_hash.h"

namespace iptables_exporter {
namespace {

std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum < a ? std::numeric_limits<std::uint64_t>::max() : sum;
}

}  // namespace

void add(Series<Counters>& series, const std::string& labels, const Counters& counters) {
  Counters& sum = series[labels];
  sum.packets = saturating_sum(sum.packets, counters.packets);
  sum.bytes = saturating_sum(sum.bytes, counters.bytes);
}

void RuleSeries::begin() {
  series_ = {};
  chain_ = nullptr;
}

void RuleSeries::add(const Table& table, Chain& chain, const Rule& rule) {
  if (chain_ != &chain) {
    chain_ = &chain;
    is_shown_ = shows(table, chain);
    is_hashed_ = hashes(table, chain);
  }
  const PlacedRule placed{source_, table, chain, rule};
  if (is_hashed_ && selects(hash_, placed)) chain.hash = hash_with_rule(chain.hash, rule.text);
  if (!is_shown_ || !selects(options_.selectors, placed)) return;
  labels_.clear();
  for (const Label& label : options_.sum_by) {
    append_label(labels_, label.name, label.value(placed));
  }
  iptables_exporter::add(series_, labels_, rule.counters);
}

bool RuleSeries::shows(const Table& table, const Chain& chain) const {
  return selects(options_.selectors, {source_, table, chain, {}}, Look::at_chain);
}

bool RuleSeries::hashes(const Table& table, const Chain& chain) const {
  if (hash_.empty()) return shows(table, chain);
  return selects(hash_, {source_, table, chain, {}}, Look::at_chain);
}

}  // namespace iptables_exporter
