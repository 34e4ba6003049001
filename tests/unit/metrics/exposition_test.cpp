#include "metrics/exposition.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "metrics/metrics.h"

namespace iptables_exporter {
namespace {

std::string rendered(const Metrics& metrics) {
  std::string text;
  render(metrics, [&](std::string_view piece) { text += piece; });
  return text;
}

Metrics gauge_of(const Series<double>& series) {
  Metrics metrics;
  metrics.by_name.emplace("m", Metric{"A help.", series});
  return metrics;
}

}  // namespace

TEST_CASE("metrics come by name, each with HELP and TYPE, and series in their order") {
  Metrics metrics;
  Series<Counters> one;
  one[R"(l="z\"")"] = {18446744073709551615U, 2};
  Series<Counters> other;
  other[R"(l="a")"] = {0, 10};
  metrics.by_name.emplace("b", Metric{"B, {}.", {}, {one, other}});
  metrics.by_name.emplace("c", Metric{"C.", {{"", 1}}});
  metrics.by_name.emplace("a", Metric{"Without series it is not written."});
  CHECK(rendered(metrics) ==
        "# HELP b_bytes_total iptables_exporter: B, bytes.\n"
        "# TYPE b_bytes_total counter\n"
        "b_bytes_total{l=\"z\\\"\"} 2\n"
        "b_bytes_total{l=\"a\"} 10\n"
        "# HELP b_packets_total iptables_exporter: B, packets.\n"
        "# TYPE b_packets_total counter\n"
        "b_packets_total{l=\"z\\\"\"} 18446744073709551615\n"
        "b_packets_total{l=\"a\"} 0\n"
        "# HELP c iptables_exporter: C.\n"
        "# TYPE c gauge\n"
        "c 1\n");
  CHECK(rendered({}) == "");
}

TEST_CASE("values of gauges") {
  struct Row {
    double value;
    std::string_view printed;
  };
  for (const Row& row : {Row{0, "0"},
                         {1, "1"},
                         {0.0015, "0.0015"},
                         {281474976710655, "281474976710655"},
                         {1700000000.25, "1700000000.25"},
                         {1e-7, "1e-07"}}) {
    CHECK(rendered(gauge_of({{"", row.value}})) ==
          "# HELP m iptables_exporter: A help.\n# TYPE m gauge\nm " + std::string(row.printed) +
              "\n");
  }
}

TEST_CASE("large output comes in bounded pieces, which are the whole") {
  Series<double> series;
  std::string expected = "# HELP m iptables_exporter: A help.\n# TYPE m gauge\n";
  for (int i = 0; i < 20'000; ++i) {
    const std::string labels = "l=\"" + std::to_string(i) + "\"";
    series[labels] = i;
    expected += "m{" + labels + "} " + std::to_string(i) + "\n";
  }
  std::string text;
  std::size_t pieces = 0;
  std::size_t largest = 0;
  render(gauge_of(series), [&](std::string_view piece) {
    ++pieces;
    largest = std::max(largest, piece.size());
    text += piece;
  });
  CHECK(pieces > 2);
  CHECK(largest < 70'000);
  CHECK(text == expected);
}

}  // namespace iptables_exporter
