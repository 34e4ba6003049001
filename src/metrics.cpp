#include "metrics.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "last_success.h"
#include "ruleset_hash.h"
#include "utf8.h"

namespace iptables_exporter {
namespace {

std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum < a ? std::numeric_limits<std::uint64_t>::max() : sum;
}

/// One label set to be filled in, the source's labels already in place.
class Labels {
 public:
  Labels(std::vector<std::string_view> names, const Source& source) : names_(std::move(names)) {
    if (source.family) names_.emplace_back("family");
    if (source.backend) names_.emplace_back("backend");
    std::sort(names_.begin(), names_.end());
    values_.resize(names_.size());
    if (source.family) (*this)["family"] = name_of(*source.family);
    if (source.backend) (*this)["backend"] = name_of(*source.backend);
  }

  const std::vector<std::string_view>& names() const { return names_; }
  const std::vector<std::string_view>& values() const { return values_; }

  /// The value of a label that is in names().
  std::string_view& operator[](std::string_view name) {
    const auto found = std::lower_bound(names_.begin(), names_.end(), name);
    return values_[static_cast<std::size_t>(found - names_.begin())];
  }

 private:
  std::vector<std::string_view> names_;  // in alphabetical order
  std::vector<std::string_view> values_;
};

/// The series of a pair of families, one for packets and one for bytes.
class CounterSeries {
 public:
  void add(const Labels& labels, const Counters& counters) {
    if (!series_) series_ = std::make_shared<LabelSets>(labels.names());
    const std::size_t index = series_->find_or_add(labels.values());
    if (index == packets_.size()) {
      packets_.push_back(counters.packets);
      bytes_.push_back(counters.bytes);
    } else {
      packets_[index] = saturating_sum(packets_[index], counters.packets);
      bytes_[index] = saturating_sum(bytes_[index], counters.bytes);
    }
  }

  /// Moves the series into two families; this is then empty.
  void move_to(std::vector<MetricFamily>& families, std::string_view bytes_name,
               std::string_view bytes_help, std::string_view packets_name,
               std::string_view packets_help) {
    if (!series_) return;
    families.push_back({bytes_name, bytes_help, MetricType::counter, series_, std::move(bytes_)});
    families.push_back(
        {packets_name, packets_help, MetricType::counter, std::move(series_), std::move(packets_)});
  }

 private:
  std::shared_ptr<LabelSets> series_;
  std::vector<std::uint64_t> packets_;
  std::vector<std::uint64_t> bytes_;
};

class GaugeSeries {
 public:
  void add(const Labels& labels, double value) {
    if (!series_) series_ = std::make_shared<LabelSets>(labels.names());
    const std::size_t index = series_->find_or_add(labels.values());
    if (index == values_.size()) {
      values_.push_back(value);
    } else {
      values_[index] += value;
    }
  }

  /// Moves the series into a family; this is then empty.
  void move_to(std::vector<MetricFamily>& families, std::string_view name, std::string_view help) {
    if (!series_) return;
    families.push_back({name, help, MetricType::gauge, std::move(series_), std::move(values_)});
  }

 private:
  std::shared_ptr<LabelSets> series_;
  std::vector<double> values_;
};

class MetricsBuilder {
 public:
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
    for (const Table& table : ruleset.tables) add_table(table, source);
  }

  void add_table(const Table& table, const Source& source) {
    Labels default_labels({"chain", "policy", "table"}, source);
    Labels count_labels({"chain", "table"}, source);
    Labels rule_labels({"chain", "rule", "table"}, source);
    Labels table_labels({"table"}, source);
    std::string_view& rule_text = rule_labels["rule"];
    default_labels["table"] = count_labels["table"] = rule_labels["table"] = table_labels["table"] =
        label_value(table.name);
    ruleset_hash_.add(table_labels,
                      static_cast<double>(ruleset_hash(table, [](const Chain&) { return true; })));
    for (const Chain& chain : table.chains) {
      default_labels["chain"] = count_labels["chain"] = rule_labels["chain"] =
          label_value(chain.name);
      if (!chain.policy.empty()) {
        default_labels["policy"] = chain.policy;
        defaults_.add(default_labels, chain.counters);
      }
      rule_counts_.add(count_labels, static_cast<double>(chain.rules.size()));
      for (const Rule& rule : chain.rules) {
        rule_text = label_value(rule.text);
        rules_.add(rule_labels, rule.counters);
      }
    }
  }

  /// `bytes` itself if it is valid UTF-8, else what it becomes, kept with the metrics.
  std::string_view label_value(std::string_view bytes) {
    return is_valid_utf8(bytes) ? bytes : metrics_.text.emplace_back(to_valid_utf8(bytes));
  }

  Metrics metrics_;
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
};

}  // namespace

Metrics make_metrics(const std::vector<Collection>& collections, std::string_view version) {
  MetricsBuilder builder;
  for (const Collection& collection : collections) builder.add(collection, version);
  return builder.finish();
}

}  // namespace iptables_exporter
