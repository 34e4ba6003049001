#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dump/save_parser.h"
#include "model/ruleset.h"

namespace iptables_exporter {

/// Parses a dump as it arrives. Keeps the first error instead of throwing it, for how the command
/// ended matters more.
class DumpReader {
 public:
  void feed(std::string_view bytes);
  bool has_failed() const { return !error_.empty(); }

  /// To be called once, after the last byte: the ruleset, or nothing and why.
  std::optional<Ruleset> finish(std::string& error);

 private:
  template <typename Action>
  void guarded(const Action& action);

  SaveParser parser_;
  std::string error_;
};

}  // namespace iptables_exporter
