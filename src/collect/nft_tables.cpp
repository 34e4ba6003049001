#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>
#include <system_error>

#include "collect/kernel_tables.h"
#include "collect/netlink.h"

namespace iptables_exporter {
namespace {

constexpr std::uint16_t message_type(int type) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
}

std::string_view name_of_family(std::uint8_t family) {
  constexpr std::array<std::string_view, NFPROTO_IPV6 + 1> names = {
      "", "inet", "ip", "arp", "", "netdev", "", "bridge", "", "", "ip6"};
  return family < names.size() ? names[family] : "";
}

void read_chain(const NetlinkAttributes& chain, KernelTable& table) {
  // Packets get to other chains by the rules of base chains.
  if (chain.has(NFTA_CHAIN_HOOK) &&
      (chain.number(NFTA_CHAIN_USE) > 0 || chain.number(NFTA_CHAIN_POLICY) != NF_ACCEPT)) {
    table.filters = true;
  }
  const std::string_view name = chain.text(NFTA_CHAIN_NAME);
  if (name.find_first_of(" \t\n\v\f\r") != std::string_view::npos) table.spaced_chain = name;
}

KernelTables tables_by(std::initializer_list<std::uint8_t> requests, Clock::time_point deadline) {
  KernelTables tables;
  const bool is_known = ask_kernel(deadline, [&](Clock::time_point until) {
    tables.emplace();
    for (const std::uint8_t type : requests) {
      ask_for_dump(message_type(type), "", until, [&](std::string_view datagram) {
        return read_nft_answer(datagram, type, *tables);
      });
    }
  });
  if (!is_known) tables.reset();
  return tables;
}

}  // namespace

bool read_nft_answer(std::string_view datagram, std::uint32_t request,
                     std::vector<KernelTable>& tables) {
  auto last = tables.begin();  // of the chain before: most stand side by side
  return read_dump_answer(datagram, request, [&](const NetlinkMessage& message) {
    const std::string_view family = name_of_family(message.family);
    if (message.type == message_type(NFT_MSG_NEWTABLE)) {
      const bool is_dormant =
          (message.attributes.number(NFTA_TABLE_FLAGS) & NFT_TABLE_F_DORMANT) != 0;
      tables.push_back(
          {std::string(family), std::string(message.attributes.text(NFTA_TABLE_NAME)), is_dormant});
      last = tables.begin();
    } else if (message.type == message_type(NFT_MSG_NEWCHAIN)) {
      const std::string_view name = message.attributes.text(NFTA_CHAIN_TABLE);
      const auto is_its = [&](const KernelTable& table) {
        return table.name == name && table.family == family;
      };
      const auto found = std::find_if(last, tables.end(), is_its);
      last = found != tables.end() ? found : std::find_if(tables.begin(), last, is_its);
      if (last == tables.end() || !is_its(*last)) {  // it was made in between
        throw std::system_error(EINTR, std::generic_category(), "nf_tables");
      }
      read_chain(message.attributes, *last);
    }
  });
}

KernelTables nft_tables(Clock::time_point deadline) {
  return tables_by({NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN}, deadline);
}

KernelTables nft_tables_without_chains(Clock::time_point deadline) {
  return tables_by({NFT_MSG_GETTABLE}, deadline);
}

}  // namespace iptables_exporter
