#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/file_io.h"
#include "collect/kernel_tables.h"

namespace iptables_exporter {
namespace {

constexpr std::size_t buffer_bytes = 32 << 10;  // the kernel's datagrams are no larger
constexpr timeval patience = {1, 0};            // it answers at once
constexpr int max_attempts = 4;

constexpr std::uint16_t message_type(int type) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
}

[[noreturn]] void fail(int error) {
  throw std::system_error(error, std::generic_category(), "nf_tables");
}

template <typename Struct>
Struct front(std::string_view bytes) {
  if (bytes.size() < sizeof(Struct)) fail(EBADMSG);
  Struct value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Takes `length` bytes that begin with a header off the front, and what aligns the next header.
/// Returns those behind the header.
std::string_view take_body(std::string_view& bytes, std::size_t header_size, std::size_t length) {
  if (length < header_size || length > bytes.size()) fail(EBADMSG);
  const std::string_view body = bytes.substr(header_size, length - header_size);
  bytes.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(length), bytes.size()));
  return body;
}

/// By type. Those that are not there have no data.
using Attributes = std::array<std::string_view, NFTA_CHAIN_MAX + 1>;

Attributes attributes_of(std::string_view bytes) {
  Attributes attributes;
  while (!bytes.empty()) {
    const auto header = front<nlattr>(bytes);
    const std::size_t type = header.nla_type & NLA_TYPE_MASK;
    const std::string_view value = take_body(bytes, sizeof header, header.nla_len);
    if (type < attributes.size()) attributes[type] = value;
  }
  return attributes;
}

std::uint32_t number_of(std::string_view value) { return ntohl(front<std::uint32_t>(value)); }

std::string_view text_of(std::string_view value) { return value.substr(0, value.find('\0')); }

std::string_view name_of_family(std::uint8_t family) {
  constexpr std::array<std::string_view, NFPROTO_IPV6 + 1> names = {
      "", "inet", "ip", "arp", "", "netdev", "", "bridge", "", "", "ip6"};
  return family < names.size() ? names[family] : "";
}

void read_chain(const Attributes& attributes, KernelTable& table) {
  // Packets get to other chains by the rules of base chains.
  const bool is_base = attributes[NFTA_CHAIN_HOOK].data() != nullptr;
  if (is_base && (number_of(attributes[NFTA_CHAIN_USE]) > 0 ||
                  number_of(attributes[NFTA_CHAIN_POLICY]) != NF_ACCEPT)) {
    table.filters = true;
  }
  const std::string_view name = text_of(attributes[NFTA_CHAIN_NAME]);
  if (name.find_first_of(" \t\n\v\f\r") != std::string_view::npos) table.spaced_chain = name;
}

std::vector<KernelTable> dump_tables() {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  // Connected, it hears nobody else.
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
    throw_errno("cannot reach", "nf_tables");
  }
  std::vector<KernelTable> tables;
  for (const std::uint16_t type : {NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN}) {
    // The type is the number of the request, too.
    struct {
      nlmsghdr header;
      nfgenmsg message;
    } const request = {{sizeof request, message_type(type), NLM_F_REQUEST | NLM_F_DUMP, type, 0},
                       {AF_UNSPEC, NFNETLINK_V0, 0}};
    if (::send(fd.get(), &request, sizeof request, 0) < 0) throw_errno("cannot ask", "nf_tables");
    std::array<char, buffer_bytes> buffer;
    for (bool is_last = false; !is_last;) {
      const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (size < 0) throw_errno("no answer from", "nf_tables");
      is_last = read_nft_answer({buffer.data(), static_cast<std::size_t>(size)}, type, tables);
    }
  }
  return tables;
}

}  // namespace

bool read_nft_answer(std::string_view datagram, std::uint32_t request,
                     std::vector<KernelTable>& tables) {
  while (!datagram.empty()) {
    const auto header = front<nlmsghdr>(datagram);
    const std::string_view body = take_body(datagram, sizeof header, header.nlmsg_len);
    if (header.nlmsg_seq != request) fail(EBADMSG);
    if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) fail(EINTR);
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      const int error = front<int>(body);
      constexpr int max_errno = 4095;
      if (error != 0) fail(error < 0 && error >= -max_errno ? -error : EBADMSG);
      return true;
    }
    const auto message = front<nfgenmsg>(body);
    const Attributes attributes = attributes_of(body.substr(sizeof message));
    const std::string_view family = name_of_family(message.nfgen_family);
    if (header.nlmsg_type == message_type(NFT_MSG_NEWTABLE)) {
      tables.push_back({std::string(family), std::string(text_of(attributes[NFTA_TABLE_NAME])),
                        (number_of(attributes[NFTA_TABLE_FLAGS]) & NFT_TABLE_F_DORMANT) != 0, false,
                        ""});
    } else if (header.nlmsg_type == message_type(NFT_MSG_NEWCHAIN)) {
      const std::string_view name = text_of(attributes[NFTA_CHAIN_TABLE]);
      const auto table = std::find_if(tables.begin(), tables.end(), [&](const KernelTable& other) {
        return other.family == family && other.name == name;
      });
      if (table == tables.end()) fail(EINTR);  // it was made in between
      read_chain(attributes, *table);
    }
  }
  return false;
}

KernelTables nft_tables() {
  for (int attempt = 0; attempt < max_attempts; ++attempt) {
    try {
      return dump_tables();
    } catch (const std::system_error& error) {
      const int code = error.code().value();
      // A kernel without netfilter over netlink, or without nf_tables.
      if (code == EPROTONOSUPPORT || code == EINVAL) return KernelTables(std::in_place);
      if (code != EINTR) break;
    }
  }
  return std::nullopt;
}

}  // namespace iptables_exporter
