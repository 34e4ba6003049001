#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/source.h"

namespace iptables_exporter {

inline constexpr std::string_view last_success_metric = "iptables_last_success_timestamp_seconds";

/// When collecting `source` last succeeded, according to the file that an earlier run wrote, in
/// Unix seconds. Nothing if the file does not say, or is not a file of this user's or root's, or
/// tells of the future.
std::optional<double> previous_last_success(const std::string& path, const Source& source);

}  // namespace iptables_exporter
