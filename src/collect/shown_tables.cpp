#include "collect/shown_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "collect/family.h"

namespace iptables_exporter {
namespace {

/// Whether packets of the source's family meet it. They may meet inet, netdev, bridge and arp.
bool concerns(const KernelTable& table, const Source& source) {
  const FamilyFacts& own = facts_of(family_of(source));
  return std::none_of(families.begin(), families.end(), [&](const FamilyFacts& one) {
    return &one != &own && one.nft_name == table.family;
  });
}

/// What only all sources together say: which tables of that backend filter and are shown by none of
/// them. Absent: the kernel could not be asked, or a source of an unknown backend may show one.
std::optional<std::vector<std::string>> unshown_tables(const std::vector<Collection>& collections,
                                                       const Source& source, Backend backend,
                                                       const Host& host) {
  const KernelTables& kernel = host.tables(backend, source);
  if (!kernel) return std::nullopt;
  std::vector<std::string> unshown;
  for (const KernelTable& table : *kernel) {
    if (!table.filters || table.is_dormant || !concerns(table, source)) continue;
    bool is_shown = false;
    bool is_known = true;
    for (const Collection& collection : collections) {
      const std::optional<bool> shows_it = shows(collection, backend, table, host);
      is_shown |= shows_it.value_or(false);
      is_known &= shows_it.has_value();
    }
    if (!is_shown && !is_known) return std::nullopt;
    if (!is_shown) unshown.push_back(fmt::format("{} {}", table.family, table.name));
  }
  return unshown;
}

}  // namespace

std::optional<bool> shows(const Collection& collection, Backend backend, const KernelTable& table,
                          const Host& host) {
  if (!collection.ruleset) return false;
  if (table.family != facts_of(family_of(collection.source)).nft_name) return false;
  const auto& [tables, incompatible, unreadable, own_backend, version] = *collection.ruleset;
  if (std::none_of(tables.begin(), tables.end(),
                   [&](const Table& shown) { return shown.name == table.name; }) &&
      std::find(incompatible.begin(), incompatible.end(), table.name) == incompatible.end()) {
    return false;
  }
  if (own_backend) return *own_backend == backend;
  const Backend other = backend == Backend::nft ? Backend::legacy : Backend::nft;
  const KernelTables& others = host.tables(other, collection.source);
  if (others && std::none_of(others->begin(), others->end(), [&](const KernelTable& one) {
        return one.family == table.family && one.name == table.name;
      })) {
    return true;
  }
  return std::nullopt;
}

void compare_with_kernel(std::vector<Collection>& collections, const Host& host) {
  for (Collection& collection : collections) {
    for (const Backend backend : {Backend::legacy, Backend::nft}) {
      auto unshown = unshown_tables(collections, collection.source, backend, host);
      if (unshown) collection.unshown_tables[backend] = std::move(*unshown);
    }
    if (!host.nft || !collection.ruleset || collection.ruleset->backend != Backend::nft) continue;
    collection.dormant_tables.emplace();
    for (const KernelTable& table : *host.nft) {
      if (table.is_dormant && shows(collection, Backend::nft, table, host) == true) {
        collection.dormant_tables->push_back(table.name);
      }
    }
  }
}

std::vector<std::string> messages_of_tables(const std::vector<Collection>& collections) {
  std::map<std::string_view, std::set<std::string>> tables_by_reason;
  for (const Collection& collection : collections) {
    if (!collection.ruleset) continue;
    for (const std::string& table : collection.ruleset->incompatible_tables) {
      tables_by_reason["tables that only nft can show whole (nft list ruleset)"].insert(
          fmt::format("{} of {}", table, collection.name));
    }
    for (const std::string& table :
         collection.dormant_tables.value_or(std::vector<std::string>())) {
      tables_by_reason["tables that are switched off and filter nothing (flags dormant)"].insert(
          fmt::format("{} of {}", table, collection.name));
    }
    for (const auto& [backend, tables] : collection.unshown_tables) {
      tables_by_reason[backend == Backend::nft
                           ? "nft tables that are not counted (nft list ruleset)"
                           : "legacy tables that are not counted (iptables-legacy-save)"]
          .insert(tables.begin(), tables.end());
    }
  }
  std::vector<std::string> lines;
  for (const auto& [reason, tables] : tables_by_reason) {
    if (!tables.empty()) lines.push_back(fmt::format("{}: {}", reason, fmt::join(tables, ", ")));
  }
  return lines;
}

}  // namespace iptables_exporter
