#include "metrics/rule_labels.h"

#include <doctest/doctest.h>

#include <ostream>
#include <string>

#include "metrics/selector.h"

namespace iptables_exporter {

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
  for (const Row& row : rows) {
    CAPTURE(row.text);
    std::deque<std::string> text;
    const std::vector<CustomLabel> none;
    RuleLabels labels(none, text);
    const Rule rule{row.text, {}};
    labels.enter(rule);
    CHECK(labels[LabelId::comment] == row.comment);
    CHECK(labels[LabelId::target] == row.target);
  }
}

TEST_CASE("labels of one's own: the first group, or the whole match, or nothing") {
  struct Row {
    std::string_view label;
    std::string_view value;
  };
  const Row rows[] = {
      {"l=--dport ([0-9]+)", "8080"},
      {"l=--dport [0-9]+", "--dport 8080"},
      {"l=(--sport) ([0-9]+)", ""},
      {"l=(x)?--dport", ""},
      {"l=-p (.*?) -m (.*) ", "tcp"},
      {"l=", ""},
      {"l=\"(\\C)", "\uFFFD"},  // half a character
      {"l=web.*$", "web\nx\" -j ACCEPT"},
  };
  const LabelNames names(false, false, {});
  for (const Row& row : rows) {
    CAPTURE(row.label);
    std::deque<std::string> text;
    const std::vector<CustomLabel> labels{parse_label(row.label, names)};
    RuleLabels values(labels, text);
    const Rule rule{"-p tcp -m tcp --dport 8080 -m comment --comment \"\u00fcweb\nx\" -j ACCEPT",
                    {}};
    values.enter(rule);
    CHECK(values[LabelId::first_custom] == row.value);
  }
}

TEST_CASE("each rule has its own values") {
  std::deque<std::string> text;
  const std::vector<CustomLabel> none;
  RuleLabels labels(none, text);
  const Rule first{"-m comment --comment a -j X", {}};
  const Rule second{"-j Y", {}};
  labels.enter(Source{Family::ipv6, Backend::nft});
  labels.enter(Table{"nat", {}});
  labels.enter(Chain{"c\xff", "", {}, {}});
  labels.enter(first);
  CHECK(labels[LabelId::comment] == "a");
  labels.enter(second);
  CHECK(labels[LabelId::comment] == "");
  CHECK(labels[LabelId::target] == "Y");
  CHECK(labels[LabelId::rule] == "-j Y");
  CHECK(labels[LabelId::chain] == "c\uFFFD");
  CHECK(labels[LabelId::table] == "nat");
  CHECK(labels[LabelId::family] == "ipv6");
  CHECK(labels[LabelId::backend] == "nft");
}

}  // namespace iptables_exporter
