#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "model/collection.h"
#include "model/source.h"

namespace iptables_exporter {

/// Parses a saved dump; "-" is stdin. One without tables is a failure, unless `allow_empty`; so is
/// one whose end has not come after `timeout`. Throws Interrupted.
std::vector<Collection> read_dump(const std::string& path, const Source& source,
                                  std::chrono::duration<double> timeout, bool allow_empty);

}  // namespace iptables_exporter
