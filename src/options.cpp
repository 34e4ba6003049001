#include "options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cxxopts.hpp>
#include <string_view>

#include "base/printable.h"

namespace iptables_exporter {
namespace {

cxxopts::Options command_line() {
  cxxopts::Options options("iptables_exporter",
                           "iptables packet and byte counters in the Prometheus text format\n");
  options.custom_help("[OPTION]...").set_width(80);
  const auto takes = [&](const char* short_name, const char* name, const char* value_name,
                         const char* description) {
    options.add_option("", short_name, name, description, cxxopts::value<std::string>(),
                       value_name);
  };
  const auto flag = [&](const char* short_name, const char* name, const char* description) {
    options.add_option("", short_name, name, description, cxxopts::value<bool>(), "");
  };
  takes("o", "output", "FILE", "Write atomically to FILE, *.prom (default: stdout)");
  takes("i", "input", "FILE",
        "Parse a dump of iptables-save -c; - is stdin (default: run the command)");
  takes("f", "family", "LIST", "ipv4, ipv6 or both; adds a label (default: ipv4, no label)");
  takes("b", "backend", "LIST",
        "legacy, nft or both; adds a label (default: that of iptables-save, no label)");
  takes("s", "select", "SELECTOR",
        "Only rules that a PromQL selector matches, as {table=\"filter\",chain!~\"KUBE-.*\"}; "
        "given more than once, any of them");
  takes("", "sum-by", "LABELS",
        "One series for each value of these labels: table, chain, rule, comment, target, those of "
        "--label (default: table,chain,rule)");
  takes("", "label", "NAME=REGEX", "A label of your own: the first group of REGEX in the rule");
  takes("", "max-series", "N", "At most N rule series (default: 0, no limit)");
  takes("", "timeout", "SECONDS", "Give up on iptables-save after this long (default: 10)");
  flag("", "allow-empty", "No tables at all are a success");
  flag("h", "help", "Print this help");
  flag("V", "version", "Print the version");
  return options;
}

constexpr std::string_view exit_statuses =
    "\n"
    "Exit status: 0 all collected and written; 1 collecting failed, which the metrics\n"
    "written say; 2 wrong usage; 3 the output could not be written.\n";

/// cxxopts quotes in UTF-8; messages are ASCII.
std::string with_plain_quotes(std::string text) {
  for (const std::string_view quote : {"\u2018", "\u2019"}) {
    for (std::size_t at = text.find(quote); at != std::string::npos; at = text.find(quote)) {
      text.replace(at, quote.size(), "'");
    }
  }
  return text;
}

/// The value of a single-value option, if it was given.
std::optional<std::string> value_of(const cxxopts::ParseResult& result, const std::string& name) {
  if (result.count(name) == 0) return std::nullopt;
  if (result.count(name) > 1) throw UsageError(fmt::format("--{} is given twice", name));
  std::string value = result[name].as<std::string>();
  if (value.empty()) throw UsageError(fmt::format("--{} needs a value", name));
  if (value.size() > 1 && value.front() == '-') {
    throw UsageError(fmt::format("--{} needs a value, not {}", name, value));
  }
  return value;
}

std::chrono::duration<double> seconds_of(std::string_view text) {
  constexpr double max_seconds = 86400;
  double seconds = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), text_end, seconds);
  // Written so that NaN fails too.
  if (error != std::errc() || end != text_end || !(seconds > 0 && seconds <= max_seconds)) {
    throw UsageError(fmt::format("--timeout needs a number of seconds above 0 and up to {}, not {}",
                                 max_seconds, text));
  }
  return std::chrono::duration<double>(seconds);
}

/// The values that a comma-separated list names; without the option, one that was not asked for.
template <typename Value>
std::vector<std::optional<Value>> list_of(const cxxopts::ParseResult& result,
                                          const std::string& option, Value first, Value second) {
  const std::optional<std::string> text = value_of(result, option);
  if (!text) return {std::nullopt};
  std::vector<std::optional<Value>> values;
  for (std::size_t begin = 0; begin <= text->size();) {
    const std::size_t end = std::min(text->find(',', begin), text->size());
    const std::string_view name = std::string_view(*text).substr(begin, end - begin);
    if (name != name_of(first) && name != name_of(second)) {
      throw UsageError(fmt::format("--{} is a list of {} and {}, not {}", option, name_of(first),
                                   name_of(second), *text));
    }
    const Value value = name == name_of(first) ? first : second;
    if (std::find(values.begin(), values.end(), value) != values.end()) {
      throw UsageError(fmt::format("--{} names {} twice", option, name));
    }
    values.emplace_back(value);
    begin = end + 1;
  }
  return values;
}

std::vector<Source> sources_of(const cxxopts::ParseResult& result) {
  std::vector<Source> sources;
  const auto backends = list_of(result, "backend", Backend::legacy, Backend::nft);
  for (const auto family : list_of(result, "family", Family::ipv4, Family::ipv6)) {
    for (const auto backend : backends) sources.push_back({family, backend});
  }
  return sources;
}

std::size_t number_of(std::string_view option, std::string_view text) {
  std::size_t number = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), text_end, number);
  if (error != std::errc() || end != text_end) {
    throw UsageError(fmt::format("--{} needs a whole number, not {}", option, text));
  }
  return number;
}

/// What `parse` makes of an option's value; what is wrong with it is shown with a caret.
template <typename Parse>
auto parse_expression(std::string_view option, const std::string& text, const Parse& parse) {
  try {
    return parse(text);
  } catch (const ExpressionError& error) {
    const std::string before = printable(std::string_view(text).substr(0, error.position()));
    throw UsageError(fmt::format("--{}: {}", option, error.what()),
                     {printable(text), fmt::format("{:{}}^", "", before.size())});
  }
}

RuleSeriesOptions rule_series_of(const cxxopts::ParseResult& result) {
  const bool has_family = result.count("family") > 0;
  const bool has_backend = result.count("backend") > 0;
  // In the order given, and whole: cxxopts splits values of vectors at commas.
  const auto values_of = [&](std::string_view option) {
    std::vector<std::string> values;
    for (const auto& argument : result.arguments()) {
      if (argument.key() == option) values.push_back(argument.value());
    }
    return values;
  };

  RuleSeriesOptions options;
  for (const std::string& text : values_of("label")) {
    const LabelNames taken(has_family, has_backend, options.labels);
    options.labels.push_back(parse_expression(
        "label", text, [&](std::string_view label) { return parse_label(label, taken); }));
  }
  const LabelNames names(has_family, has_backend, options.labels);
  for (const std::string& text : values_of("select")) {
    options.selectors.push_back(parse_expression("select", text, [&](std::string_view selector) {
      return parse_selector(selector, names);
    }));
  }
  const std::vector<std::string> sum_by = values_of("sum-by");
  if (sum_by.size() > 1) throw UsageError("--sum-by is given twice");
  if (!sum_by.empty()) {
    options.sum_by = parse_expression("sum-by", sum_by.front(), [&](std::string_view labels) {
      return parse_sum_by(labels, names);
    });
  }
  if (const auto text = value_of(result, "max-series")) {
    options.max_series = number_of("max-series", *text);
  }
  return options;
}

}  // namespace

Options parse_options(int argc, const char* const* argv) {
  cxxopts::Options definition = command_line();
  const cxxopts::ParseResult result = [&] {
    try {
      return definition.parse(argc, argv);
    } catch (const cxxopts::exceptions::exception& error) {
      throw UsageError(with_plain_quotes(error.what()));
    }
  }();

  for (const auto& argument : result.arguments()) {
    const bool is_flag =
        argument.key() == "help" || argument.key() == "version" || argument.key() == "allow-empty";
    if (is_flag && argument.value() != "true") {
      throw UsageError(fmt::format("--{} takes no value", argument.key()));
    }
  }

  Options options;
  if (result.count("help") > 0) {
    options.text_to_print = definition.help() + std::string(exit_statuses);
    return options;
  }
  if (result.count("version") > 0) {
    options.text_to_print = fmt::format("iptables_exporter {}\n", VERSION);
    return options;
  }
  if (!result.unmatched().empty()) {
    throw UsageError(fmt::format("unexpected argument {}", result.unmatched().front()));
  }
  options.output = value_of(result, "output");
  if (options.output && !options.output->ends_with(".prom")) {
    throw UsageError(fmt::format("--output {} must end in .prom, or node_exporter does not read it",
                                 *options.output));
  }
  options.input = value_of(result, "input");
  options.sources = sources_of(result);
  if (options.input && options.sources.size() > 1) {
    throw UsageError("--input is one dump: name at most one --family and one --backend for it");
  }
  options.rule_series = rule_series_of(result);
  if (const auto timeout = value_of(result, "timeout")) options.timeout = seconds_of(*timeout);
  options.allow_empty = result.count("allow-empty") > 0;
  return options;
}

}  // namespace iptables_exporter
