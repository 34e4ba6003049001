#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <string>

namespace iptables_exporter::netlink {

// Messages as the kernel sends them.

using namespace std::string_literals;

template <typename Number>
std::string bytes_of(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}
inline std::string u16(unsigned number) { return bytes_of(static_cast<std::uint16_t>(number)); }
inline std::string u32(unsigned number) { return bytes_of(number); }
inline std::string be32(unsigned number) { return u32(htonl(number)); }

inline std::string attribute(unsigned type, const std::string& value) {
  return u16(static_cast<unsigned>(value.size()) + 4) + u16(type) + value +
         std::string(-value.size() % 4, '\0');
}

constexpr unsigned done = 3;
constexpr unsigned error = 2;

inline std::string message(unsigned type, const std::string& body, unsigned flags = 2,
                           unsigned request = 7) {
  return u32(static_cast<unsigned>(body.size()) + 16) + u16(type) + u16(flags) + u32(request) +
         u32(99) + body;
}

}  // namespace iptables_exporter::netlink
