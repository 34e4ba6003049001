#include "metrics/metrics.h"

#include <optional>
#include <utility>

#include "dump/ruleset_hash.h"
#include "metrics/exposition.h"
#include "metrics/rule_series.h"
#include "model/collection.h"

namespace iptables_exporter {
namespace {

/// As iptables calls its backends in the header of a dump.
std::string_view variant_of(std::optional<Backend> backend) {
  if (!backend) return "";
  return *backend == Backend::nft ? "nf_tables" : "legacy";
}

/// Each metric has its name, its HELP and what its value is in one place here.
class MetricsBuilder {
 public:
  void add_collection(const Collection& collection, RuleSeries& rules, std::string_view version) {
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
    if (collection.ruleset) add_ruleset(*collection.ruleset, collection, rules);
  }

  Metrics finish() { return std::move(metrics_); }

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

  void add_ruleset(const Ruleset& ruleset, const Collection& collection, RuleSeries& rules) {
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
    if (collection.dormant_tables) {
      gauge("iptables_dormant_tables", "Number of tables that are switched off.", source) =
          static_cast<double>(collection.dormant_tables->size());
    }
    if (collection.legacy_read_protected) {
      gauge("iptables_legacy_reads_protected",
            "Whether a change of legacy tables while they were read would have been noticed.",
            source) = *collection.legacy_read_protected ? 1 : 0;
    }
    gauge("iptables_unreadable_rules", "Number of rules that iptables-save could not read whole.",
          source) = static_cast<double>(ruleset.unreadable_rules);
    Series<Counters> policies;
    for (const Table& table : ruleset.tables) add_table(table, source, rules, policies);
    if (!policies.empty()) policies_.push_back(std::move(policies));
    add_rules(rules.take(), source, rules.max_series());
  }

  void add_rules(Series<Counters> series, const Source& source, std::size_t max_series) {
    std::size_t omitted = 0;
    for (; max_series > 0 && series.size() > max_series; ++omitted) series.pop_back();
    gauge("iptables_series_omitted", "Number of rule series left out by --max-series.", source) =
        static_cast<double>(omitted);
    metrics_.omitted_rule_series += omitted;
    metrics_.rule_series += series.size();
    if (!series.empty()) rules_.push_back(std::move(series));
  }

  void add_table(const Table& table, const Source& source, const RuleSeries& rules,
                 Series<Counters>& policies) {
    std::vector<const Chain*> hashed;
    for (const Chain& chain : table.chains) {
      if (rules.hashes(table, chain)) hashed.push_back(&chain);
      if (!rules.shows(table, chain)) continue;
      gauge("iptables_rules", "Number of rules in a chain.", source,
            {{"chain", chain.name}, {"table", table.name}}) += static_cast<double>(chain.rules);
      if (chain.policy.empty()) continue;
      add(policies,
          label_text(source,
                     {{"chain", chain.name}, {"policy", chain.policy}, {"table", table.name}}),
          chain.counters);
    }
    if (hashed.empty() && !rules.hashes_all()) return;
    gauge("iptables_ruleset_hash", "Hash of a table's chains, policies and rules.", source,
          {{"table", table.name}}) += static_cast<double>(ruleset_hash(std::move(hashed)));
  }

  /// The value of one series, 0 if it is new.
  double& gauge(std::string_view name, std::string_view help, const Source& source,
                LabelValues labels = {}) {
    return metrics_.by_name.try_emplace(name, Metric{help})
        .first->second.gauge[label_text(source, labels)];
  }

  Metrics metrics_;
  std::vector<Series<Counters>>& policies_ =
      metrics_.by_name
          .emplace("iptables_default", Metric{"Total {} matching a chain's default policy."})
          .first->second.counters;
  std::vector<Series<Counters>>& rules_ =
      metrics_.by_name.emplace("iptables_rule", Metric{"Total {} matching a rule."})
          .first->second.counters;
};

}  // namespace

Metrics make_metrics(const std::vector<Collection>& collections, std::vector<RuleSeries>& rules,
                     std::string_view version) {
  MetricsBuilder builder;
  for (std::size_t i = 0; i < collections.size(); ++i) {
    builder.add_collection(collections[i], rules[i], version);
  }
  return builder.finish();
}

Metrics saved_metrics(Metrics metrics) {
  std::map<std::string_view, Metric> all = std::move(metrics.by_name);
  Metrics saved;
  const auto take = [&](std::string_view from, std::string_view name, std::string_view help) {
    auto node = all.extract(from);
    if (!node) return;
    node.key() = name;
    node.mapped().help = help;
    saved.by_name.insert(std::move(node));
  };
  take("iptables_ruleset_hash", "iptables_saved_ruleset_hash",
       "Hash of a table's chains, policies and rules after a reboot.");
  take("iptables_rules", "iptables_saved_rules", "Number of rules in a chain after a reboot.");
  Metric policies{"Constant 1, with the policy after a reboot."};
  for (const Series<Counters>& series : all.at("iptables_default").counters) {
    for (const auto& policy : series) policies.gauge[policy.first] = 1;
  }
  saved.by_name.emplace("iptables_saved_policy", std::move(policies));
  return saved;
}

}  // namespace iptables_exporter
