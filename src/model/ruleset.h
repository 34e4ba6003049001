#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/large_memory.h"

namespace iptables_exporter {

struct Counters {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

struct Rule {
  std::string_view text;  // what follows "-A CHAIN ", to the byte; any bytes, newlines too
  Counters counters;
};

struct Chain {
  std::string_view name;
  std::string_view policy;  // empty for a user-defined chain, which has none
  Counters counters;        // of the policy
  std::vector<Rule> rules;
};

struct Table {
  std::string_view name;
  std::vector<Chain> chains;
};

/// What one iptables-save showed, in its order. Every string_view points into `text`, so a Ruleset
/// can be moved but not copied.
struct Ruleset {
  std::vector<Table> tables;
  std::vector<std::string_view> incompatible_tables;  // names of those not shown, or not whole
  std::string_view variant;  // "nf_tables" or "legacy"; empty: the dump does not say
  std::string_view version;  // of iptables-save, as "1.8.9"; empty: the dump does not say
  std::vector<MemoryBlock> text;
};

}  // namespace iptables_exporter
