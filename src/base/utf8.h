#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace iptables_exporter {

/// How many bytes come before the first that is not valid UTF-8.
std::size_t valid_utf8_prefix(std::string_view bytes);

inline bool is_valid_utf8(std::string_view bytes) {
  return valid_utf8_prefix(bytes) == bytes.size();
}

/// `bytes` with every maximal invalid part replaced by U+FFFD (Unicode 15, section 3.9, "U+FFFD
/// Substitution of Maximal Subparts"). Label values must be valid UTF-8, or node_exporter drops
/// the whole file.
std::string to_valid_utf8(std::string_view bytes);

}  // namespace iptables_exporter
