#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/signals.h"
#include "model/ip_set.h"

namespace iptables_exporter {

/// Those of this network namespace; none where the kernel does not tell, before Linux 4.9 for one.
/// It takes CAP_NET_ADMIN.
std::vector<IpSet> ip_sets(Clock::time_point deadline);

/// Reads a datagram of what the kernel answers to a listing of headers (IPSET_CMD_LIST with
/// IPSET_FLAG_LIST_HEADER of linux/netfilter/ipset/ip_set.h), for the request of that number.
/// Returns whether it was the last. Pure. Throws std::system_error, as read_dump_answer().
bool read_ip_sets_answer(std::string_view datagram, std::uint32_t request,
                         std::vector<IpSet>& sets);

}  // namespace iptables_exporter
