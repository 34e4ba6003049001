#include "metrics/exposition.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <variant>

namespace iptables_exporter {

void render(const Metrics& metrics, const std::function<void(std::string_view)>& write) {
  constexpr std::size_t piece_bytes = 64 << 10;
  std::string text;
  text.reserve(piece_bytes + piece_bytes / 4);  // the last line may pass the limit
  const auto out = std::back_inserter(text);
  const auto add = [&](std::string_view name, const std::string& labels, auto number) {
    text += name;
    if (!labels.empty()) text.append("{").append(labels).append("}");
    fmt::format_to(out, FMT_COMPILE(" {}\n"), number);
    if (text.size() < piece_bytes) return;
    write(text);
    text.clear();
  };
  for (const auto& [name, family] : metrics.families) {
    const auto* const gauge = std::get_if<Gauge>(&family.metric);
    const auto* const counter = std::get_if<Counter>(&family.metric);
    if (gauge != nullptr ? gauge->empty() : counter->series->empty()) continue;
    fmt::format_to(out, "# HELP {0} iptables_exporter: {1}\n# TYPE {0} {2}\n", name, family.help,
                   gauge != nullptr ? "gauge" : "counter");
    if (gauge != nullptr) {
      for (const auto& [labels, value] : *gauge) add(name, labels, value);
    } else {
      for (const auto& [labels, value] : *counter->series) {
        add(name, labels, value.*counter->value);
      }
    }
  }
  write(text);
}

}  // namespace iptables_exporter
