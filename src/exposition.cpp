#include "exposition.h"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <span>

namespace iptables_exporter {
namespace {

constexpr std::size_t piece_bytes = 64 << 10;

void append(fmt::memory_buffer& out, std::string_view text) {
  out.append(text.data(), text.data() + text.size());
}

void append_label_value(fmt::memory_buffer& out, std::string_view value) {
  std::size_t copied = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char byte = value[i];
    if (byte != '\\' && byte != '"' && byte != '\n') continue;
    append(out, value.substr(copied, i - copied));
    out.push_back('\\');
    out.push_back(byte == '\n' ? 'n' : byte);
    copied = i + 1;
  }
  append(out, value.substr(copied));
}

void append_labels(fmt::memory_buffer& out, const LabelSets& series, std::size_t index) {
  if (series.names().empty()) return;
  const std::span<const std::string_view> values = series.values(index);
  char separator = '{';
  for (std::size_t i = 0; i < values.size(); ++i) {
    out.push_back(separator);
    append(out, series.names()[i]);
    append(out, "=\"");
    append_label_value(out, values[i]);
    out.push_back('"');
    separator = ',';
  }
  out.push_back('}');
}

template <typename Value>
void render_family(const MetricFamily& family, const std::vector<Value>& values,
                   fmt::memory_buffer& out, const std::function<void(std::string_view)>& write) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", family.name, family.help,
                 family.name, family.type == MetricType::counter ? "counter" : "gauge");
  for (std::size_t i = 0; i < values.size(); ++i) {
    append(out, family.name);
    append_labels(out, *family.series, i);
    fmt::format_to(std::back_inserter(out), " {}\n", values[i]);
    if (out.size() >= piece_bytes) {
      write({out.data(), out.size()});
      out.clear();
    }
  }
}

}  // namespace

void render(const Metrics& metrics, const std::function<void(std::string_view)>& write) {
  fmt::memory_buffer out;
  for (const MetricFamily& family : metrics.families) {
    std::visit([&](const auto& values) { render_family(family, values, out, write); },
               family.values);
  }
  write({out.data(), out.size()});
}

}  // namespace iptables_exporter
