#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "collection.h"

namespace iptables_exporter {

/// The command that shows a source's rules, as "ip6tables-nft-save".
std::string save_command(const Source& source);

/// Runs the save commands of all sources side by side and parses what they print, as it arrives.
/// One collection for each source, in order. What goes wrong with one source is told in its
/// collection and harms no other.
std::vector<Collection> collect(const std::vector<Source>& sources,
                                std::chrono::duration<double> timeout);

/// Parses a saved dump; "-" is stdin.
Collection read_dump(const std::string& path, const Source& source);

/// Turns success into failure if no collection has a table, nor one that could not be shown.
void require_tables(std::vector<Collection>& collections);

}  // namespace iptables_exporter
