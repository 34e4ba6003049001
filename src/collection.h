#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ruleset.h"
#include "source.h"

namespace iptables_exporter {

/// What came of collecting one source.
struct Collection {
  Source source;
  std::optional<Ruleset> ruleset;  // absent: collecting failed
  std::string error;               // why, if it failed
  std::vector<std::string> warnings;
  std::chrono::duration<double> duration{};
  std::optional<double> last_success;        // Unix time in seconds; absent: not known
  std::optional<bool> hidden_legacy_tables;  // legacy tables that no source shows; absent: unknown
};

}  // namespace iptables_exporter
