#include "dump/rule_words.h"

#include <doctest/doctest.h>

#include <ostream>
#include <string>
#include <vector>

namespace iptables_exporter {
namespace {

struct Words {
  std::vector<std::string> texts;
  std::vector<std::string> options;
  std::size_t newline;
};

Words words_of(std::string_view bytes) {
  RuleWords words(bytes);
  Words found{};
  while (const auto word = words.next()) {
    found.texts.emplace_back(word->text);
    found.options.emplace_back(word->option);
  }
  found.newline = words.newline();
  return found;
}

}  // namespace

TEST_CASE("a rule falls into words as iptables-save printed them") {
  struct Row {
    std::string_view bytes;
    std::vector<std::string> words;
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
    const Words words = words_of(row.bytes);
    CHECK(words.texts == row.words);
    CHECK(words.newline == row.newline);
  }
}

TEST_CASE("values of others' matches and targets") {
  struct Row {
    std::string_view bytes;
    std::vector<std::string> words;
  };
  const Row rows[] = {
      {"-m condition --condition \"night time\"  -j DROP\n",
       {"-m", "condition", "--condition", "\"night time\"", "-j", "DROP"}},
      {"-m condition --condition \"a\nb\"\n", {"-m", "condition", "--condition", "\"a\nb\""}},
      {"-m tls --tls-host \"a\"b\\\" c\" -j X\n",
       {"-m", "tls", "--tls-host", "\"a\"b\\\" c\"", "-j", "X"}},
      {"-j FOO --bar \"a b\" \"c d\"\n", {"-j", "FOO", "--bar", "\"a b\"", "\"c d\""}},
      // Of the same names as iptables' own, which quotes them, or does not.
      {"-m ndpi --comment \"a b\"\n", {"-m", "ndpi", "--comment", "\"a b\""}},
      {"-m ndpi --name \"a b\"\n", {"-m", "ndpi", "--name", "\"a b\""}},
      // Of a newer iptables.
      {"-m tcp --new \"a b\"\n", {"-m", "tcp", "--new", "\"a b\""}},
      // Flags and plain values are as iptables' own.
      {"-m condition --flag -m comment --comment \"a b\" -j X\n",
       {"-m", "condition", "--flag", "-m", "comment", "--comment", "\"a b\"", "-j", "X"}},
      {"-m condition --condition a\"b c\"\n", {"-m", "condition", "--condition", "a\"b", "c\""}},
      // Before any match or target, options are iptables' own.
      {"-i a --new \"b c\"\n", {"-i", "a", "--new", "\"b", "c\""}},
      {"-m ndpi -j \"q x\"\n", {"-m", "ndpi", "-j", "\"q", "x\""}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    const Words words = words_of(row.bytes);
    CHECK(words.texts == row.words);
    CHECK(words.newline == row.bytes.size() - 1);
  }
}

TEST_CASE("quotes that a raw name opens are never closed") {
  // By the quotes of a value they would be, and hide what is between.
  const std::string_view bytes =
      "--match-set x -m comment --comment \"\n[1:2] -A I -m comment --comment \"a b\" -j X\n";
  CHECK(words_of(bytes).newline == std::string_view::npos);
}

TEST_CASE("each option that quotes does so behind its match or target, and behind no other") {
  struct Row {
    std::string_view match_or_target;
    std::string_view option;
  };
  const Row rows[] = {
      {"-m comment", "--comment"},
      {"-m string", "--string"},
      {"-m string", "--hex-string"},
      {"-m helper", "--helper"},
      {"-m connlabel", "--label"},
      {"-m nfacct", "--nfacct-name"},
      {"-m cgroup", "--path"},
      {"-m bpf", "--bytecode"},
      {"-m u32", "--u32"},
      {"-j LOG", "--log-prefix"},
      {"-j NFLOG", "--nflog-prefix"},
      {"-j ULOG", "--ulog-prefix"},
      {"-j LED", "--led-trigger-id"},
  };
  for (const Row& row : rows) {
    const std::string value = std::string(row.option) + " \"x\ny\" z\n";
    CAPTURE(value);
    const Words own = words_of(std::string(row.match_or_target) + " " + value);
    CHECK(own.texts.size() == 5);
    CHECK(own.texts.at(3) == "\"x\ny\"");
    CHECK(own.newline == row.match_or_target.size() + value.size());
    const Words anothers = words_of("-m tcp " + value);
    CHECK(anothers.texts.back() == "\"x");
    CHECK(anothers.newline == 7 + row.option.size() + 3);
  }
}

TEST_CASE("each option whose value is a name: it may look like anything") {
  for (const std::string option : {"-A",           "-j",
                                   "-g",           "-i",
                                   "-o",           "-m",
                                   "--physdev-in", "--physdev-out",
                                   "--name",       "--hashlimit-name",
                                   "--match-set",  "--add-set",
                                   "--del-set",    "--map-set",
                                   "--label",      "--rateest-name",
                                   "--rateest",    "--rateest1",
                                   "--rateest2",   "--oif",
                                   "--genre",      "--object-pinned",
                                   "--timeout",    "--helper",
                                   "--selctx"}) {
    CAPTURE(option);
    // A name -m opens no match.
    const Words words = words_of(option + " -m comment --comment \"x y\n");
    CHECK(words.options.at(1) == option);
    CHECK(words.texts.back() == "y");
    CHECK(words_of(option + " \"x y\n").texts == std::vector<std::string>{option, "\"x", "y"});
    CHECK(words_of(option + "  -i x\n").texts == std::vector<std::string>{option, "", "-i", "x"});
  }
}

TEST_CASE("an option without a value hides no comment") {
  for (const std::string flag : {"-f", "--syn", "--update", "--physdev-is-bridged", "--rttl"}) {
    CAPTURE(flag);
    const std::string rule = flag + " -m comment --comment \"a\nCOMMIT\" -j X\n";
    const Words words = words_of(rule);
    CHECK(words.texts ==
          std::vector<std::string>{flag, "-m", "comment", "--comment", "\"a\nCOMMIT\"", "-j", "X"});
    CHECK(words.newline == rule.size() - 1);
  }
}

TEST_CASE("a value knows its option") {
  CHECK(words_of("-m comment --comment -j -m x -j -g\n").options ==
        std::vector<std::string>{"", "-m", "", "--comment", "", "-m", "", "-j"});
}

TEST_CASE("rules that say that iptables could not read them whole") {
  struct Row {
    std::string_view rule;
    bool is_unreadable;
  };
  const Row rows[] = {
      {"", false},
      {"-p tcp -m tcp -j DNAT [unsupported revision]", true},
      {"-p tcp -m multiport [unsupported revision] -j ACCEPT", true},
      {"-m comment --comment x -m multiport [unsupported revision]", true},
      {"-m comment --comment \"x [unsupported revision] y\" -j X", false},
      {"-m comment --comment \"-j X [unsupported revision]\" -j X", false},
      {"-j LOG --log-prefix \"[unsupported revision]\"", false},
      {"-m set --match-set x [unsupported revision]", false},
      {"-j DNAT [unsupported", false},
      {"-j DNAT [unsupported revisions]", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    CHECK(is_unreadable(row.rule) == row.is_unreadable);
  }
}

}  // namespace iptables_exporter
