#include "metrics/exposition.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <iterator>
#include <string>

#include "metrics/metrics.h"

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
  const auto begin = [&](std::string_view name, std::string_view help, std::string_view type) {
    fmt::format_to(out, "# HELP {0} iptables_exporter: {1}\n# TYPE {0} {2}\n", name, help, type);
  };
  for (const auto& [name, metric] : metrics.by_name) {
    if (!metric.gauge.empty()) begin(name, metric.help, "gauge");
    for (const auto& [labels, value] : metric.gauge) add(name, labels, value);
    for (const std::string_view unit : {"bytes", "packets"}) {
      if (metric.counters.empty()) break;
      const std::string counter = fmt::format("{}_{}_total", name, unit);
      begin(counter, fmt::format(fmt::runtime(metric.help), unit), "counter");
      for (const Series<Counters>& series : metric.counters) {
        for (const auto& [labels, value] : series) {
          add(counter, labels, unit == "bytes" ? value.bytes : value.packets);
        }
      }
    }
  }
  write(text);
}

}  // namespace iptables_exporter
