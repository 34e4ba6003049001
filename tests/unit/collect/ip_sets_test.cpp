#include "collect/ip_sets.h"

#include <doctest/doctest.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netlink.h>

#include <cerrno>
#include <ostream>
#include <system_error>

#include "collect/netlink_messages.h"

namespace iptables_exporter {
namespace {

using namespace netlink;

constexpr unsigned listed = 0x0607;

std::string number(unsigned type, unsigned value) {
  return attribute(type | NLA_F_NET_BYTEORDER, be32(value));
}

std::string set(const std::string& name, const std::string& header, unsigned flags = 2,
                unsigned request = 7) {
  return message(listed,
                 "\2\0\0\0"s + attribute(IPSET_ATTR_PROTOCOL, "\6") +
                     attribute(IPSET_ATTR_SETNAME, name + '\0') +
                     attribute(IPSET_ATTR_DATA | NLA_F_NESTED, header),
                 flags, request);
}

std::string header(unsigned entries, unsigned references) {
  return number(IPSET_ATTR_REFERENCES, references) + number(IPSET_ATTR_ELEMENTS, entries);
}

/// What is read, as text, or the error.
std::string read(const std::string& datagram) {
  std::vector<IpSet> sets;
  try {
    const bool is_last = read_ip_sets_answer(datagram, 7, sets);
    std::string text;
    for (const IpSet& one : sets) {
      text += one.name + ": " + std::to_string(one.entries) + " of " +
              (one.max_entries ? std::to_string(*one.max_entries) : "any") + ", " +
              std::to_string(one.references) + "\n";
    }
    return text + (is_last ? "end" : "");
  } catch (const std::system_error& error) {
    return error.code() == std::errc::interrupted ? "changed"
           : error.code() == std::errc::bad_message
               ? "bad"
               : "error " + std::to_string(error.code().value());
  }
}

}  // namespace

TEST_CASE("sets of every kind") {
  struct Row {
    std::string datagram;
    std::string sets;
  };
  const std::string end = message(done, u32(0));
  const Row rows[] = {
      {"", ""},
      {end, "end"},
      {set("hash", number(IPSET_ATTR_MAXELEM, 65536) + header(3, 2)), "hash: 3 of 65536, 2\n"},
      {set("list", number(IPSET_ATTR_SIZE, 8) + header(1, 0)), "list: 1 of 8, 0\n"},
      {set("bitmap", header(0, 1)), "bitmap: 0 of any, 1\n"},
      {set("largest", number(IPSET_ATTR_MAXELEM, 0xFFFFFFFF) + header(0xFFFFFFFF, 0xFFFFFFFF)),
       "largest: 4294967295 of 4294967295, 4294967295\n"},
      {set("a", header(1, 0)) + set("b", header(2, 0)) + end,
       "a: 1 of any, 0\nb: 2 of any, 0\nend"},
      {set("a \"\n\xFF", header(1, 0)), "a \"\n\xFF: 1 of any, 0\n"},
      // What newer kernels may come to say is skipped.
      {set("a", attribute(200, "x") + header(1, 0)), "a: 1 of any, 0\n"},
      {message(0x0608, "\2\0\0\0"s), ""},
      // Before Linux 4.9 it does not say how many entries there are, which is not 0.
      {set("old", number(IPSET_ATTR_REFERENCES, 1)), ""},
      {set("without a header", ""), ""},
  };
  for (const Row& row : rows) CHECK(read(row.datagram) == row.sets);
}

TEST_CASE("what is no list of sets") {
  struct Row {
    std::string datagram;
    std::string error;
  };
  const Row rows[] = {
      {message(error, u32(static_cast<unsigned>(-EPERM))), "error 1"},
      {message(error, u32(static_cast<unsigned>(-EINVAL))), "error 22"},
      {message(error, u32(static_cast<unsigned>(-4097))), "bad"},  // IPSET_ERR_PROTOCOL
      {set("a", header(1, 0), 0x12), "changed"},
      {set("a", header(1, 0), 2, 6), "bad"},  // of another request
      {set("a", number(IPSET_ATTR_ELEMENTS, 1)), "bad"},
      {set("a", header(1, 0) + "x"), "bad"},
      {set("a", header(1, 0) + attribute(IPSET_ATTR_MAXELEM, "abc")), "bad"},
      {message(listed, "\2\0\0"s), "bad"},
      {u32(15) + set("a", header(1, 0)).substr(4), "bad"},
  };
  for (const Row& row : rows) CHECK(read(row.datagram) == row.error);
}

TEST_CASE("a list of sets cut off anywhere is none") {
  const std::string whole = set("a", header(1, 0));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    CHECK(read(whole.substr(0, size)) == "bad");
  }
}

}  // namespace iptables_exporter
