#pragma once

#include <string>
#include <string_view>

namespace iptables_exporter {

bool is_valid_utf8(std::string_view bytes);

/// `bytes` with every maximal invalid part replaced by U+FFFD (Unicode 15, section 3.9, "U+FFFD
/// Substitution of Maximal Subparts"). Label values must be valid UTF-8, or node_exporter drops
/// the whole file.
std::string to_valid_utf8(std::string_view bytes);

}  // namespace iptables_exporter
