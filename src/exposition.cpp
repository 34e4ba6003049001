#include "exposition.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>

namespace iptables_exporter {
namespace {

constexpr std::size_t piece_bytes = 64 << 10;

bool must_be_escaped(char byte) { return byte == '\\' || byte == '"' || byte == '\n'; }

/// Whether one of the eight bytes of `word` is `byte`.
bool has_byte(std::uint64_t word, char byte) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  constexpr std::uint64_t high_bits = 0x8080808080808080;
  const std::uint64_t difference = word ^ (ones * static_cast<unsigned char>(byte));
  return ((difference - ones) & ~difference & high_bits) != 0;  // one of its bytes is zero
}

/// How many bytes may be copied as they are. By eight bytes at a time, for here and in copying is
/// where most of a run is spent.
std::size_t plain_prefix(std::string_view value) {
  std::size_t i = 0;
  for (std::uint64_t word = 0; i + sizeof word <= value.size(); i += sizeof word) {
    std::memcpy(&word, value.data() + i, sizeof word);
    if (has_byte(word, '\\') || has_byte(word, '"') || has_byte(word, '\n')) break;
  }
  while (i < value.size() && !must_be_escaped(value[i])) ++i;
  return i;
}

void append_label_value(std::string& out, std::string_view value) {
  for (;;) {
    const std::size_t plain = plain_prefix(value);
    out.append(value, 0, plain);
    if (plain == value.size()) return;
    out.push_back('\\');
    out.push_back(value[plain] == '\n' ? 'n' : value[plain]);
    value.remove_prefix(plain + 1);
  }
}

void append_labels(std::string& out, const LabelSets& series, std::size_t index) {
  if (series.names().empty()) return;
  const std::span<const std::string_view> values = series.values(index);
  char separator = '{';
  for (std::size_t i = 0; i < values.size(); ++i) {
    out.push_back(separator);
    out.append(series.names()[i]);
    out.append("=\"");
    append_label_value(out, values[i]);
    out.push_back('"');
    separator = ',';
  }
  out.push_back('}');
}

void append_number(std::string& out, std::uint64_t number) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

void append_number(std::string& out, double number) {
  fmt::format_to(std::back_inserter(out), "{}", number);
}

template <typename Value>
void render_family(const MetricFamily& family, const std::vector<Value>& values, std::string& out,
                   const std::function<void(std::string_view)>& write) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", family.name, family.help,
                 family.name, family.type == MetricType::counter ? "counter" : "gauge");
  for (std::size_t i = 0; i < values.size(); ++i) {
    out.append(family.name);
    append_labels(out, *family.series, i);
    out.push_back(' ');
    append_number(out, values[i]);
    out.push_back('\n');
    if (out.size() >= piece_bytes) {
      write(out);
      out.clear();
    }
  }
}

}  // namespace

void render(const Metrics& metrics, const std::function<void(std::string_view)>& write) {
  std::string out;
  for (const MetricFamily& family : metrics.families) {
    std::visit([&](const auto& values) { render_family(family, values, out, write); },
               family.values);
  }
  write(out);
}

}  // namespace iptables_exporter
