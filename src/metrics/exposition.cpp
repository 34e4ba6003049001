#include "metrics/exposition.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <variant>

namespace iptables_exporter {
namespace {

constexpr std::size_t piece_bytes = 64 << 10;

class Renderer {
 public:
  explicit Renderer(const std::function<void(std::string_view)>& write) : write_(write) {
    text_.reserve(piece_bytes + piece_bytes / 4);  // the last line may pass the limit
  }

  void family(std::string_view name, std::string_view help, const Gauge& gauge) {
    family(name, help, "gauge", gauge, [](double value) { return value; });
  }
  void family(std::string_view name, std::string_view help, const Counter& counter) {
    family(name, help, "counter", *counter.series,
           [&](const Counters& counters) { return counters.*counter.value; });
  }
  void finish() { write_(text_); }

 private:
  template <typename Value, typename Number>
  void family(std::string_view name, std::string_view help, std::string_view type,
              const Series<Value>& series, const Number& number_of) {
    if (series.empty()) return;
    const auto out = std::back_inserter(text_);
    fmt::format_to(out, "# HELP {} iptables_exporter: {}\n# TYPE {} {}\n", name, help, name, type);
    for (const auto& [labels, value] : series) {
      text_ += name;
      if (!labels.empty()) text_.append("{").append(labels).append("}");
      fmt::format_to(out, FMT_COMPILE(" {}\n"), number_of(value));
      if (text_.size() < piece_bytes) continue;
      write_(text_);
      text_.clear();
    }
  }

  const std::function<void(std::string_view)>& write_;
  std::string text_;
};

}  // namespace

void render(const Metrics& metrics, const std::function<void(std::string_view)>& write) {
  Renderer renderer(write);
  for (const auto& [name, family] : metrics.families) {
    std::visit([&, name = name,
                help = family.help](const auto& metric) { renderer.family(name, help, metric); },
               family.metric);
  }
  renderer.finish();
}

}  // namespace iptables_exporter
