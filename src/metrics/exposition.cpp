#include "metrics/exposition.h"

#include <fmt/format.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace iptables_exporter {
namespace {

constexpr std::size_t piece_bytes = 64 << 10;

bool must_be_escaped(char byte) { return byte == '\\' || byte == '"' || byte == '\n'; }

/// The bytes of `word` that are `byte`, each marked by its highest bit; a byte behind one that is
/// may be marked without reason.
std::uint64_t marked(std::uint64_t word, char byte) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  constexpr std::uint64_t high_bits = 0x8080808080808080;
  const std::uint64_t difference = word ^ (ones * static_cast<unsigned char>(byte));
  return (difference - ones) & ~difference & high_bits;  // of the bytes that are zero
}

/// How many bytes may be copied as they are. By eight bytes at a time, for here and in copying is
/// where most of a run is spent.
std::size_t plain_prefix(std::string_view value) {
  std::size_t i = 0;
  for (std::uint64_t word = 0; i + sizeof word <= value.size(); i += sizeof word) {
    std::memcpy(&word, value.data() + i, sizeof word);
    const std::uint64_t escapes = marked(word, '\\') | marked(word, '"') | marked(word, '\n');
    if (escapes == 0) continue;
    if constexpr (std::endian::native != std::endian::little) break;
    return i + static_cast<std::size_t>(std::countr_zero(escapes)) / 8;
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

/// What stands before each label value of a family's series, and last what stands before the
/// number.
std::vector<std::string> fixed_parts(const MetricFamily& family) {
  std::vector<std::string> parts;
  std::string part(family.name);
  char separator = '{';
  for (const std::string_view name : family.series->names()) {
    part += fmt::format("{}{}=\"", separator, name);
    parts.push_back(std::move(part));
    part = '"';
    separator = ',';
  }
  parts.push_back(part + (parts.empty() ? " " : "} "));
  return parts;
}

void append_number(std::string& out, std::uint64_t number) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

void append_number(std::string& out, double number) {
  fmt::format_to(std::back_inserter(out), "{}", number);
}

template <typename Value>
void render_family(const MetricFamily& family, const LargeVector<Value>& values, std::string& out,
                   const std::function<void(std::string_view)>& write) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", family.name, family.help,
                 family.name, family.type == MetricType::counter ? "counter" : "gauge");
  const std::vector<std::string> parts = fixed_parts(family);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::span<const std::string_view> labels = family.series->values(i);
    for (std::size_t j = 0; j < labels.size(); ++j) {
      out.append(parts[j]);
      append_label_value(out, labels[j]);
    }
    out.append(parts.back());
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
  out.reserve(piece_bytes + piece_bytes / 4);  // the last line may pass the limit
  for (const MetricFamily& family : metrics.families) {
    std::visit([&](const auto& values) { render_family(family, values, out, write); },
               family.values);
  }
  write(out);
}

}  // namespace iptables_exporter
