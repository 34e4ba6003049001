#include "metrics/expressions.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <re2/re2.h>

#include <ostream>
#include <string>

#include "model/ruleset.h"

namespace iptables_exporter {
namespace {

const std::vector<Label> labels = ready_labels({{}, Backend::nft});

/// Whether the selector matches a chain of that name.
bool matches(std::string_view selector, std::string_view name) {
  const Chain chain{std::string(name), "", {}, {}};
  return selects({parse_selector(selector, labels)}, {{}, {}, chain, {}});
}

template <typename Parse>
std::string error_of(const Parse& parse) {
  try {
    parse();
  } catch (const ExpressionError& error) {
    return std::to_string(error.position()) + ": " + error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("selectors match as PromQL's do") {
  struct Row {
    std::string_view selector;
    std::string_view value;
    bool matches;
  };
  using namespace std::string_view_literals;
  const Row rows[] = {
      {"{}", "anything", true},
      {" { } ", "anything", true},
      {R"({chain="a"})", "a", true},
      {R"({chain="a"})", "ab", false},
      {R"({chain=""})", "", true},
      {R"({chain!=""})", "", false},
      {R"({chain!="a"})", "b", true},
      {R"({chain=~"a|bc"})", "bc", true},
      {R"({chain=~"a|bc"})", "abc", false},  // both ends are anchored, of all alternatives
      {R"({chain=~"a.*"})", "a\nb", true},   // as in PromQL since 3.0
      {R"({chain=~""})", "", true},
      {R"({chain=~"(?i)ABC"})", "abc", true},
      {R"({chain!~"a.*"})", "ab", false},
      {R"({chain!~"a.*"})", "b", true},
      {"{chain=~\"a.*\",chain!=\"ab\"}", "ab", false},
      {"{chain=~\"a.*\",chain!=\"ab\",}", "ac", true},
      {"{\tchain\n=~ 'a' , }", "a", true},
      {R"({chain="say \"hi\" \\ \n\t\x41\u00fc\U0001F525"})", "say \"hi\" \\ \n\tA\u00fc\U0001F525",
       true},
      // For who copies a matcher out of Prometheus: so it prints what cannot be printed, and no
      // other way to write U+FFFD is taken by both.
      {R"({chain="\x1b\u200b\U000e0001\ufffd"})", "\x1b\u200b\U000e0001\xff", true},
      {R"({chain='it\'s'})", "it's", true},
      // First and last of a length in UTF-8, and beside the surrogates.
      {R"({chain="\u0080\u07ff"})", "\u0080\u07ff", true},
      {R"({chain="\u0100"})", "\u0100", true},
      {R"({chain="\u0800\uffff"})", "\u0800\uffff", true},
      {R"({chain="\ud7ff\ue000"})", "\ud7ff\ue000", true},
      {R"({chain="\U00010000\U0010ffff"})", "\U00010000\U0010ffff", true},
      {"{chain=`a\\b\n\"`}", "a\\b\n\"", true},
      {R"({chain=~"[0-9]+"})", "123", true},
      {"{chain=\"\u00fc\"}", "\u00fc", true},
      {"{chain=~\".\"}", "\u00fc", true},  // a character, not a byte
      {"{chain=~\"\uFFFD\"}", "\uFFFD", true},
      {"{chain=\"\uFFFD\"}", "\xff", true},  // as it is written
  };
  for (const Row& row : rows) {
    CAPTURE(row.selector);
    CHECK(matches(row.selector, row.value) == row.matches);
  }
}

TEST_CASE("what is wrong with a selector, and where") {
  struct Row {
    std::string_view selector;
    std::string_view error;
  };
  const Row rows[] = {
      {"", "0: expected { (a selector here has no metric name)"},
      {"x", "0: expected { (a selector here has no metric name)"},
      {"{", "1: expected a label name or }"},
      {"{,}", "1: expected a label name or }"},
      {"{comment=\"a\",,}", "13: expected a label name or }"},
      {"{0=\"a\"}", "1: expected a label name or }"},
      {"{nope=\"a\"}",
       "1: expected one of the labels backend, table, chain, rule, comment, target, protocol, "
       "source, destination, in_interface, out_interface, sport, dport, not nope"},
      {"{family=\"ipv4\"}", "1: the label family exists only with --family"},
      {"{comment}", "8: expected =, !=, =~ or !~"},
      {"{comment~\"a\"}", "8: expected =, !=, =~ or !~"},
      {"{comment==\"a\"}", "9: expected a string in quotes"},
      {"{comment=a}", "9: expected a string in quotes"},
      {"{comment=", "9: expected a string in quotes"},
      {"{comment=\"a}", "12: expected a closing \""},
      {"{comment=`a}", "12: expected a closing `"},
      {"{comment=\"a\n\"}", "11: expected no newline in this string, but \\n"},
      {R"({comment="\d"})", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {R"({comment="\'"})", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {R"({comment="\x4"})", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {R"({comment="\ud800"})", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {R"({comment="\U00110000"})", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {R"({comment="\101"})", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {R"({comment="\)", R"(10: expected an escape as \n, \\, \x2a or \u00fc)"},
      {"{comment=\"a\" table=\"b\"}", "13: expected a comma or }"},
      {"{comment=\"a\"", "12: expected a comma or }"},
      {"{comment=\"\xff\"}", "10: expected UTF-8"},
      {"{} x", "3: expected the end after }"},
      {"{comment=~\"ab(\"}", "11: expected a regular expression of RE2 (missing ): ab()"},
      {"{comment=~\"a**\"}",
       "12: expected a regular expression of RE2 (bad repetition operator: **)"},
      {"{comment=~\"\\\\x**\"}",
       "11: expected a regular expression of RE2 (invalid escape sequence: \\x**)"},
      {"{comment=~\"(?=a)\"}",
       "11: expected a regular expression of RE2 (invalid perl operator: (?=)"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.selector);
    CHECK(error_of([&] { parse_selector(row.selector, labels); }) == row.error);
  }
}

TEST_CASE("labels to sum by") {
  const auto names_of = [](std::string_view text) {
    std::vector<std::string> names;
    for (const Label& label : parse_sum_by(text, labels)) names.push_back(label.name);
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(names_of("") == Names{});
  CHECK(names_of("target") == Names{"target"});
  CHECK(names_of("comment,backend,table") == Names{"comment", "backend", "table"});
  CHECK(error_of([] { parse_sum_by("table,", labels); }) ==
        "6: the list of labels has an empty entry");
  CHECK(error_of([] { parse_sum_by("table,table", labels); }) == "6: the list names table twice");
  CHECK(names_of(" table,\tchain ") == Names{"table", "chain"});
  CHECK(error_of([] { parse_sum_by("table, nope", labels); }).starts_with("7: expected one of"));
  CHECK(error_of([] { parse_sum_by("table chain", labels); }).starts_with("0: expected one of"));
}

TEST_CASE("names of labels, byte by byte") {
  const auto is_name = [](const std::string& name) {
    return error_of([&] { parse_label(name + "=(x)", labels); }).empty();
  };
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
  for (int i = 0; i < 256; ++i) {
    const char byte = static_cast<char>(i);
    if (byte == '=') continue;  // which ends the name
    CAPTURE(i);
    const bool is_letter = letters.find(byte) != std::string::npos;
    CHECK(is_name(std::string(1, byte)) == is_letter);
    CHECK(is_name(std::string("x") + byte) == (is_letter || (byte >= '0' && byte <= '9')));
    CHECK(is_name(std::string("x") + byte + "y") == is_name(std::string("x") + byte));
  }
}

TEST_CASE("labels of one's own") {
  const Label label = parse_label("port=--dport ([0-9]+)", labels);
  CHECK(label.name == "port");
  CHECK(label.regex->pattern() == "--dport ([0-9]+)");
  CHECK(parse_label("policy==(x)=", labels).regex->pattern() == "=(x)=");

  for (const std::string_view name :
       {"job", "instance", "le", "quantile", "__x", "family", "backend", "netns"}) {
    CHECK(error_of([&] { parse_label(std::string(name) + "=x", labels); }) ==
          fmt::format("0: the label name {} is reserved; choose another", name));
  }
  for (const std::string_view name : {"chain", "comment", "target"}) {
    CHECK(error_of([&] { parse_label(std::string(name) + "=(x)", labels); }) ==
          fmt::format("0: {} is a label already; choose another name", name));
  }
  CHECK(parse_label("dport=--dport (\\d+)", labels).from == Label::From::regex);  // to replace it
  std::vector<Label> with_port = labels;
  with_port.push_back(label);
  CHECK(error_of([&] { parse_label("port=x", with_port); }) ==
        "0: port is a label already; choose another name");
  CHECK(error_of([] { parse_label("0=x", labels); }) == "0: expected NAME=REGEX with a label name");
  CHECK(error_of([] { parse_label("=x", labels); }) == "0: expected NAME=REGEX with a label name");
  CHECK(error_of([] { parse_label("port", labels); }) == "4: expected = and a regex");
  CHECK(error_of([] { parse_label("port=a(", labels); }) ==
        "5: expected a regular expression of RE2 (missing ): a()");
  for (const std::string_view text : {"port=", "port=x", "port=(?:x)", "port=\\(x\\)"}) {
    CHECK(error_of([&] { parse_label(text, labels); }) ==
          "5: expected a group, as ([0-9]+), in the regular expression");
  }
}

}  // namespace iptables_exporter
