#pragma once

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "model/source.h"

namespace iptables_exporter {

/// All in which the families differ for the kernel and for the commands.
struct FamilyFacts {
  std::string_view command;   // what the names of its commands begin with
  std::string_view nft_name;  // what nft calls its tables
  int address_family;
  int socket_level;         // at which getsockopt(2) asks for legacy tables
  std::size_t entry_bytes;  // of a legacy rule, up to its matches and target
  const char* names_file;   // in /proc/net: the legacy tables that there are
};

/// By Family.
inline constexpr std::array<FamilyFacts, 2> families = {{
    {"iptables", "ip", AF_INET, IPPROTO_IP, sizeof(ipt_entry), "ip_tables_names"},
    {"ip6tables", "ip6", AF_INET6, IPPROTO_IPV6, sizeof(ip6t_entry), "ip6_tables_names"},
}};

constexpr const FamilyFacts& facts_of(Family family) {
  return families[static_cast<std::size_t>(family)];
}

}  // namespace iptables_exporter
