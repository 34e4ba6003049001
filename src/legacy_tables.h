#pragma once

#include <optional>

#include "source.h"

namespace iptables_exporter {

/// Whether the kernel holds tables of the legacy backend, which nft's iptables-save does not show
/// (/proc/net/ip_tables_names, ip6_tables_names). Nothing if this process may not know.
std::optional<bool> has_legacy_tables(Family family);

}  // namespace iptables_exporter
