#include <doctest/doctest.h>

#include <ostream>
#include <string>

#include "pages.h"
#include "rule_series.h"

namespace iptables_exporter {

TEST_CASE("of a saved firewall, what a reboot restores and nothing of a running one") {
  Dumped saved =
      dumped("*filter\n:INPUT DROP [1:2]\n:mine - [0:0]\n[3:4] -A INPUT -j mine\nCOMMIT\n");
  saved.source = {Family::ipv4, Backend::nft};
  saved.last_success = 1;
  RuleSeriesOptions options = rule_series(ready_labels(saved.source));
  options.max_series = 1;
  std::string page;
  render(saved_metrics(metrics_of({saved}, options)),
         [&](std::string_view piece) { page += piece; });
  const std::string hash = page.substr(page.rfind(' '));
  CHECK(page ==
        "# HELP iptables_saved_policy iptables_exporter: Constant 1, with the policy after a "
        "reboot.\n"
        "# TYPE iptables_saved_policy gauge\n"
        "iptables_saved_policy{backend=\"nft\",chain=\"INPUT\",family=\"ipv4\",policy=\"DROP\","
        "table=\"filter\"} 1\n"
        "# HELP iptables_saved_rules iptables_exporter: Number of rules in a chain after a "
        "reboot.\n"
        "# TYPE iptables_saved_rules gauge\n"
        "iptables_saved_rules{backend=\"nft\",chain=\"INPUT\",family=\"ipv4\",table=\"filter\"} 1\n"
        "iptables_saved_rules{backend=\"nft\",chain=\"mine\",family=\"ipv4\",table=\"filter\"} 0\n"
        "# HELP iptables_saved_ruleset_hash iptables_exporter: Hash of a table's chains, policies "
        "and rules after a reboot.\n"
        "# TYPE iptables_saved_ruleset_hash gauge\n"
        "iptables_saved_ruleset_hash{backend=\"nft\",family=\"ipv4\",table=\"filter\"}" +
            hash);
}

TEST_CASE("of nothing that is saved there is no line") {
  std::string page;
  render(saved_metrics(metrics_of({dumped("")}, rule_series(ready_labels({})))),
         [&](std::string_view piece) { page += piece; });
  CHECK(page.empty());
}

}  // namespace iptables_exporter
