#include "metrics/exposition.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <ostream>
#include <string>

namespace iptables_exporter {
namespace {

std::string rendered(const Metrics& metrics) {
  std::string text;
  render(metrics, [&](std::string_view piece) { text += piece; });
  return text;
}

Metrics gauge_of(const Gauge& series) {
  Metrics metrics;
  metrics.families.emplace("m", MetricFamily{"A help.", series});
  return metrics;
}

}  // namespace

TEST_CASE("families come by name, each with HELP and TYPE, and series in their order") {
  auto counters = std::make_shared<Series<Counters>>();
  (*counters)[R"(l="z\"")"] = {18446744073709551615U, 2};
  (*counters)[R"(l="a")"] = {0, 10};
  Metrics metrics;
  metrics.families.emplace("p_total", MetricFamily{"P.", Counter{counters, &Counters::packets}});
  metrics.families.emplace("b_total", MetricFamily{"B.", Counter{counters, &Counters::bytes}});
  metrics.families.emplace("c", MetricFamily{"C.", Gauge{{"", 1}}});
  metrics.families.emplace("a", MetricFamily{"Without series it is not written.", Gauge{}});
  metrics.families.emplace(
      "n_total", MetricFamily{"Nor is this.",
                              Counter{std::make_shared<Series<Counters>>(), &Counters::bytes}});
  CHECK(rendered(metrics) ==
        "# HELP b_total iptables_exporter: B.\n"
        "# TYPE b_total counter\n"
        "b_total{l=\"z\\\"\"} 2\n"
        "b_total{l=\"a\"} 10\n"
        "# HELP c iptables_exporter: C.\n"
        "# TYPE c gauge\n"
        "c 1\n"
        "# HELP p_total iptables_exporter: P.\n"
        "# TYPE p_total counter\n"
        "p_total{l=\"z\\\"\"} 18446744073709551615\n"
        "p_total{l=\"a\"} 0\n");
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
  Gauge series;
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
