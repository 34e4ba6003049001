#include "rule_words.h"

#include <doctest/doctest.h>

#include <ostream>
#include <string>
#include <vector>

namespace iptables_exporter {

TEST_CASE("a rule falls into words as iptables-save printed them") {
  struct Row {
    std::string_view bytes;
    std::vector<std::string_view> words;
    std::size_t newline;
  };
  constexpr std::size_t npos = std::string_view::npos;
  const Row rows[] = {
      {"", {}, npos},
      {"\n", {}, 0},
      {"-j ACCEPT\nnext", {"-j", "ACCEPT"}, 9},
      {"-j ACCEPT", {"-j", "ACCEPT"}, npos},
      {"! -i lo \n", {"!", "-i", "lo"}, 8},
      {"--comment \"two words\" -j X\n", {"--comment", "\"two words\"", "-j", "X"}, 26},
      {R"(--comment "\" \\" x)"
       "\n",
       {"--comment", R"("\" \\")", "x"},
       19},
      {"--comment \"a\nCOMMIT\nb\" -j X\n", {"--comment", "\"a\nCOMMIT\nb\"", "-j", "X"}, 27},
      {"--comment \"never closed\n", {"--comment", "\"never closed\n"}, npos},
      {"--comment \"cut at \\", {"--comment", "\"cut at \\"}, npos},
      {"-p \"\" x\n", {"-p", "\"\"", "x"}, 7},
      {"a\"b c\n", {"a\"b", "c"}, 5},         // not at the start of a word: plain
      {"-j \"q x\n", {"-j", "\"q", "x"}, 7},  // after -j: raw
      {"-g \"q\n", {"-g", "\"q"}, 5},
      {"-i \"q -o \"r\n", {"-i", "\"q", "-o", "\"r"}, 11},
      {"[0:0] -A \"q -j X\n", {"[0:0]", "-A", "\"q", "-j", "X"}, 16},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    RuleWords words(row.bytes);
    std::vector<std::string_view> found;
    while (const auto word = words.next()) found.push_back(*word);
    CHECK(found == row.words);
    CHECK(words.newline() == row.newline);
  }
}

}  // namespace iptables_exporter
