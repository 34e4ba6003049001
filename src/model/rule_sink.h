#pragma once

#include <string_view>

#include "model/ruleset.h"

namespace iptables_exporter {

struct Rule {
  std::string_view text;  // what follows "-A CHAIN ", to the end of its last word; any bytes
  Counters counters;
};

/// Takes the rules of a dump as they are read. Nobody keeps them.
class RuleSink {
 public:
  virtual ~RuleSink() = default;

  /// What came of rules so far is void: a dump begins, or the one before was not good.
  virtual void begin() = 0;

  /// The next rule, and where it stands. May add to the hash of the chain, and change nothing else.
  virtual void add(const Table& table, Chain& chain, const Rule& rule) = 0;
};

}  // namespace iptables_exporter
