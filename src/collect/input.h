#pragma once

#include <chrono>
#include <string>

#include "model/collection.h"
#include "model/source.h"

namespace iptables_exporter {

/// Parses a saved dump; "-" is stdin. One whose end has not come after `timeout` is a failure.
/// Throws Interrupted.
Collection read_dump(const std::string& path, const Source& source,
                     std::chrono::duration<double> timeout);

}  // namespace iptables_exporter
