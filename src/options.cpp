#include "options.h"

#include <fmt/format.h>

#include <charconv>
#include <cxxopts.hpp>
#include <string_view>

namespace iptables_exporter {
namespace {

cxxopts::Options command_line() {
  cxxopts::Options options("iptables_exporter",
                           "iptables packet and byte counters in the Prometheus text format\n");
  options.custom_help("[OPTION]...").set_width(80);
  options.add_options()("o,output",
                        "Write atomically to FILE, which ends in .prom (default: stdout)",
                        cxxopts::value<std::string>(), "FILE")(
      "i,input", "Parse a dump of iptables-save -c; - is stdin (default: run the command)",
      cxxopts::value<std::string>(), "FILE")(
      "timeout", "Give up on iptables-save after this long (default: 10)",
      cxxopts::value<std::string>(), "SECONDS")("allow-empty", "Let no tables at all be a success")(
      "h,help", "Print this help")("V,version", "Print the version");
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
  if (const auto timeout = value_of(result, "timeout")) options.timeout = seconds_of(*timeout);
  options.allow_empty = result["allow-empty"].as<bool>();
  return options;
}

}  // namespace iptables_exporter
