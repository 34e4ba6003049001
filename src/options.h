#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "metrics.h"
#include "source.h"

namespace iptables_exporter {

/// The command line asks for something that cannot be. what() says in one line what to do.
class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const std::string& message, std::string illustration = "")
      : std::runtime_error(message), illustration_(std::move(illustration)) {}

  /// An expression and under it a caret at what is wrong, two lines of printable text; or nothing.
  const std::string& illustration() const { return illustration_; }

 private:
  std::string illustration_;
};

struct Options {
  std::optional<std::string> output;  // a path that ends in .prom; absent: stdout
  std::optional<std::string> input;   // a dump to parse, "-" for stdin; absent: run iptables-save
  std::vector<Source> sources;        // at least one; of --input exactly one, for its labels
  std::chrono::duration<double> timeout{10};
  bool allow_empty = false;
  RuleSeriesOptions rule_series;
  std::optional<std::string> text_to_print;  // the answer to --help or --version: print it, no more
};

/// Throws UsageError.
Options parse_options(int argc, const char* const* argv);

}  // namespace iptables_exporter
