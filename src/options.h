#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "source.h"

namespace iptables_exporter {

/// The command line asks for something that cannot be. what() says in one line what to do.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::optional<std::string> output;  // a path that ends in .prom; absent: stdout
  std::optional<std::string> input;   // a dump to parse, "-" for stdin; absent: run iptables-save
  std::vector<Source> sources;        // at least one; of --input exactly one, for its labels
  std::chrono::duration<double> timeout{10};
  bool allow_empty = false;
  std::optional<std::string> text_to_print;  // the answer to --help or --version: print it, no more
};

/// Throws UsageError.
Options parse_options(int argc, const char* const* argv);

}  // namespace iptables_exporter
