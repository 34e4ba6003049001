#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dump/dump_parser.h"
#include "metrics/exposition.h"
#include "metrics/metrics.h"
#include "metrics/rule_series.h"
#include "model/collection.h"

namespace iptables_exporter {

/// A rule and where it stands, kept.
struct KeptRule {
  std::string table;
  std::string chain;
  std::string text;
  Counters counters;
};

class KeptRules : public RuleSink {
 public:
  void begin() override { rules.clear(); }
  void add(const Table& table, Chain& chain, const Rule& rule) override {
    rules.push_back({table.name, chain.name, std::string(rule.text), rule.counters});
  }

  std::vector<KeptRule> rules;
};

/// Feeds the dump in pieces of `piece` bytes. Throws ParseError.
inline Ruleset parse(std::string_view dump, std::size_t piece, RuleSink& sink) {
  DumpParser parser(sink);
  for (std::string_view rest = dump; !rest.empty();) {
    const std::string_view head = rest.substr(0, piece);
    parser.feed(head);
    parser.feed({});
    rest.remove_prefix(head.size());
  }
  return parser.finish();
}

/// A collection and the dump that it was read from.
struct Dumped : Collection {
  std::string dump = {};
  std::size_t piece = std::string_view::npos;
  std::vector<KeptRule> rules = {};
};

/// Throws ParseError.
inline Dumped dumped(std::string_view dump, std::size_t piece = std::string_view::npos) {
  Dumped all;
  KeptRules kept;
  all.ruleset = parse(dump, piece, kept);
  all.dump = dump;
  all.piece = piece;
  all.rules = std::move(kept.rules);
  return all;
}

/// The metrics of these, each read again; those without a ruleset failed.
inline Metrics metrics_of(const std::vector<Dumped>& all, const RuleSeriesOptions& options,
                          const std::vector<Selector>& hash = {},
                          std::string_view version = "1.2.3") {
  std::vector<Collection> collections;
  std::vector<RuleSeries> rules;
  rules.reserve(all.size());
  for (const Dumped& one : all) {
    collections.push_back(one);
    RuleSeries& series = rules.emplace_back(one.source, options, hash);
    if (one.ruleset) collections.back().ruleset = parse(one.dump, one.piece, series);
  }
  return make_metrics(collections, rules, version);
}

inline std::string page_of(const std::vector<Dumped>& all, const RuleSeriesOptions& options,
                           const std::vector<Selector>& hash = {},
                           std::string_view version = "1.2.3") {
  std::string page;
  render(metrics_of(all, options, hash, version), [&](std::string_view piece) { page += piece; });
  return page;
}

}  // namespace iptables_exporter
