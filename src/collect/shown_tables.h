#pragma once

#include <optional>
#include <string>
#include <vector>

#include "collect/judge.h"
#include "collect/kernel_tables.h"
#include "model/collection.h"
#include "model/source.h"

namespace iptables_exporter {

// What the kernel has beside what the sources show. Pure.

/// Whether the collection has this table of the backend, or names it as incompatible. Absent: its
/// own backend is not known, and the other backend may have such a table too.
std::optional<bool> shows(const Collection& collection, Backend backend, const KernelTable& table,
                          const Host& host);

/// Fills in which tables filter and are shown by no source, and which are shown and are switched
/// off.
void compare_with_kernel(std::vector<Collection>& collections, const Host& host);

/// For those who do not read the metrics: each reason why tables are not counted or do not filter,
/// and the tables.
std::vector<std::string> messages_of_tables(const std::vector<Collection>& collections);

}  // namespace iptables_exporter
