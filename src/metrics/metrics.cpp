#include "metrics/metrics.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "dump/ruleset_hash.h"

namespace iptables_exporter {
namespace {

std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum < a ? std::numeric_limits<std::uint64_t>::max() : sum;
}

/// As iptables calls its backends in the header of a dump.
std::string_view variant_of(std::optional<Backend> backend) {
  if (!backend) return "";
  return *backend == Backend::nft ? "nf_tables" : "legacy";
}

void add(Series<Counters>& series, const std::string& labels, const Counters& counters) {
  Counters& sum = series[labels];
  sum.packets = saturating_sum(sum.packets, counters.packets);
  sum.bytes = saturating_sum(sum.bytes, counters.bytes);
}

/// Each metric has its name, its HELP and what its value is in one place here.
class MetricsBuilder {
 public:
  explicit MetricsBuilder(const RuleSeriesOptions& options) : options_(options) {
    counter("iptables_default_bytes_total", "Total bytes matching a chain's default policy.",
            policies_, &Counters::bytes);
    counter("iptables_default_packets_total", "Total packets matching a chain's default policy.",
            policies_, &Counters::packets);
    counter("iptables_rule_bytes_total", "Total bytes matching a rule.", rules_, &Counters::bytes);
    counter("iptables_rule_packets_total", "Total packets matching a rule.", rules_,
            &Counters::packets);
  }

  void add_collection(Collection& collection, std::string_view version) {
    const Source& source = collection.source;
    gauge("iptables_exporter_build_info", "Constant 1, with the version of the exporter.", source,
          {{"version", version}}) = 1;
    gauge("iptables_scrape_duration_seconds", "Duration of scraping iptables.", source) =
        collection.duration.count();
    gauge("iptables_scrape_success", "Whether scraping iptables succeeded.", source) =
        collection.ruleset ? 1 : 0;
    if (collection.last_success) {
      gauge(last_success_metric, "Unix time at which scraping iptables last succeeded.", source) =
          *collection.last_success;
    }
    for (const IpSet& set : collection.ip_sets) add_ip_set(set, source.netns);
    if (collection.ruleset) add_ruleset(*collection.ruleset, collection);
  }

  Metrics finish() {
    while (rules_->size() > max_rule_series()) rules_->pop_back();
    metrics_.rule_series = rules_->size();
    return std::move(metrics_);
  }

 private:
  /// Sets are of no family and no backend.
  void add_ip_set(const IpSet& set, const std::string& netns) {
    const auto add_gauge = [&](std::string_view name, std::string_view help, double value) {
      gauge(name, help, {{}, {}, netns}, {{"set", set.name}}) += value;
    };
    add_gauge("iptables_set_entries", "Number of entries of an ipset.", set.entries);
    if (set.max_entries) {
      add_gauge("iptables_set_max_entries", "Number of entries that an ipset can have.",
                *set.max_entries);
    }
    add_gauge("iptables_set_references", "Number of rules and sets that refer to an ipset.",
              set.references);
  }

  void add_ruleset(Ruleset& ruleset, const Collection& collection) {
    const Source& source = collection.source;
    if (!ruleset.version.empty()) {
      gauge("iptables_info", "Constant 1, with variant and version of iptables-save.", source,
            {{"variant", variant_of(ruleset.backend)}, {"version", ruleset.version}}) = 1;
    }
    const auto unshown = [&](std::string_view reason, const std::vector<std::string>& tables) {
      gauge("iptables_unshown_tables", "Number of tables that filter and are not counted here.",
            source, {{"reason", reason}}) = static_cast<double>(tables.size());
    };
    unshown("incompatible", ruleset.incompatible_tables);
    for (const auto& [backend, tables] : collection.unshown_tables) {
      unshown(name_of(backend), tables);
    }
    if (collection.legacy_read_protected) {
      gauge("iptables_legacy_reads_protected",
            "Whether a change of legacy tables while they were read would have been noticed.",
            source) = *collection.legacy_read_protected ? 1 : 0;
    }
    gauge("iptables_unreadable_rules", "Number of rules that iptables-save could not read whole.",
          source) = static_cast<double>(ruleset.unreadable_rules);
    const std::size_t omitted_before = omitted_rule_series();
    for (Table& table : ruleset.tables) add_table(table, source);
    metrics_.omitted_rule_series = omitted_rule_series();
    gauge("iptables_series_omitted", "Number of rule series left out by --max-series.", source) =
        static_cast<double>(metrics_.omitted_rule_series - omitted_before);
  }

  void add_table(Table& table, const Source& source) {
    const auto chains_of = [&](const std::vector<Selector>& selectors) {
      std::vector<Chain*> chains;
      for (Chain& chain : table.chains) {
        if (selects(selectors, {source, table, chain, {}}, Look::at_chain))
          chains.push_back(&chain);
      }
      return chains;
    };
    const std::vector<Chain*> chains = chains_of(options_.selectors);
    const std::vector<Chain*> hashed = options_.hash.empty() ? chains : chains_of(options_.hash);
    // A table without any chain has a hash too, unless chains were chosen.
    if (!hashed.empty() || (options_.hash.empty() && options_.selectors.empty())) {
      const auto covers = [&](const Chain& chain, const Rule& rule) {
        return selects(options_.hash, {source, table, chain, rule});
      };
      gauge("iptables_ruleset_hash", "Hash of a table's chains, policies and rules.", source,
            {{"table", table.name}}) +=
          static_cast<double>(ruleset_hash({hashed.begin(), hashed.end()}, covers));
    }
    for (Chain* chain : chains) add_chain(*chain, table, source);
  }

  void add_chain(Chain& chain, const Table& table, const Source& source) {
    gauge("iptables_rules", "Number of rules in a chain.", source,
          {{"chain", chain.name}, {"table", table.name}}) +=
        static_cast<double>(chain.rules.size());
    if (!chain.policy.empty()) {
      add(*policies_,
          label_text(source,
                     {{"chain", chain.name}, {"policy", chain.policy}, {"table", table.name}}),
          chain.counters);
    }
    std::string labels;
    for (Rule& rule : chain.rules) {
      const PlacedRule placed{source, table, chain, rule};
      if (!selects(options_.selectors, placed)) continue;
      labels.clear();
      for (const Label& label : options_.sum_by) {
        append_label(labels, label.name, label.value(placed));
      }
      add(*rules_, labels, rule.counters);
      std::string().swap(rule.text);  // which an assignment would not free
    }
    std::vector<Rule>().swap(chain.rules);
  }

  /// The value of one series, 0 if it is new.
  double& gauge(std::string_view name, std::string_view help, const Source& source,
                Labels labels = {}) {
    MetricFamily& family =
        metrics_.families.try_emplace(name, MetricFamily{help, {}}).first->second;
    return std::get<Gauge>(family.metric)[label_text(source, labels)];
  }

  void counter(std::string_view name, std::string_view help,
               const std::shared_ptr<Series<Counters>>& series, std::uint64_t Counters::*value) {
    metrics_.families.emplace(name, MetricFamily{help, Counter{series, value}});
  }

  std::size_t max_rule_series() const {
    return options_.max_series == 0 ? std::numeric_limits<std::size_t>::max() : options_.max_series;
  }
  std::size_t omitted_rule_series() const {
    return rules_->size() - std::min(rules_->size(), max_rule_series());
  }

  const RuleSeriesOptions& options_;
  std::shared_ptr<Series<Counters>> policies_ = std::make_shared<Series<Counters>>();
  std::shared_ptr<Series<Counters>> rules_ = std::make_shared<Series<Counters>>();
  Metrics metrics_;
};

}  // namespace

Metrics make_metrics(std::vector<Collection>& collections, const RuleSeriesOptions& options,
                     std::string_view version) {
  MetricsBuilder builder(options);
  for (Collection& collection : collections) builder.add_collection(collection, version);
  return builder.finish();
}

Metrics saved_metrics(Metrics metrics) {
  std::map<std::string_view, MetricFamily> all = std::move(metrics.families);
  Metrics saved;
  const auto take = [&](std::string_view from, std::string_view name, std::string_view help) {
    auto node = all.extract(from);
    if (!node) return;
    node.key() = name;
    node.mapped().help = help;
    saved.families.insert(std::move(node));
  };
  take("iptables_ruleset_hash", "iptables_saved_ruleset_hash",
       "Hash of a table's chains, policies and rules after a reboot.");
  take("iptables_rules", "iptables_saved_rules", "Number of rules in a chain after a reboot.");
  Gauge policies;
  for (const auto& policy :
       *std::get<Counter>(all.at("iptables_default_packets_total").metric).series) {
    policies[policy.first] = 1;
  }
  saved.families["iptables_saved_policy"] = {"Constant 1, with the policy after a reboot.",
                                             policies};
  return saved;
}

}  // namespace iptables_exporter
