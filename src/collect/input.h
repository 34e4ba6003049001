#pragma once

#include <string>

#include "model/collection.h"
#include "model/source.h"

namespace iptables_exporter {

/// Parses a saved dump; "-" is stdin.
Collection read_dump(const std::string& path, const Source& source);

}  // namespace iptables_exporter
