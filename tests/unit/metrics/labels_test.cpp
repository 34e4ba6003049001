#include "metrics/labels.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/text.h"
#include "dump/rule_words.h"
#include "metrics/expressions.h"
#include "model/ruleset.h"

namespace iptables_exporter {
namespace {

/// The label's value as it is written, but for escapes.
std::string value_of(const Label& label, std::string_view text) {
  const Rule rule{text, {}};
  return to_valid_utf8(label.value({{}, {}, {}, rule}));
}

std::string written(std::string_view value) {
  std::string text;
  append_label(text, "l", std::string(value));
  return text;
}

}  // namespace

TEST_CASE("comment and target of a rule") {
  struct Row {
    std::string_view text;
    std::string_view comment;
    std::string_view target;
  };
  const Row rows[] = {
      {"", "", ""},
      {"-p tcp -m tcp --dport 22", "", ""},
      {"-j ACCEPT", "", "ACCEPT"},
      {"-g mine", "", "mine"},
      {"-m comment --comment plain -j X", "plain", "X"},
      {"-m comment --comment \"two words\" -j X", "two words", "X"},
      {"-m comment --comment \"\" -j X", "", "X"},
      {"-m webstr --url \"-m comment --comment x -j Y\" -m comment --comment z -j X", "z", "X"},
      {R"(-m comment --comment "say \"hi\", it\'s \\ ok\\" -j X)", R"(say "hi", it's \ ok\)", "X"},
      {"-m comment --comment \"a\nb\" -j X", "a\nb", "X"},
      {"-m comment --comment \"\xff\" -j X", "\uFFFD", "X"},
      {"-m comment --comment \"\\\"\xff\" -j X", "\"\uFFFD", "X"},
      {"-m comment --comment one -m comment --comment two -j X", "one", "X"},
      {"-m comment --comment \"\" -m comment --comment two -j X", "", "X"},
      {"-m comment --comment \"-j Y\" -j X", "-j Y", "X"},
      {"-m comment --comment -j -j X", "-j", "X"},
      {"-m comment --comment --comment -j X", "--comment", "X"},
      {"-m string --string \"--comment no\" -j X", "", "X"},
      {"-j LOG --log-prefix \"--comment no \"", "", "LOG"},
      {"-i -j -j X", "", "X"},
      {"-j \"q", "", "\"q"},
      {"-j a\x80", "", "a\uFFFD"},
  };
  const std::vector<Label> labels = ready_labels({});
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(value_of(*find_label(labels, "comment"), row.text) == row.comment);
    CHECK(value_of(*find_label(labels, "target"), row.text) == row.target);
  }
}

TEST_CASE("labels of options: fixtures/labels.tsv, a rule and its labels in each row") {
  std::ifstream file(FIXTURES "/labels.tsv");
  const auto next_row = [&](std::vector<std::string>& cells) {
    std::string line;
    if (!std::getline(file, line)) return false;
    cells.clear();
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, '\t');) cells.push_back(cell);
    return true;
  };
  std::vector<std::string> names;
  std::vector<std::string> cells;
  REQUIRE(next_row(names));
  REQUIRE(names.size() == 10);  // the last two are remarks
  const std::vector<Label> labels = ready_labels({});
  std::size_t rows = 0;
  for (; next_row(cells); ++rows) {
    CAPTURE(cells[0]);
    for (std::size_t i = 1; i <= 7; ++i) {
      CAPTURE(names[i]);
      const Label* const label = find_label(labels, names[i]);
      REQUIRE(label != nullptr);
      CHECK(value_of(*label, cells[0]) == cells[i]);
    }
  }
  CHECK(rows >= 50);
}

TEST_CASE("the values of all labels are among those that the words of a rule know") {
  for (const Label& label : ready_labels({Family::ipv4, Backend::nft, "blue"})) {
    for (const std::string_view option : label.options) {
      if (option.empty()) continue;
      CAPTURE(option);
      // A value that looks like another option.
      const std::string rule = fmt::format("-m comment {} -z", option);
      RuleWords words(rule);
      std::string_view known;
      while (const auto word = words.next()) {
        if (word->text == "-z") known = word->option;
      }
      CHECK(known == option);
    }
  }
}

TEST_CASE("labels of one's own: the first group, or nothing") {
  struct Row {
    std::string_view label;
    std::string_view value;
  };
  const Row rows[] = {
      {"l=--dport ([0-9]+)", "8080"},
      {"l=--dport ([0-9]+) (.*)", "8080"},
      {"l=(--sport) ([0-9]+)", ""},
      {"l=(x)?--dport", ""},
      {"l=-p (.*?) -m (.*) ", "tcp"},
      {"l=()", ""},
      {"l=\"(\\C)", "\uFFFD"},  // half a character
      {"l=(web.*)$", "web\nx\" -j ACCEPT"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.label);
    const Label label = parse_label(row.label, ready_labels({}));
    CHECK(value_of(label,
                   "-p tcp -m tcp --dport 8080 -m comment --comment \"\u00fcweb\nx\" "
                   "-j ACCEPT") == row.value);
  }
}

TEST_CASE("where a rule stands is read off it too") {
  const Source source{Family::ipv6, Backend::nft, "blue"};
  const Table table{"nat", {}};
  const Chain chain{"c\xff", "", {}, {}};
  const Rule rule{"-p tcp ! --dport 1:2 -j Y", {}};
  struct Row {
    std::string_view label;
    std::string_view value;
    bool is_of_chain;
  };
  const Row rows[] = {
      {"family", "ipv6", true},     {"netns", "blue", true},
      {"backend", "nft", true},     {"table", "nat", true},
      {"chain", "c\xff", true},     {"rule", "-p tcp ! --dport 1:2 -j Y", false},
      {"comment", "", false},       {"target", "Y", false},
      {"protocol", "tcp", false},   {"source", "", false},
      {"destination", "", false},   {"in_interface", "", false},
      {"out_interface", "", false}, {"sport", "", false},
      {"dport", "!1:2", false},
  };
  const std::vector<Label> labels = ready_labels(source);
  CHECK(labels.size() == std::size(rows));
  for (const Row& row : rows) {
    CAPTURE(row.label);
    const Label* const label = find_label(labels, row.label);
    REQUIRE(label != nullptr);
    CHECK(label->value({source, table, chain, rule}) == row.value);
    CHECK(label->is_of_chain() == row.is_of_chain);
  }
  CHECK(find_label(labels, "nope") == nullptr);
  CHECK(find_label(ready_labels({{}, Backend::nft}), "family") == nullptr);
  CHECK(find_label(ready_labels({Family::ipv4, {}}), "backend") == nullptr);
  CHECK(find_label(ready_labels({Family::ipv4, Backend::nft}), "netns") == nullptr);
}

TEST_CASE("label values are escaped as the text format wants it, and no further") {
  struct Row {
    std::string_view value;
    std::string_view printed;
  };
  using namespace std::string_view_literals;
  const Row rows[] = {
      {"", ""},
      {"plain", "plain"},
      {"\"quoted\" \\ \n", R"(\"quoted\" \\ \n)"},
      {R"(\n)", R"(\\n)"},
      {"\t\r\x01\x7f\u00fc", "\t\r\x01\x7f\u00fc"},
      {"a\0b"sv, "a\0b"sv},
      {"\xff\"\xe2\x82", "\uFFFD\\\"\uFFFD"},
  };
  for (const Row& row : rows) CHECK(written(row.value) == "l=\"" + std::string(row.printed) + "\"");
}

TEST_CASE("bytes are escaped wherever they stand, and their neighbours are not") {
  // A pair of bytes at every place, among them pairs that differ in the lowest bit.
  const std::string bytes = "\"#\\]\n\x0b!a\x80";
  for (const char first : bytes) {
    for (const char second : bytes) {
      for (std::size_t at = 0; at < 20; ++at) {
        const std::string value = std::string(at, 'x') + first + second + "end";
        std::string printed;
        for (const char byte : value) {
          if (byte == '"' || byte == '\\' || byte == '\n') printed += '\\';
          if (byte == '\x80') {
            printed += "\uFFFD";
          } else {
            printed += byte == '\n' ? 'n' : byte;
          }
        }
        CHECK(written(value) == "l=\"" + printed + "\"");
      }
    }
  }
}

TEST_CASE("the text of labels names those of the source too, by name") {
  CHECK(label_text({}, {}) == "");
  CHECK(label_text({}, {{"table", "t"}, {"chain", "\""}}) == R"(chain="\"",table="t")");
  CHECK(label_text({Family::ipv4, {}}, {{"version", "1"}}) == R"(family="ipv4",version="1")");
  CHECK(label_text({Family::ipv6, Backend::legacy}, {{"chain", "c"}, {"table", ""}}) ==
        R"(backend="legacy",chain="c",family="ipv6",table="")");
  CHECK(label_text({{}, Backend::nft, "a\"b"}, {{"table", "t"}}) ==
        R"(backend="nft",netns="a\"b",table="t")");
}

}  // namespace iptables_exporter
