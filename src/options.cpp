#include "options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cxxopts.hpp>
#include <string_view>

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
  if (const auto timeout = value_of(result, "timeout")) options.timeout = seconds_of(*timeout);
  options.allow_empty = result["allow-empty"].as<bool>();
  return options;
}

}  // namespace iptables_exporter
