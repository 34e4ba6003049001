#pragma once

#include <cstdint>
#include <functional>

#include "ruleset.h"

namespace iptables_exporter {

/// The low 48 bits, which a Prometheus value holds exactly, of XXH3_64bits with seed 0 over a
/// table's chains in bytewise order of their names, and of each chain
///
///   "C" NAME NUL POLICY NUL            POLICY is "-" for a user-defined chain
///   "R" TEXT NUL                       for each rule, in order
///
/// with the bytes of the dump. So it is the same wherever the same rules stand, and blind to
/// counters. Only chains for which `covers` holds are part of it.
std::uint64_t ruleset_hash(const Table& table, const std::function<bool(const Chain&)>& covers);

}  // namespace iptables_exporter
