#include "metrics.h"

#include <doctest/doctest.h>

#include <ostream>
#include <string>

#include "exposition.h"
#include "save_parser.h"

namespace iptables_exporter {
namespace {

Collection collection_of(std::string_view dump) {
  SaveParser parser;
  parser.feed(dump);
  Collection collection;
  collection.ruleset = parser.finish();
  return collection;
}

/// The lines of one family's series, without its name.
std::string series_of(const std::vector<Collection>& collections, const std::string& family) {
  std::string all;
  render(make_metrics(collections, "1.2.3"), [&](std::string_view piece) { all += piece; });
  std::string series;
  for (std::size_t at = all.find("\n" + family); at != std::string::npos;
       at = all.find("\n" + family, at + 1)) {
    const std::size_t begin = at + 1 + family.size();
    if (all[begin] == '{' || all[begin] == ' ') {
      series += all.substr(begin, all.find('\n', begin) + 1 - begin);
    }
  }
  return series;
}

std::vector<Collection> one(Collection collection) {
  std::vector<Collection> collections;
  collections.push_back(std::move(collection));
  return collections;
}

}  // namespace

TEST_CASE("the metrics of a ruleset, in its order") {
  const auto collections = one(collection_of(
      "*nat\n:OUTPUT ACCEPT [1:2]\n:mine - [0:0]\n[3:4] -A OUTPUT -j mine\n[5:6] -A mine\nCOMMIT\n"
      "*filter\n:INPUT DROP [7:8]\nCOMMIT\n"));
  CHECK(series_of(collections, "iptables_default_packets_total") ==
        "{chain=\"OUTPUT\",policy=\"ACCEPT\",table=\"nat\"} 1\n"
        "{chain=\"INPUT\",policy=\"DROP\",table=\"filter\"} 7\n");
  CHECK(series_of(collections, "iptables_default_bytes_total") ==
        "{chain=\"OUTPUT\",policy=\"ACCEPT\",table=\"nat\"} 2\n"
        "{chain=\"INPUT\",policy=\"DROP\",table=\"filter\"} 8\n");
  CHECK(series_of(collections, "iptables_rule_packets_total") ==
        "{chain=\"OUTPUT\",rule=\"-j mine\",table=\"nat\"} 3\n"
        "{chain=\"mine\",rule=\"\",table=\"nat\"} 5\n");
  CHECK(series_of(collections, "iptables_rule_bytes_total") ==
        "{chain=\"OUTPUT\",rule=\"-j mine\",table=\"nat\"} 4\n"
        "{chain=\"mine\",rule=\"\",table=\"nat\"} 6\n");
  CHECK(series_of(collections, "iptables_rules") ==
        "{chain=\"OUTPUT\",table=\"nat\"} 1\n{chain=\"mine\",table=\"nat\"} 1\n"
        "{chain=\"INPUT\",table=\"filter\"} 0\n");
  CHECK(series_of(collections, "iptables_scrape_success") == " 1\n");
  CHECK(series_of(collections, "iptables_exporter_build_info") == "{version=\"1.2.3\"} 1\n");
}

TEST_CASE("equal labels are one series, and sums stop at 2^64-1") {
  const auto collections = one(collection_of(
      "*f\n:I ACCEPT [0:0]\n:a\x80 - [0:0]\n:a\x81 - [0:0]\n"
      "[1:10] -A I -j X\n[9:9] -A I -j Y\n[2:20] -A I -j X\n"
      "[3:1] -A I --comment \"\xff\"\n[4:1] -A I --comment \"\xfe\"\n"
      "[18446744073709551615:18446744073709551614] -A I -j Z\n[1:1] -A I -j Z\n[1:1] -A I -j Z\n"
      "[5:0] -A a\x80 -j X\n[6:0] -A a\x81 -j X\nCOMMIT\n"));
  CHECK(series_of(collections, "iptables_rule_packets_total") ==
        "{chain=\"I\",rule=\"-j X\",table=\"f\"} 3\n"
        "{chain=\"I\",rule=\"-j Y\",table=\"f\"} 9\n"
        "{chain=\"I\",rule=\"--comment \\\"\uFFFD\\\"\",table=\"f\"} 7\n"
        "{chain=\"I\",rule=\"-j Z\",table=\"f\"} 18446744073709551615\n"
        "{chain=\"a\uFFFD\",rule=\"-j X\",table=\"f\"} 11\n");
  CHECK(series_of(collections, "iptables_rule_bytes_total")
            .find("-j Z\",table=\"f\"} 18446744073709551615\n") != std::string::npos);
  CHECK(series_of(collections, "iptables_rules") ==
        "{chain=\"I\",table=\"f\"} 8\n{chain=\"a\uFFFD\",table=\"f\"} 2\n");
}

TEST_CASE("a failed source shows its health and nothing else") {
  Collection failed;
  failed.error = "because";
  failed.duration = std::chrono::duration<double>(0.25);
  failed.last_success = 1700000000.5;
  std::string all;
  render(make_metrics(one(std::move(failed)), "1.2.3"),
         [&](std::string_view piece) { all += piece; });
  CHECK(
      all ==
      "# HELP iptables_exporter_build_info iptables_exporter: Constant 1, with the version of the "
      "exporter.\n"
      "# TYPE iptables_exporter_build_info gauge\n"
      "iptables_exporter_build_info{version=\"1.2.3\"} 1\n"
      "# HELP iptables_last_success_timestamp_seconds iptables_exporter: Unix time at which "
      "scraping iptables last succeeded.\n"
      "# TYPE iptables_last_success_timestamp_seconds gauge\n"
      "iptables_last_success_timestamp_seconds 1700000000.5\n"
      "# HELP iptables_scrape_duration_seconds iptables_exporter: Duration of scraping iptables.\n"
      "# TYPE iptables_scrape_duration_seconds gauge\n"
      "iptables_scrape_duration_seconds 0.25\n"
      "# HELP iptables_scrape_success iptables_exporter: Whether scraping iptables succeeded.\n"
      "# TYPE iptables_scrape_success gauge\n"
      "iptables_scrape_success 0\n");
  CHECK(series_of(one(Collection{}), "iptables_last_success_timestamp_seconds") == "");
}

}  // namespace iptables_exporter
