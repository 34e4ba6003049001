#include "collect/netlink.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>

#include "base/file_io.h"

namespace iptables_exporter {
namespace {

constexpr std::size_t buffer_bytes = 32 << 10;  // the kernel's datagrams are no larger
constexpr auto patience_with_changes = std::chrono::seconds(1);

[[noreturn]] void refuse(int error) {
  throw std::system_error(error, std::generic_category(), "netlink");
}

template <typename Struct>
Struct front(std::string_view bytes) {
  if (bytes.size() < sizeof(Struct)) refuse(EBADMSG);
  Struct value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Takes `length` bytes that begin with a header off the front, and what aligns the next header.
/// Returns those behind the header.
std::string_view take_body(std::string_view& bytes, std::size_t header_size, std::size_t length) {
  if (length < header_size || length > bytes.size()) refuse(EBADMSG);
  const std::string_view body = bytes.substr(header_size, length - header_size);
  bytes.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(length), bytes.size()));
  return body;
}

UniqueFd connect_to_kernel(Clock::time_point until) {
  const auto left = std::max(std::chrono::ceil<std::chrono::microseconds>(until - Clock::now()),
                             std::chrono::microseconds(1));
  const timeval time_left = {left.count() / 1'000'000, left.count() % 1'000'000};
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  // Connected, it hears nobody else.
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time_left, sizeof time_left) != 0) {
    throw_errno("cannot reach", "netlink");
  }
  return fd;
}

}  // namespace

NetlinkAttributes::NetlinkAttributes(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto header = front<nlattr>(bytes);
    const std::size_t type = header.nla_type & NLA_TYPE_MASK;
    const std::string_view value = take_body(bytes, sizeof header, header.nla_len);
    if (type < values_.size()) values_[type] = value;
  }
}

std::uint32_t NetlinkAttributes::number(std::size_t type) const {
  return ntohl(front<std::uint32_t>(values_[type]));
}

std::string_view NetlinkAttributes::text(std::size_t type) const {
  return values_[type].substr(0, values_[type].find('\0'));
}

bool read_dump_answer(std::string_view datagram, std::uint32_t request,
                      const std::function<void(const NetlinkMessage&)>& take) {
  while (!datagram.empty()) {
    const auto header = front<nlmsghdr>(datagram);
    const std::string_view body = take_body(datagram, sizeof header, header.nlmsg_len);
    if (header.nlmsg_seq != request) refuse(EBADMSG);
    if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) refuse(EINTR);
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      const int error = front<int>(body);
      constexpr int max_errno = 4095;
      if (error != 0) refuse(error < 0 && error >= -max_errno ? -error : EBADMSG);
      return true;
    }
    const auto message = front<nfgenmsg>(body);
    take({header.nlmsg_type, message.nfgen_family, NetlinkAttributes(body.substr(sizeof message))});
  }
  return false;
}

void ask_for_dump(std::uint16_t type, std::string_view attributes, Clock::time_point until,
                  const std::function<bool(std::string_view)>& read) {
  const UniqueFd fd = connect_to_kernel(until);
  struct {
    nlmsghdr header;
    nfgenmsg message;
  } const request = {{static_cast<std::uint32_t>(sizeof request + attributes.size()), type,
                      NLM_F_REQUEST | NLM_F_DUMP, type & 0xFFU, 0},
                     {AF_UNSPEC, NFNETLINK_V0, 0}};
  std::string bytes(reinterpret_cast<const char*>(&request), sizeof request);
  bytes += attributes;
  if (::send(fd.get(), bytes.data(), bytes.size(), 0) < 0) throw_errno("cannot ask", "netlink");
  std::array<char, buffer_bytes> buffer;
  for (bool is_last = false; !is_last;) {
    if (Clock::now() >= until) refuse(ETIMEDOUT);
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (size < 0) throw_errno("no answer from", "netlink");
    is_last = read({buffer.data(), static_cast<std::size_t>(size)});
  }
}

bool ask_kernel(Clock::time_point deadline,
                const std::function<void(Clock::time_point until)>& ask) {
  const auto until = deadline_or_moment(deadline);
  const auto last_pause = std::min(Clock::now() + patience_with_changes, until);
  for (auto pause = std::chrono::milliseconds(1);; pause *= 2) {
    try {
      ask(until);
      return true;
    } catch (const std::system_error& error) {
      const int code = error.code().value();
      // A kernel without netfilter over netlink, or without this subsystem.
      if (code == EPROTONOSUPPORT || code == EINVAL) return true;
      if (code != EINTR || Clock::now() + pause >= last_pause) return false;
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace iptables_exporter
