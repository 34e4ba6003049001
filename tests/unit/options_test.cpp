#include "options.h"

#include <doctest/doctest.h>
#include <re2/re2.h>

#include <ostream>
#include <string>
#include <vector>

namespace iptables_exporter {
namespace {

Options parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "iptables_exporter");
  return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

std::string error_of(const std::vector<const char*>& arguments) {
  try {
    parse(arguments);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

using Names = std::vector<std::string>;

Names names_of(const std::vector<Label>& labels) {
  Names names;
  for (const Label& label : labels) names.push_back(label.name);
  return names;
}

}  // namespace

TEST_CASE("options") {
  const Options defaults = parse({});
  CHECK(!defaults.output);
  CHECK(!defaults.input);
  CHECK(defaults.timeout.count() == 10);
  CHECK(!defaults.allow_empty);
  REQUIRE(defaults.sources.size() == 1);
  CHECK(!defaults.sources[0].family);
  CHECK(!defaults.sources[0].backend);
  CHECK(!defaults.text_to_print);

  const Options all = parse({"-o", "d/x.prom", "-i", "-", "-f", "ipv6", "-b", "legacy", "--timeout",
                             "0.5", "--allow-empty"});
  CHECK(all.output == "d/x.prom");
  CHECK(all.input == "-");
  CHECK(all.timeout.count() == 0.5);
  REQUIRE(all.sources.size() == 1);
  CHECK(all.sources[0].family == Family::ipv6);
  CHECK(all.sources[0].backend == Backend::legacy);
  CHECK(all.allow_empty);

  CHECK(parse({"--output=x.prom"}).output == "x.prom");
  CHECK(parse({"--timeout", "86400"}).timeout.count() == 86400);
  CHECK(parse({"--timeout", "1e-9"}).timeout.count() == 1e-9);
  CHECK(parse({"--max-series", "18446744073709551615"}).rule_series.max_series ==
        18446744073709551615U);
  CHECK(parse({"-V"}).text_to_print == "iptables_exporter " VERSION "\n");
  CHECK(parse({"--help"}).text_to_print->find("--timeout SECONDS") != std::string::npos);
}

TEST_CASE("every family on every backend, in the order given") {
  const Options options = parse({"-f", "ipv6,ipv4", "--backend=nft,legacy"});
  REQUIRE(options.sources.size() == 4);
  CHECK(options.sources[0].family == Family::ipv6);
  CHECK(options.sources[0].backend == Backend::nft);
  CHECK(options.sources[1].family == Family::ipv6);
  CHECK(options.sources[1].backend == Backend::legacy);
  CHECK(options.sources[2].family == Family::ipv4);
  CHECK(options.sources[3].backend == Backend::legacy);
}

TEST_CASE("rule series: labels first, whatever their place") {
  const Options options = parse({"-s", "{port=\"22\",chain=~\"A,B\"}", "--sum-by", "x,port,table",
                                 "--label", "port=--dport ([0-9]+)", "-s", "{}", "--max-series=7",
                                 "--label", "x=y,(z)", "--hash", "{port=\"\"}", "--hash={}"});
  const RuleSeriesOptions& series = options.rule_series;
  REQUIRE(series.selectors.size() == 2);
  CHECK(series.selectors[0].size() == 2);
  REQUIRE(options.hash.size() == 2);
  CHECK(options.hash[0].size() == 1);
  CHECK(series.max_series == 7);
  REQUIRE(names_of(series.sum_by) == Names{"port", "table", "x"});
  CHECK(series.sum_by[0].regex->pattern() == "--dport ([0-9]+)");
  CHECK(series.sum_by[2].regex->pattern() == "y,(z)");
}

TEST_CASE("a label of one's own replaces that of an option, with a warning") {
  const Options options = parse(
      {"--label", "dport=--dport ([0-9]+)", "--sum-by", "dport,sport", "-s", "{dport=\"22\"}"});
  REQUIRE(names_of(options.rule_series.sum_by) == Names{"dport", "sport"});
  CHECK(options.rule_series.sum_by[0].regex != nullptr);
  CHECK(options.rule_series.sum_by[1].regex == nullptr);
  CHECK(options.warnings == Names{"--label dport replaces the label of that name"});
  CHECK(parse({"--label", "port=--dport ([0-9]+)", "--sum-by", "port"}).warnings == Names{});
  CHECK(error_of({"--label", "dport=(a)", "--label", "dport=(b)"}) ==
        "--label: dport is a label already; choose another name");
}

TEST_CASE("a label that nothing names is warned of, where somebody sees it") {
  const auto warnings = [](std::vector<const char*> arguments) {
    arguments.insert(arguments.end(), {"--label", "x=(a)", "--label", "y=(b)"});
    return parse(arguments).warnings;
  };
  const auto warning = [](const std::string& name) {
    return "--label " + name + " has no effect: no --select, --sum-by or --hash names it";
  };
  CHECK(warnings({}) == Names{warning("x"), warning("y")});
  CHECK(warnings({"--sum-by", "y"}) == Names{warning("x")});
  CHECK(warnings({"-s", "{x!=\"\"}"}) == Names{warning("y")});
  CHECK(warnings({"--sum-by", "y", "--hash", "{x=\"\"}"}) == Names{});
}

TEST_CASE("lists may have blanks") {
  CHECK(names_of(parse({"--sum-by", " table,\tchain "}).rule_series.sum_by) ==
        Names{"chain", "table"});
  const Options options = parse({"-f", "ipv4, ipv6", "--backend=nft ,legacy"});
  REQUIRE(options.sources.size() == 4);
  CHECK(options.sources[3].family == Family::ipv6);
  CHECK(options.sources[3].backend == Backend::legacy);
}

TEST_CASE("a network namespace is of all sources") {
  const Options options = parse({"--netns", "blue", "-f", "ipv4,ipv6"});
  REQUIRE(options.sources.size() == 2);
  CHECK(options.sources[0].netns == "blue");
  CHECK(options.sources[1].netns == "blue");
  CHECK(names_of(options.rule_series.sum_by) == Names{"chain", "family", "netns", "rule", "table"});
  CHECK(parse({}).sources[0].netns.empty());
}

TEST_CASE("labels to sum by come by name, and those of the sources with them") {
  const auto sum_by = [](const std::vector<const char*>& arguments) {
    return names_of(parse(arguments).rule_series.sum_by);
  };
  CHECK(sum_by({}) == Names{"chain", "rule", "table"});
  CHECK(sum_by({"--sum-by", ""}) == Names{});
  CHECK(sum_by({"--sum-by="}) == Names{});
  CHECK(sum_by({"--sum-by", "target,comment"}) == Names{"comment", "target"});
  CHECK(sum_by({"--sum-by", "", "-f", "ipv4"}) == Names{"family"});
  CHECK(sum_by({"-f", "ipv4", "-b", "nft"}) ==
        Names{"backend", "chain", "family", "rule", "table"});
  CHECK(sum_by({"--sum-by", "table,family", "-f", "ipv6"}) == Names{"family", "table"});
}

TEST_CASE("what is wrong in an expression is pointed at") {
  struct Row {
    const char* selector;
    std::string_view shown;
    std::string_view caret;
  };
  const Row rows[] = {
      {"{table=\"\t\",nope=\"\"}", "{table=\"\\t\",nope=\"\"}", "            ^"},
      {"{", "{", " ^"},
      {"\t{table=\"}", "\\t{table=\"}", "           ^"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.selector);
    try {
      parse({"-s", row.selector});
      FAIL_CHECK("it was accepted");
    } catch (const UsageError& error) {
      CHECK(error.what() == doctest::Contains("--select: expected "));
      CHECK(error.illustration() ==
            std::vector<std::string>{std::string(row.shown), std::string(row.caret)});
    }
  }
}

TEST_CASE("--saved is of the network namespace that the process is in") {
  CHECK(!parse({}).saved);
  CHECK(parse({"--saved"}).saved);
  CHECK(error_of({"--saved", "--netns", "blue"}) ==
        "--saved is of the network namespace it runs in: leave --netns out");
  CHECK(error_of({"--saved", "-i", "-"}) ==
        "--saved is of the network namespace it runs in: leave --input out");
}

TEST_CASE("--help fits a screen") {
  const std::string text = *parse({"--help"}).text_to_print;
  std::size_t lines = 0;
  for (std::size_t begin = 0; begin < text.size(); ++lines) {
    const std::size_t end = text.find('\n', begin);
    CHECK(end - begin <= 80);
    begin = end + 1;
  }
  CHECK(lines <= 24);
}

TEST_CASE("wrong usage is refused, and the message says what to do") {
  struct Row {
    std::vector<const char*> arguments;
    std::string_view error;
  };
  const Row rows[] = {
      {{"stray"}, "unexpected argument stray"},
      {{"--", "stray"}, "unexpected argument stray"},
      {{"--bogus"}, "unknown option --bogus"},
      {{"-o"}, "-o needs a value"},
      {{"--select"}, "--select needs a value"},
      {{"--familly", "ipv4"}, "unknown option --familly, did you mean --family?"},
      {{"--sum_by=table"}, "unknown option --sum_by=table, did you mean --sum-by?"},
      {{"--selct", "{}"}, "unknown option --selct, did you mean --select?"},
      {{"--o", "x.prom"}, "unknown option --o, did you mean --output?"},
      {{"--limit", "5"}, "unknown option --limit"},
      {{"--tiemout", "5"}, "unknown option --tiemout, did you mean --timeout?"},
      {{"-x"}, "unknown option -x"},
      {{"-xy"}, "unknown option -x"},
      {{"-o/tmp/x.prom"}, "unknown option -o/tmp/x.prom, did you mean -o /tmp/x.prom?"},
      {{"-o=x.prom"}, "unknown option -o=x.prom, did you mean -o x.prom?"},
      {{"-x/y"}, "unknown option -x/y"},
      {{"--", "-o"}, "unknown option -o, did you mean -o ?"},
      {{"-"}, "unexpected argument -"},
      {{"--netns", "a/b"}, "--netns needs a name that ip netns lists, not a/b"},
      {{"--netns=."}, "--netns needs a name that ip netns lists, not ."},
      {{"--netns=.."}, "--netns needs a name that ip netns lists, not .."},
      {{"--netns="}, "--netns needs a value"},
      {{"--netns", "a", "--netns", "b"}, "--netns is given twice"},
      {{"-o", "x.prom", "-o", "y.prom"}, "--output is given twice"},
      {{"-o", "x"}, "--output x must end in .prom, or node_exporter does not read it"},
      {{"-o", "-"}, "--output - is no file; leave --output out to write to stdout"},
      {{"-o", "--timeout"}, "--output needs a value, not --timeout"},
      {{"--output="}, "--output needs a value"},
      {{"-i", "-o"}, "--input needs a value, not -o"},
      {{"--timeout", "0"}, "--timeout needs a number of seconds above 0 and up to 86400, not 0"},
      {{"--timeout", "-1"}, "--timeout needs a number of seconds above 0 and up to 86400, not -1"},
      {{"--timeout", "86400.5"},
       "--timeout needs a number of seconds above 0 and up to 86400, not 86400.5"},
      {{"--timeout", " 5"}, "--timeout needs a number of seconds above 0 and up to 86400, not  5"},
      {{"--timeout", "nan"},
       "--timeout needs a number of seconds above 0 and up to 86400, not nan"},
      {{"--timeout", "inf"},
       "--timeout needs a number of seconds above 0 and up to 86400, not inf"},
      {{"--timeout", "5s"}, "--timeout needs a number of seconds above 0 and up to 86400, not 5s"},
      {{"-f", "ipv5"}, "--family needs ipv4, ipv6 or both, not ipv5"},
      {{"-f", "ipv4,"}, "--family needs ipv4, ipv6 or both, not ipv4,"},
      {{"-f", "ipv4,ipv4"}, "--family names ipv4 twice"},
      {{"-f", "ipv4", "-f", "ipv6"}, "--family is given twice"},
      {{"-b", "nft legacy"}, "--backend needs legacy, nft or both, not nft legacy"},
      {{"-i", "-", "-f", "ipv4,ipv6"},
       "--input is one dump: name at most one --family and one --backend for it"},
      {{"--sum-by", "table", "--sum-by", "chain"}, "--sum-by is given twice"},
      {{"--sum-by", "family"}, "--sum-by: the label family exists only with --family"},
      {{"-s", "{netns=\"a\"}"}, "--select: the label netns exists only with --netns"},
      {{"--label", "x=y"}, "--label: expected a group, as ([0-9]+), in the regular expression"},
      {{"--label", "x="}, "--label: expected a group, as ([0-9]+), in the regular expression"},
      {{"--label", "netns=(x)"}, "--label: the label name netns is reserved; choose another"},
      {{"--label", "job=x"}, "--label: the label name job is reserved; choose another"},
      {{"--max-series", "-1"}, "--max-series needs a whole number, not -1"},
      {{"--max-series", "18446744073709551616"},
       "--max-series needs a whole number, not 18446744073709551616"},
      {{"--max-series", "1.5"}, "--max-series needs a whole number, not 1.5"},
      {{"--max-series", "99999999999999999999"},
       "--max-series needs a whole number, not 99999999999999999999"},
      {{"--help=false"}, "--help takes no value"},
      {{"--version=false"}, "--version takes no value"},
      {{"--allow-empty=false"}, "--allow-empty takes no value"},
      {{"--allow-empty=maybe"}, "--allow-empty takes no value"},
      {{"--help=yes"}, "--help takes no value"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.error);
    CHECK(error_of(row.arguments) == row.error);
  }
}

}  // namespace iptables_exporter
