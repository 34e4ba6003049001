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
      {"--nfacct-name  \"x y\"\n", {"--nfacct-name", "\"x y\""}, 20},
      {"--comment \"\" x\n", {"--comment", "\"\"", "x"}, 14},
      // Of targets, other options quote.
      {"-j LOG --log-prefix \"a b\"\n", {"-j", "LOG", "--log-prefix", "\"a b\""}, 25},
      {"-j LOG --log-prefix \"--comment \\\"\"\n",
       {"-j", "LOG", "--log-prefix", "\"--comment \\\"\""},
       34},
      {"--label \"5 6\" -j X\n", {"--label", "\"5 6\"", "-j", "X"}, 18},
      {"-j IDLETIMER --label \"5 6\n", {"-j", "IDLETIMER", "--label", "\"5", "6"}, 25},
      // Names are raw.
      {"a\"b c\n", {"a\"b", "c"}, 5},
      {"-j \"q x\n", {"-j", "\"q", "x"}, 7},
      {"-g \"q\n", {"-g", "\"q"}, 5},
      {"-i \"q -o \"r\n", {"-i", "\"q", "-o", "\"r"}, 11},
      {"--match-set \"s src\n", {"--match-set", "\"s", "src"}, 18},
      {"[0:0] -A \"q -j X\n", {"[0:0]", "-A", "\"q", "-j", "X"}, 16},
      // Values that look like options are none.
      {"--comment --comment \"q\n", {"--comment", "--comment", "\"q"}, 22},
      {"-i --comment \"q\n", {"-i", "--comment", "\"q"}, 15},
      {"--comment -j --comment \"a b\"\n", {"--comment", "-j", "--comment", "\"a b\""}, 28},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    RuleWords words(row.bytes);
    std::vector<std::string_view> found;
    while (const auto word = words.next()) found.push_back(word->text);
    CHECK(found == row.words);
    CHECK(words.newline() == row.newline);
  }
}

TEST_CASE("a value knows its option") {
  RuleWords words("--comment -j -m x -j -g\n");
  std::vector<std::string_view> options;
  while (const auto word = words.next()) options.push_back(word->option);
  CHECK(options == std::vector<std::string_view>{"", "--comment", "", "", "", "-j"});
}

}  // namespace iptables_exporter
