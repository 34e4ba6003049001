#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "metrics/selector.h"
#include "metrics/series.h"
#include "model/ruleset.h"
#include "model/source.h"

namespace iptables_exporter {

/// Adds the counters to the series of these labels; sums stop at 2^64-1.
void add(Series<Counters>& series, const std::string& labels, const Counters& counters);

/// The rule series of one source, made while its rules are read, and the hashes of its chains. Of
/// the selectors, matchers on labels of chains decide about the series of chains too. The hash
/// covers the rules that `hash` selects; without selectors there, the chains that have series.
class RuleSeries : public RuleSink {
 public:
  /// All of these must outlive it.
  RuleSeries(const Source& source, const RuleSeriesOptions& options,
             const std::vector<Selector>& hash)
      : source_(source), options_(options), hash_(hash) {}

  void begin() override;
  void add(const Table& table, Chain& chain, const Rule& rule) override;

  /// Whether a chain has series, and whether the hash covers it. A table without any chain has a
  /// hash too, unless chains were chosen.
  bool shows(const Table& table, const Chain& chain) const;
  bool hashes(const Table& table, const Chain& chain) const;
  bool hashes_all() const { return options_.selectors.empty() && hash_.empty(); }

  std::size_t max_series() const { return options_.max_series; }

  /// In order of first appearance.
  Series<Counters> take() { return std::move(series_); }

 private:
  const Source& source_;
  const RuleSeriesOptions& options_;
  const std::vector<Selector>& hash_;
  Series<Counters> series_;
  std::string labels_;  // of the rule
  // The chain of the last rule, and what is known of it.
  const Chain* chain_ = nullptr;
  bool is_shown_ = false;
  bool is_hashed_ = false;
};

}  // namespace iptables_exporter
