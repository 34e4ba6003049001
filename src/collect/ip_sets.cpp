#include "collect/ip_sets.h"

#include <arpa/inet.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <unistd.h>

#include <utility>

#include "collect/netlink.h"

namespace iptables_exporter {
namespace {

constexpr std::uint16_t list_type = NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_LIST;
constexpr std::uint8_t protocol = 6;  // since Linux 2.6.39; newer kernels still take it

/// What is asked for: the headers of all sets, without their entries.
struct Request {
  nlattr protocol_header = {NLA_HDRLEN + sizeof protocol, IPSET_ATTR_PROTOCOL};
  std::uint8_t protocol_value[NLA_ALIGNTO] = {protocol};
  nlattr flags_header = {NLA_HDRLEN + sizeof(std::uint32_t),
                         IPSET_ATTR_FLAGS | NLA_F_NET_BYTEORDER};
  std::uint32_t flags = htonl(IPSET_FLAG_LIST_HEADER);
};

}  // namespace

bool read_ip_sets_answer(std::string_view datagram, std::uint32_t request,
                         std::vector<IpSet>& sets) {
  return read_dump_answer(datagram, request, [&](const NetlinkMessage& message) {
    if (message.type != list_type) return;
    const NetlinkAttributes header(message.attributes.bytes(IPSET_ATTR_DATA));
    if (!header.has(IPSET_ATTR_ELEMENTS)) return;
    IpSet set{std::string(message.attributes.text(IPSET_ATTR_SETNAME)),
              header.number(IPSET_ATTR_ELEMENTS)};
    // A list of sets has a size instead.
    for (const std::size_t maximum : {IPSET_ATTR_MAXELEM, IPSET_ATTR_SIZE}) {
      if (header.has(maximum)) set.max_entries = header.number(maximum);
    }
    set.references = header.number(IPSET_ATTR_REFERENCES);
    sets.push_back(std::move(set));
  });
}

std::vector<IpSet> ip_sets(Clock::time_point deadline) {
  std::vector<IpSet> sets;
  // The question would load the module.
  if (::access("/sys/module/ip_set", F_OK) != 0) return sets;
  const Request request;
  const std::string_view bytes(reinterpret_cast<const char*>(&request), sizeof request);
  const bool is_known = ask_kernel(deadline, [&](Clock::time_point until) {
    sets.clear();
    ask_for_dump(list_type, bytes, until, [&](std::string_view datagram) {
      return read_ip_sets_answer(datagram, IPSET_CMD_LIST, sets);
    });
  });
  if (!is_known) sets.clear();
  return sets;
}

}  // namespace iptables_exporter
