#pragma once

#include <tsl/ordered_map.h>

#include <functional>
#include <string>

#include "base/random.h"

namespace iptables_exporter {

/// Series by their label text, `chain="INPUT",rule="-j \"x\"",table="filter"`, in order of first
/// appearance.
template <typename Value>
using Series = tsl::ordered_map<std::string, Value, SeededHash, std::equal_to<>>;

}  // namespace iptables_exporter
