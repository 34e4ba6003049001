#pragma once

#include <string_view>
#include <vector>

namespace iptables_exporter {

/// Names of the capabilities that iptables-save may need (CAP_NET_ADMIN on both backends, on the
/// legacy one CAP_NET_RAW and CAP_DAC_READ_SEARCH too) and that this process lacks.
std::vector<std::string_view> missing_capabilities();

}  // namespace iptables_exporter
