#include "dump/rule_words.h"

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
      {"-m comment --comment \"two words\" -j X\n",
       {"-m", "comment", "--comment", "\"two words\"", "-j", "X"},
       37},
      {R"(-m comment --comment "\" \\" x)"
       "\n",
       {"-m", "comment", "--comment", R"("\" \\")", "x"},
       30},
      {"-m comment --comment \"a\nCOMMIT\nb\" -j X\n",
       {"-m", "comment", "--comment", "\"a\nCOMMIT\nb\"", "-j", "X"},
       38},
      {"-m comment --comment \"never closed\n",
       {"-m", "comment", "--comment", "\"never closed\n"},
       npos},
      {"-m comment --comment \"cut at \\", {"-m", "comment", "--comment", "\"cut at \\"}, npos},
      {"-m nfacct --nfacct-name  \"x y\"\n", {"-m", "nfacct", "--nfacct-name", "\"x y\""}, 30},
      {"-m comment --comment \"\" x\n", {"-m", "comment", "--comment", "\"\"", "x"}, 25},
      // Of targets, other options quote.
      {"-j LOG --log-prefix \"a b\"\n", {"-j", "LOG", "--log-prefix", "\"a b\""}, 25},
      {"-j LOG --log-prefix \"--comment \\\"\"\n",
       {"-j", "LOG", "--log-prefix", "\"--comment \\\"\""},
       34},
      {"-m connlabel --label \"5 6\" -j X\n",
       {"-m", "connlabel", "--label", "\"5 6\"", "-j", "X"},
       31},
      {"-j IDLETIMER --label \"5 6\n", {"-j", "IDLETIMER", "--label", "\"5", "6"}, 25},
      // Names are raw.
      {"a\"b c\n", {"a\"b", "c"}, 5},
      {"-j \"q x\n", {"-j", "\"q", "x"}, 7},
      {"-g \"q\n", {"-g", "\"q"}, 5},
      {"-i \"q -o \"r\n", {"-i", "\"q", "-o", "\"r"}, 11},
      {"--match-set \"s src\n", {"--match-set", "\"s", "src"}, 18},
      {"[0:0] -A \"q -j X\n", {"[0:0]", "-A", "\"q", "-j", "X"}, 16},
      // So are those of options that another match or target quotes.
      {"-m string --comment \"q x\n", {"-m", "string", "--comment", "\"q", "x"}, 24},
      {"-i a --comment \"\n[1:2] -A I\n", {"-i", "a", "--comment", "\""}, 16},
      {"-j X -m comment --comment \"q x\n",
       {"-j", "X", "-m", "comment", "--comment", "\"q", "x"},
       30},
      // Names may be empty.
      {"-m physdev --physdev-in  -j LOG --log-prefix \"a b\"\n",
       {"-m", "physdev", "--physdev-in", "", "-j", "LOG", "--log-prefix", "\"a b\""},
       50},
      {"-o \n", {"-o"}, 3},
      // Values that look like options are none.
      {"-m comment --comment --comment \"q\n",
       {"-m", "comment", "--comment", "--comment", "\"q"},
       33},
      {"-i --comment \"q\n", {"-i", "--comment", "\"q"}, 15},
      {"-m comment --comment -j --comment \"a b\"\n",
       {"-m", "comment", "--comment", "-j", "--comment", "\"a b\""},
       39},
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
  RuleWords words("-m comment --comment -j -m x -j -g\n");
  std::vector<std::string_view> options;
  while (const auto word = words.next()) options.push_back(word->option);
  CHECK(options == std::vector<std::string_view>{"", "-m", "", "--comment", "", "-m", "", "-j"});
}

}  // namespace iptables_exporter
