#include <doctest/doctest.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <cerrno>
#include <ctime>
#include <ostream>
#include <system_error>

#include "collect/kernel_tables.h"
#include "collect/netlink_messages.h"

namespace iptables_exporter {
namespace {

using namespace netlink;

constexpr unsigned new_table = 0x0A00;
constexpr unsigned new_chain = 0x0A03;

std::string table(char family, const std::string& name, unsigned flags = 0) {
  return message(new_table, family + "\0\0\1"s + attribute(NFTA_TABLE_NAME, name + '\0') +
                                attribute(NFTA_TABLE_FLAGS, be32(flags)));
}

std::string chain(char family, const std::string& table_name, const std::string& name,
                  const std::string& more) {
  return message(new_chain, family + "\0\0\1"s + attribute(NFTA_CHAIN_TABLE, table_name + '\0') +
                                attribute(NFTA_CHAIN_NAME, name + '\0') + more);
}

std::string used(unsigned times) { return attribute(NFTA_CHAIN_USE, be32(times)); }
std::string base(unsigned policy) {
  return attribute(NFTA_CHAIN_HOOK | NLA_F_NESTED, "") + attribute(NFTA_CHAIN_POLICY, be32(policy));
}

std::vector<KernelTable> read(const std::string& datagram) {
  std::vector<KernelTable> tables;
  CHECK(!read_nft_answer(datagram, 7, tables));
  return tables;
}

int error_of(std::string_view datagram) {
  std::vector<KernelTable> tables;
  try {
    read_nft_answer(datagram, 7, tables);
  } catch (const std::system_error& caught) {
    return caught.code().value();
  }
  return 0;
}

}  // namespace

TEST_CASE("tables of every family") {
  const auto tables = read(table(1, "a") + table(2, "b", 1) + table(3, "c", 2) + table(5, "d") +
                           table(7, "e", 3) + table(10, "f") + table(12, "g") + table(4, "h"));
  std::string text;
  for (const KernelTable& one : tables) {
    text += one.family + " " + one.name + (one.is_dormant ? " dormant\n" : "\n");
    CHECK(!one.filters);
    CHECK(one.spaced_chain == "");
  }
  CHECK(text == "inet a\nip b dormant\narp c\nnetdev d\nbridge e dormant\nip6 f\n g\n h\n");
}

TEST_CASE("a table filters by its base chains") {
  constexpr unsigned drop = 0;
  constexpr unsigned accept = 1;
  struct Row {
    std::string chains;
    bool filters;
  };
  const Row rows[] = {
      {"", false},
      {chain(1, "t", "c", base(accept) + used(0)), false},
      {chain(1, "t", "c", base(accept) + used(1)), true},
      {chain(1, "t", "c", base(drop) + used(0)), true},
      {chain(1, "t", "c", used(9)), false},  // nothing leads to it
      {chain(1, "t", "c", base(drop) + used(0)) + chain(1, "t", "d", base(accept) + used(0)), true},
      {chain(2, "t", "c", base(drop) + used(0)), false},
      {chain(1, "u", "c", base(drop) + used(0)), false},
      // What the kernel may come to say is skipped.
      {chain(1, "t", "c", attribute(99, "x") + base(drop) + used(0)), true},
      {message(0x0A06, "\1\0\0\1"s), false},
  };
  for (const Row& row : rows) {
    const auto tables = read(table(1, "t") + table(2, "t") + table(1, "u") + row.chains);
    CHECK(tables.size() == 3);
    CHECK(tables[0].filters == row.filters);
  }
}

TEST_CASE("white space in a chain's name") {
  for (const std::string name : {"a b", " ", "a\n:b", "\t", "a\v", "\r", "\f"}) {
    CHECK(read(table(2, "t") + chain(2, "t", name, used(0)))[0].spaced_chain == name);
  }
  CHECK(read(table(2, "t") + chain(2, "t", "a\x85\xC2\xA0", used(0)))[0].spaced_chain == "");
}

TEST_CASE("the chains of the last of many tables are read as soon as those of the first") {
  constexpr int many = 3000;
  std::string tables;
  for (int i = 0; i < many; ++i) tables += table(1, "t" + std::to_string(i));
  const auto cpu_time = [&](const std::string& name) {
    std::string chains;
    for (int i = 0; i < 10 * many; ++i) chains += chain(1, name, "c", used(0));
    const std::string datagram = tables + chains;
    const std::clock_t started = std::clock();
    CHECK(read(datagram).size() == many);
    return std::clock() - started;
  };
  const std::clock_t of_first = cpu_time("t0");
  CHECK(cpu_time("t" + std::to_string(many - 1)) < 10 * of_first);
}

TEST_CASE("chains in any order are of their tables") {
  std::string chains;
  for (const std::string name : {"c", "a", "b", "a", "a", "c", "b"}) {
    chains += chain(1, name, "x", base(name == "b" ? 0 : 1) + used(0));
  }
  const auto tables = read(table(1, "a") + table(1, "b") + table(1, "c") + chains);
  CHECK(!tables[0].filters);
  CHECK(tables[1].filters);
  CHECK(!tables[2].filters);
}

TEST_CASE("the end of a dump") {
  std::vector<KernelTable> tables;
  CHECK(!read_nft_answer("", 7, tables));
  CHECK(read_nft_answer(table(1, "t") + message(done, u32(0)), 7, tables));
  CHECK(tables.size() == 1);
  CHECK(read_nft_answer(message(done, u32(0)) + "junk", 7, tables));
}

TEST_CASE("what is no answer") {
  struct Row {
    std::string datagram;
    int code;
  };
  const std::string whole = table(1, "t");
  const Row rows[] = {
      {message(error, u32(static_cast<unsigned>(-EPERM))), EPERM},
      {message(error, u32(static_cast<unsigned>(-EINVAL)) + whole), EINVAL},
      {message(done, u32(static_cast<unsigned>(-ENOMEM))), ENOMEM},
      {message(error, u32(0x80000000)), EBADMSG},
      {message(error, u32(1)), EBADMSG},
      {message(new_table, "\1\0\0\1"s, 0x12), EINTR},  // NLM_F_DUMP_INTR
      {message(done, u32(0), 0x12), EINTR},
      {chain(1, "made meanwhile", "c", used(0)), EINTR},
      {message(done, u32(0), 2, 6), EBADMSG},  // of another request
      {message(done, ""), EBADMSG},
      {message(new_table, "\1\0\0"s), EBADMSG},
      {u32(15) + whole.substr(4), EBADMSG},
      {u32(0) + whole.substr(4), EBADMSG},
      {u32(0xFFFFFFFF) + whole.substr(4), EBADMSG},
      {message(new_table, "\1\0\0\1"s + u16(3) + u16(1)), EBADMSG},
      {message(new_table, "\1\0\0\1"s + u16(9) + u16(1) + "abcd"), EBADMSG},
      {message(new_table, "\1\0\0\1"s + attribute(NFTA_TABLE_FLAGS, "abc")), EBADMSG},
      {message(new_table, "\1\0\0\1"s + attribute(NFTA_TABLE_NAME, "t")), EBADMSG},
      {whole + chain(1, "t", "c", attribute(NFTA_CHAIN_HOOK, "")), EBADMSG},
  };
  for (const Row& row : rows) CHECK(error_of(row.datagram) == row.code);
}

TEST_CASE("an answer cut off anywhere is none, or has no more than the whole") {
  const std::string whole = table(1, "t") + chain(1, "t", "c d", base(0) + used(3));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    if (size != table(1, "t").size()) CHECK(error_of(whole.substr(0, size)) == EBADMSG);
  }
}

}  // namespace iptables_exporter
