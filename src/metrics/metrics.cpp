#include "metrics/metrics.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "dump/ruleset_hash.h"
#include "metrics/chain_selection.h"
#include "metrics/series.h"
#include "output/last_success.h"

namespace iptables_exporter {
namespace {

/// The labels that rules are summed by, filled in for one rule after the other.
class SummedLabels {
 public:
  SummedLabels(const RuleSeriesOptions& options, const Source& source)
      : labels_(names_of(options), source) {
    for (const std::size_t id : options.sum_by) {
      if (is_of_source(id)) continue;
      auto& slots = is_of_chain(id) ? chain_slots_ : rule_slots_;
      slots.emplace_back(id, &labels_[name_of(id, options)]);
    }
  }
  SummedLabels(const SummedLabels&) = delete;
  SummedLabels& operator=(const SummedLabels&) = delete;

  void enter_chain(RuleLabels& values) { fill(chain_slots_, values); }
  void enter_rule(RuleLabels& values) { fill(rule_slots_, values); }
  const Labels& labels() const { return labels_; }

 private:
  using Slots = std::vector<std::pair<std::size_t, std::string_view*>>;

  /// Every series has these anyway.
  static bool is_of_source(std::size_t id) {
    return id == LabelId::family || id == LabelId::backend;
  }
  static std::string_view name_of(std::size_t id, const RuleSeriesOptions& options) {
    return id < LabelId::first_custom ? fixed_label_names[id]
                                      : options.labels[id - LabelId::first_custom].name;
  }
  static std::vector<std::string_view> names_of(const RuleSeriesOptions& options) {
    std::vector<std::string_view> names;
    for (const std::size_t id : options.sum_by) {
      if (!is_of_source(id)) names.push_back(name_of(id, options));
    }
    return names;
  }
  static void fill(const Slots& slots, RuleLabels& values) {
    for (const auto& [id, value] : slots) *value = values[id];
  }

  Labels labels_;
  Slots chain_slots_;
  Slots rule_slots_;
};

class MetricsBuilder {
 public:
  explicit MetricsBuilder(const RuleSeriesOptions& options)
      : options_(options), rule_labels_(options.labels, metrics_.text) {}

  void add(const Collection& collection, std::string_view version) {
    const Source& source = collection.source;
    Labels build({"version"}, source);
    build["version"] = version;
    build_info_.add(build, 1);
    const Labels plain({}, source);
    if (collection.last_success) last_success_.add(plain, *collection.last_success);
    duration_.add(plain, collection.duration.count());
    success_.add(plain, collection.ruleset ? 1 : 0);
    if (collection.ruleset) add_ruleset(*collection.ruleset, collection);
  }

  Metrics finish() {
    std::vector<MetricFamily>& families = metrics_.families;
    defaults_.move_to(families, "iptables_default_bytes_total",
                      "iptables_exporter: Total bytes matching a chain's default policy.",
                      "iptables_default_packets_total",
                      "iptables_exporter: Total packets matching a chain's default policy.");
    build_info_.move_to(families, "iptables_exporter_build_info",
                        "iptables_exporter: Constant 1, with the version of the exporter.");
    hidden_legacy_tables_.move_to(
        families, "iptables_hidden_legacy_tables",
        "iptables_exporter: Whether there are legacy tables that are not shown.");
    incompatible_tables_.move_to(
        families, "iptables_incompatible_tables",
        "iptables_exporter: Number of tables that iptables-save cannot show, or not whole.");
    info_.move_to(families, "iptables_info",
                  "iptables_exporter: Constant 1, with variant and version of iptables-save.");
    last_success_.move_to(
        families, last_success_metric,
        "iptables_exporter: Unix time at which scraping iptables last succeeded.");
    if (options_.max_series > 0) {
      metrics_.omitted_series = omitted_between(0, rules_.size());
      rules_.truncate(options_.max_series);
    }
    rules_.move_to(families, "iptables_rule_bytes_total",
                   "iptables_exporter: Total bytes matching a rule.", "iptables_rule_packets_total",
                   "iptables_exporter: Total packets matching a rule.");
    rule_counts_.move_to(families, "iptables_rules",
                         "iptables_exporter: Number of rules in a chain.");
    ruleset_hash_.move_to(families, "iptables_ruleset_hash",
                          "iptables_exporter: Hash of a table's chains, policies and rules.");
    duration_.move_to(families, "iptables_scrape_duration_seconds",
                      "iptables_exporter: Duration of scraping iptables.");
    success_.move_to(families, "iptables_scrape_success",
                     "iptables_exporter: Whether scraping iptables succeeded.");
    series_omitted_.move_to(families, "iptables_series_omitted",
                            "iptables_exporter: Number of rule series left out by --max-series.");
    return std::move(metrics_);
  }

 private:
  void add_ruleset(const Ruleset& ruleset, const Collection& collection) {
    const Source& source = collection.source;
    if (!ruleset.version.empty()) {
      Labels info({"variant", "version"}, source);
      info["variant"] = label_value(ruleset.variant);
      info["version"] = label_value(ruleset.version);
      info_.add(info, 1);
    }
    const Labels plain({}, source);
    incompatible_tables_.add(plain, static_cast<double>(ruleset.incompatible_tables.size()));
    if (collection.hidden_legacy_tables) {
      hidden_legacy_tables_.add(plain, *collection.hidden_legacy_tables ? 1 : 0);
    }
    const std::size_t series_before = rules_.size();
    SummedLabels summed(options_, source);
    if (is_series_per_rule()) rules_.reserve(summed.labels(), number_of_rules(ruleset));
    rule_labels_.enter(source);
    for (const Table& table : ruleset.tables) add_table(table, source, summed);
    series_omitted_.add(plain, static_cast<double>(omitted_between(series_before, rules_.size())));
  }

  void add_table(const Table& table, const Source& source, SummedLabels& summed) {
    Labels default_labels({"chain", "policy", "table"}, source);
    Labels count_labels({"chain", "table"}, source);
    Labels table_labels({"table"}, source);
    rule_labels_.enter(table);
    const std::string_view table_name = rule_labels_[LabelId::table];
    default_labels["table"] = count_labels["table"] = table_labels["table"] = table_name;

    std::vector<const Chain*> kept_chains;
    for (const Chain& chain : table.chains) {
      rule_labels_.enter(chain);
      const ChainSelection selection(options_.selectors, rule_labels_);
      if (!selection.keeps_chain()) continue;
      kept_chains.push_back(&chain);
      default_labels["chain"] = count_labels["chain"] = rule_labels_[LabelId::chain];
      if (!chain.policy.empty()) {
        default_labels["policy"] = chain.policy;
        defaults_.add(default_labels, chain.counters);
      }
      rule_counts_.add(count_labels, static_cast<double>(chain.rules.size()));
      add_rules(chain, selection, summed);
    }
    if (options_.selectors.empty() || !kept_chains.empty()) {
      ruleset_hash_.add(table_labels, static_cast<double>(ruleset_hash(std::move(kept_chains))));
    }
  }

  void add_rules(const Chain& chain, const ChainSelection& selection, SummedLabels& summed) {
    summed.enter_chain(rule_labels_);
    // Values of rules that make no series of their own are of no use.
    std::size_t used_text = metrics_.text.size();
    std::size_t series_before = rules_.size();
    const auto drop_unused_text = [&] {
      if (rules_.size() == series_before) metrics_.text.resize(used_text);
      used_text = metrics_.text.size();
      series_before = rules_.size();
    };
    for (const Rule& rule : chain.rules) {
      const std::size_t text_before = metrics_.text.size();
      rule_labels_.enter(rule);
      if (!selection.keeps_rule()) {
        metrics_.text.resize(text_before);
        continue;
      }
      summed.enter_rule(rule_labels_);
      if (rules_.add_soon(summed.labels(), rule.counters)) drop_unused_text();
    }
    rules_.settle();
    drop_unused_text();
  }

  /// Whether, but for equal rules, each makes a series of its own.
  bool is_series_per_rule() const {
    const std::vector<std::size_t>& sum_by = options_.sum_by;
    return options_.selectors.empty() &&
           std::find(sum_by.begin(), sum_by.end(), LabelId::rule) != sum_by.end();
  }

  static std::size_t number_of_rules(const Ruleset& ruleset) {
    std::size_t rules = 0;
    for (const Table& table : ruleset.tables) {
      for (const Chain& chain : table.chains) rules += chain.rules.size();
    }
    return rules;
  }

  /// How many of the series with these indices are past the limit.
  std::size_t omitted_between(std::size_t begin, std::size_t end) const {
    if (options_.max_series == 0) return 0;
    return std::max(end, options_.max_series) - std::max(begin, options_.max_series);
  }

  /// `bytes` itself if it is valid UTF-8, else what it becomes, kept with the metrics.
  std::string_view label_value(std::string_view bytes) {
    return is_valid_utf8(bytes) ? bytes : metrics_.text.emplace_back(to_valid_utf8(bytes));
  }

  const RuleSeriesOptions& options_;
  Metrics metrics_;
  RuleLabels rule_labels_;
  CounterSeries defaults_;
  GaugeSeries build_info_;
  GaugeSeries hidden_legacy_tables_;
  GaugeSeries incompatible_tables_;
  GaugeSeries info_;
  GaugeSeries last_success_;
  CounterSeries rules_;
  GaugeSeries rule_counts_;
  GaugeSeries ruleset_hash_;
  GaugeSeries duration_;
  GaugeSeries success_;
  GaugeSeries series_omitted_;
};

}  // namespace

Metrics make_metrics(const std::vector<Collection>& collections, const RuleSeriesOptions& options,
                     std::string_view version) {
  MetricsBuilder builder(options);
  for (const Collection& collection : collections) builder.add(collection, version);
  return builder.finish();
}

}  // namespace iptables_exporter
