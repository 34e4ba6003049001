#include "metrics/exposition.h"

#include <doctest/doctest.h>

#include <array>
#include <ostream>
#include <string>

namespace iptables_exporter {
namespace {

MetricFamily family_with(std::string_view label_value, std::uint64_t value) {
  auto series = std::make_shared<LabelSets>(std::vector<std::string_view>{"l"});
  series->find_or_add(std::array{label_value});
  return {"m_total", "A help.", MetricType::counter, series, LargeVector<std::uint64_t>{value}};
}

std::string rendered(const Metrics& metrics) {
  std::string text;
  render(metrics, [&](std::string_view piece) { text += piece; });
  return text;
}

}  // namespace

TEST_CASE("label values are escaped as the text format wants it, and no further") {
  struct Row {
    std::string_view value;
    std::string_view printed;
  };
  using namespace std::string_view_literals;
  const Row rows[] = {
      {"", ""},
      {"plain", "plain"},
      {"\"quoted\" \\ \n", R"(\"quoted\" \\ \n)"},
      {R"(\n)", R"(\\n)"},
      {"\t\r\x01\x7f\u00fc", "\t\r\x01\x7f\u00fc"},
      {"a\0b"sv, "a\0b"sv},
  };
  for (const Row& row : rows) {
    Metrics metrics;
    metrics.families.push_back(family_with(row.value, 1));
    CHECK(rendered(metrics) == "# HELP m_total A help.\n# TYPE m_total counter\nm_total{l=\"" +
                                   std::string(row.printed) + "\"} 1\n");
  }
}

TEST_CASE("bytes are escaped wherever they stand, and their neighbours are not") {
  // A pair of bytes at every place, among them pairs that differ in the lowest bit.
  const std::string bytes = "\"#\\]\n\x0b!a\x80";
  for (const char first : bytes) {
    for (const char second : bytes) {
      for (std::size_t at = 0; at < 20; ++at) {
        const std::string value = std::string(at, 'x') + first + second + "end";
        std::string printed;
        for (const char byte : value) {
          if (byte == '"' || byte == '\\' || byte == '\n') printed += '\\';
          printed += byte == '\n' ? 'n' : byte;
        }
        Metrics metrics;
        metrics.families.push_back(family_with(value, 1));
        CHECK(rendered(metrics).ends_with("{l=\"" + printed + "\"} 1\n"));
      }
    }
  }
}

TEST_CASE("values") {
  Metrics metrics;
  metrics.families.push_back(family_with("x", 18446744073709551615U));
  CHECK(rendered(metrics).ends_with("} 18446744073709551615\n"));

  auto series = std::make_shared<LabelSets>(std::vector<std::string_view>{});
  series->find_or_add({});
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
    metrics.families = {{"m", "h", MetricType::gauge, series, LargeVector<double>{row.value}}};
    CHECK(rendered(metrics) == "# HELP m h\n# TYPE m gauge\nm " + std::string(row.printed) + "\n");
  }
}

TEST_CASE("large output comes in bounded pieces") {
  auto series = std::make_shared<LabelSets>(std::vector<std::string_view>{"l"});
  std::vector<std::string> texts;
  for (int i = 0; i < 20'000; ++i) texts.push_back(std::to_string(i));
  for (const std::string& text : texts) series->find_or_add(std::array{std::string_view(text)});
  Metrics metrics;
  metrics.families = {{"m", "h", MetricType::gauge, series, LargeVector<double>(20'000)}};
  std::size_t pieces = 0;
  std::size_t largest = 0;
  render(metrics, [&](std::string_view piece) {
    ++pieces;
    largest = std::max(largest, piece.size());
  });
  CHECK(pieces > 2);
  CHECK(largest < 70'000);
}

}  // namespace iptables_exporter
