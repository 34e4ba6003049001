#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/signals.h"

namespace iptables_exporter {

// Dumps of nfnetlink (linux/netfilter/nfnetlink.h): what nf_tables and ipset say is told alike.

/// The attributes of a message, or of an attribute that nests some, by type.
class NetlinkAttributes {
 public:
  /// Those that `bytes` are. Throws std::system_error, as the next two: EBADMSG if they are none.
  explicit NetlinkAttributes(std::string_view bytes);

  bool has(std::size_t type) const { return values_[type].data() != nullptr; }
  std::string_view bytes(std::size_t type) const { return values_[type]; }
  std::uint32_t number(std::size_t type) const;   // sent in network byte order
  std::string_view text(std::size_t type) const;  // empty if there is none

 private:
  std::array<std::string_view, 32> values_;  // what newer kernels may come to say is left out
};

struct NetlinkMessage {
  std::uint16_t type;
  std::uint8_t family;  // NFPROTO_...
  NetlinkAttributes attributes;
};

/// Reads a datagram of the answer to the dump request of that number, and hands on its messages.
/// Returns whether it was the last datagram. Pure. Throws std::system_error: what the kernel says;
/// EINTR if what it dumps changed meanwhile; EBADMSG if it is no such answer.
bool read_dump_answer(std::string_view datagram, std::uint32_t request,
                      const std::function<void(const NetlinkMessage&)>& take);

/// Asks for a dump by a request of this type with these attributes, whose number is the type's
/// lower byte, and has each datagram read until `read` says that it was the last. Throws
/// std::system_error: why there is no answer; ETIMEDOUT if it has not ended by `until`.
void ask_for_dump(std::uint16_t type, std::string_view attributes, Clock::time_point until,
                  const std::function<bool(std::string_view)>& read);

/// Has `ask` ask for dumps, which end before `until`. While what they tell changes meanwhile, it is
/// called again, with pauses, for a second at most. `until` is the deadline, or where that has
/// come, a moment later. Returns whether the answer is known; a kernel without that subsystem has
/// nothing to tell, which is an answer.
bool ask_kernel(Clock::time_point deadline,
                const std::function<void(Clock::time_point until)>& ask);

}  // namespace iptables_exporter
