#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/signals.h"
#include "model/source.h"

namespace iptables_exporter {

/// A table that the kernel holds, whoever made it.
struct KernelTable {
  std::string family;  // as nft calls it: ip, ip6, inet, netdev, bridge, arp
  std::string name;
  bool is_dormant = false;
  bool filters = false;  // it has a rule that packets get to, or a policy other than to accept
  std::string spaced_chain = {};  // name of a chain with white space in it; empty: there is none
  std::uint32_t entries = 0;      // of legacy: rules + policies + 2 * chains of users + 1
};

/// All tables of a backend. Absent: unknown, for example without permission to ask.
using KernelTables = std::optional<std::vector<KernelTable>>;

/// Of every family, as they are at one moment. Absent, too, where they do not stop changing, and
/// where the answer does not end before the deadline. It takes CAP_NET_ADMIN.
KernelTables nft_tables(Clock::time_point deadline);

/// The same without a look at chains, which may never be as at one moment: nothing filters.
KernelTables nft_tables_without_chains(Clock::time_point deadline);

/// The kernel makes a table when something first looks at it. It tells policies only with all rules
/// of a table: without them, `filters` is true of a table that may filter by a policy alone.
KernelTables legacy_tables(Family family, bool with_policies);

/// Reads a datagram of what the kernel answers to a dump of all tables, then to one of all chains
/// (NFT_MSG_NEWTABLE and NFT_MSG_NEWCHAIN of linux/netfilter/nf_tables.h), for the request of that
/// number. Returns whether it was the last. Pure. Throws std::system_error: what the kernel says;
/// EINTR if the tables changed meanwhile; EBADMSG if it is no such answer.
bool read_nft_answer(std::string_view datagram, std::uint32_t request,
                     std::vector<KernelTable>& tables);

}  // namespace iptables_exporter
