// Feeds any bytes through parsing, selecting, summing and rendering, and aborts if what must always
// hold does not. An input is a dump, before which options may stand as on the command line:
//
//   --select {chain="INPUT"}        any number of times
//   --hash {chain!~"f2b-.*"}        any number of times
//   --label service=dpt:([0-9]+)    any number of times
//   --sum-by table,service
//   --max-series 3
//   --family                        two sources of one dump, ipv4 and ipv6
//   --backend                       the label backend
//   --netns blue                    the label netns
//   --piece 5                       the dump comes in pieces of 5 bytes, not 7
//   --hostile                       what follows is no dump, but the comment of a rule in a dump
//   --nft-answer                    what follows is no dump, but what the kernel says of nf_tables
//   --sets-answer                   the same of ipset
//
// A line that begins with a space continues the option before it.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "../unit/pages.h"
#include "../unit/rule_series.h"
#include "base/text.h"
#include "collect/ip_sets.h"
#include "collect/kernel_tables.h"
#include "dump/save_parser.h"
#include "exposition_reader.h"
#include "metrics/exposition.h"
#include "metrics/expressions.h"
#include "metrics/metrics.h"

namespace iptables_exporter {
namespace {

constexpr std::size_t max_input_bytes = 64 << 10;
constexpr std::size_t max_expressions = 4;
constexpr std::size_t max_message_bytes = 640;  // 120 bytes of the line as \xHH, and some words

void check(bool holds, std::string_view what) {
  if (holds) return;
  fmt::print(stderr, "broken: {}\n", what);
  std::abort();
}

const std::string hash_metric = "iptables_ruleset_hash";

// --- Input ---

struct Input {
  std::vector<std::string_view> labels;
  std::vector<std::string_view> selectors;
  std::vector<std::string_view> hashes;
  std::optional<std::string_view> sum_by;
  std::size_t max_series = 0;
  bool has_family = false;
  bool has_backend = false;
  std::string_view netns;
  std::size_t piece_bytes = 7;
  bool is_hostile_text = false;
  bool is_nft_answer = false;
  bool is_sets_answer = false;
  std::string_view dump;
};

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Input read_input(std::string_view bytes) {
  Input input;
  while (bytes.starts_with("--")) {
    std::size_t end = bytes.find('\n');
    while (end != bytes.npos && bytes.substr(end + 1).starts_with(' ')) {
      end = bytes.find('\n', end + 1);
    }
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(line.size() + 1, bytes.size()));
    const std::string_view name = line.substr(0, line.find(' '));
    const std::string_view value = line.substr(std::min(name.size() + 1, line.size()));
    if (name == "--select" && input.selectors.size() < max_expressions) {
      input.selectors.push_back(value);
    } else if (name == "--hash" && input.hashes.size() < max_expressions) {
      input.hashes.push_back(value);
    } else if (name == "--label" && input.labels.size() < max_expressions) {
      input.labels.push_back(value);
    } else if (name == "--sum-by") {
      input.sum_by = value;
    } else if (name == "--max-series") {
      input.max_series = number(value);
    } else if (name == "--family") {
      input.has_family = true;
    } else if (name == "--backend") {
      input.has_backend = true;
    } else if (name == "--netns") {
      input.netns = value;
    } else if (name == "--hostile") {
      input.is_hostile_text = true;
    } else if (name == "--nft-answer") {
      input.is_nft_answer = true;
    } else if (name == "--sets-answer") {
      input.is_sets_answer = true;
    } else if (name == "--piece") {
      input.piece_bytes = std::max<std::size_t>(number(value), 1);
    }
  }
  input.dump = bytes;
  return input;
}

template <typename Parse>
auto parse_expression(std::string_view text, const Parse& parse) {
  try {
    return parse(text);
  } catch (const ExpressionError& error) {
    check(error.position() <= text.size(), "the position of an error is in the expression");
    throw;
  }
}

Source source_of(const Input& input) {
  Source source;
  if (input.has_family) source.family = Family::ipv4;
  if (input.has_backend) source.backend = Backend::nft;
  source.netns = input.netns;
  return source;
}

struct PageOptions {
  RuleSeriesOptions series;
  std::vector<Selector> hash;
};

std::string page_of(const std::vector<Dumped>& all, const PageOptions& options) {
  return page_of(all, options.series, options.hash);
}

/// Throws ExpressionError.
PageOptions options_of(const Input& input) {
  std::vector<Label> labels = ready_labels(source_of(input));
  for (const std::string_view text : input.labels) {
    Label label = parse_expression(
        text, [&](std::string_view expression) { return parse_label(expression, labels); });
    std::erase_if(labels, [&](const Label& ready) { return ready.name == label.name; });
    labels.push_back(std::move(label));
  }
  const auto selector_of = [&](std::string_view text) {
    return parse_expression(
        text, [&](std::string_view selector) { return parse_selector(selector, labels); });
  };
  for (const std::string_view text : input.selectors) selector_of(text);
  const std::string_view sum_by = input.sum_by.value_or("table,chain,rule");
  parse_expression(sum_by, [&](std::string_view names) { return parse_sum_by(names, labels); });
  PageOptions options;
  for (const std::string_view text : input.hashes) options.hash.push_back(selector_of(text));
  options.series = rule_series(labels, {input.selectors.begin(), input.selectors.end()}, sum_by);
  options.series.max_series = input.max_series;
  return options;
}

// --- Parsing ---

using Parsed = std::variant<Dumped, std::string>;  // the string: why it could not be parsed

Parsed parse(std::string_view dump, std::size_t piece_bytes) {
  try {
    return dumped(dump, piece_bytes);
  } catch (const ParseError& error) {
    return error.what();
  }
}

bool is_one_printable_line(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char byte) { return byte >= ' ' && byte <= '~'; });
}

/// The ruleset as a dump, every packet counter in the place of the byte counter and vice versa.
std::string with_swapped_counters(const Dumped& parsed) {
  const Ruleset& ruleset = *parsed.ruleset;
  const auto swapped = [](const Counters& counters) {
    return fmt::format("[{}:{}]", counters.bytes, counters.packets);
  };
  std::string dump;
  if (!ruleset.version.empty()) {
    const std::string_view variant = !ruleset.backend                   ? ""
                                     : *ruleset.backend == Backend::nft ? "-nft"
                                                                        : "-legacy";
    dump += fmt::format("# Generated by iptables{}-save v{} on Monday\n", variant, ruleset.version);
  }
  for (const std::string_view name : ruleset.incompatible_tables) {
    dump += fmt::format("# Table `{}' is incompatible, use 'nft' tool.\n", name);
  }
  for (const Table& table : ruleset.tables) {
    dump += fmt::format("*{}\n", table.name);
    for (const Chain& chain : table.chains) {
      dump += fmt::format(":{} {} {}\n", chain.name, chain.policy.empty() ? "-" : chain.policy,
                          swapped(chain.counters));
    }
    for (const KeptRule& rule : parsed.rules) {
      if (rule.table != table.name) continue;
      dump += fmt::format("{} -A {} {}\n", swapped(rule.counters), rule.chain, rule.text);
    }
    dump += "COMMIT\n";
  }
  return dump + "# Completed on Monday\n";
}

// --- Rendering ---

Families read_back(std::string_view text) {
  try {
    return read_exposition(text);
  } catch (const MalformedExposition& error) {
    fmt::print(stderr, "expected {} in:\n{}\n", error.what(), text);
    std::abort();
  }
}

std::vector<Dumped> collection_of(Dumped parsed, Source source) {
  parsed.source = source;
  parsed.duration = std::chrono::duration<double>(0.125);
  parsed.last_success = 1700000000.25;
  parsed.unshown_tables = {{Backend::legacy, {}}, {Backend::nft, {"inet a"}}};
  return {std::move(parsed)};
}

// --- What must hold ---

void add(std::uint64_t& sum, std::uint64_t value) {
  const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - sum;
  sum += std::min(value, room);
}

struct Totals {
  std::size_t chains = 0;
  std::size_t rules = 0;
  Counters of_rules;
  Counters of_policies;
};

void add(Counters& sum, const Counters& counters) {
  add(sum.packets, counters.packets);
  add(sum.bytes, counters.bytes);
}

void add(Totals& totals, const Dumped& parsed) {
  for (const Table& table : parsed.ruleset->tables) {
    totals.chains += table.chains.size();
    for (const Chain& chain : table.chains) {
      if (!chain.policy.empty()) add(totals.of_policies, chain.counters);
      totals.rules += chain.rules;
    }
  }
  for (const KeptRule& rule : parsed.rules) add(totals.of_rules, rule.counters);
}

/// What is plain to see if no quotes hide anything: each line is what its first byte says.
void check_lines(std::string_view dump, const Dumped& all) {
  if (dump.find('"') != dump.npos) return;
  std::map<char, std::size_t> lines;  // by first byte
  Counters counters;
  while (!dump.empty()) {
    const std::string_view line = dump.substr(0, dump.find('\n'));
    dump.remove_prefix(line.size() + 1);
    if (line.empty()) continue;
    ++lines[line.front()];
    if (line.front() != '[') continue;
    add(counters, {number(line.substr(1)), number(line.substr(line.find(':') + 1))});
  }
  Totals parsed;
  add(parsed, all);
  check(all.ruleset->tables.size() == lines['*'], "every table is parsed");
  check(all.ruleset->tables.size() == lines['C'], "every table has its COMMIT");
  check(parsed.chains == lines[':'], "every chain is parsed");
  check(parsed.rules == lines['['], "every rule is parsed");
  check(parsed.rules == all.rules.size(), "every rule is handed on");
  check(parsed.of_rules.packets == counters.packets && parsed.of_rules.bytes == counters.bytes,
        "every counter is parsed");
}

std::uint64_t total(const Families& families, const std::string& name) {
  std::uint64_t sum = 0;
  const auto family = families.find(name);
  if (family == families.end()) return sum;
  for (const Sample& sample : family->second) add(sum, number(sample.value));
  return sum;
}

std::size_t size_of(const Families& families, const std::string& name) {
  const auto family = families.find(name);
  return family == families.end() ? 0 : family->second.size();
}

void check_totals(const std::vector<Dumped>& collections, const RuleSeriesOptions& options,
                  const Families& families) {
  Totals parsed;
  for (const Dumped& collection : collections) add(parsed, collection);
  const auto check_total = [&](const std::string& name, std::uint64_t all, bool is_all_kept) {
    const std::uint64_t sum = total(families, name);
    check(is_all_kept ? sum == all : sum <= all, name + " sums to what was parsed");
  };
  const bool are_chains_kept = options.selectors.empty();
  const bool are_rules_kept = are_chains_kept && options.max_series == 0;
  check_total("iptables_rule_packets_total", parsed.of_rules.packets, are_rules_kept);
  check_total("iptables_rule_bytes_total", parsed.of_rules.bytes, are_rules_kept);
  check_total("iptables_default_packets_total", parsed.of_policies.packets, are_chains_kept);
  check_total("iptables_default_bytes_total", parsed.of_policies.bytes, are_chains_kept);
  check_total("iptables_rules", parsed.rules, are_chains_kept);
}

/// Of the default series, which are one for each rule.
void check_every_rule(const std::vector<KeptRule>& rules, const Families& families) {
  std::map<std::vector<std::string>, Counters> expected;  // by chain, rule and table
  for (const KeptRule& rule : rules) {
    add(expected[{to_valid_utf8(rule.chain), to_valid_utf8(rule.text), to_valid_utf8(rule.table)}],
        rule.counters);
  }
  const auto check_family = [&](const std::string& name, std::uint64_t Counters::*counter) {
    check(size_of(families, name) == expected.size(), name + " has one series for each rule");
    if (expected.empty()) return;
    for (const Sample& sample : families.at(name)) {
      std::vector<std::string> values;
      for (const auto& label : sample.labels) values.push_back(label.second);
      const auto found = expected.find(values);
      check(found != expected.end(), name + " has the rules of the dump, to the byte");
      check(number(sample.value) == found->second.*counter, name + " has the rule's counters");
    }
  };
  check_family("iptables_rule_packets_total", &Counters::packets);
  check_family("iptables_rule_bytes_total", &Counters::bytes);
}

void check_limit(const Families& limited, const Families& unlimited, std::size_t max_series,
                 std::size_t sources) {
  const std::string name = "iptables_rule_bytes_total";
  const std::size_t shown = size_of(limited, name);
  check(shown <= sources * max_series, "no more than --max-series of each source are shown");
  check(shown + total(limited, "iptables_series_omitted") == size_of(unlimited, name),
        "those left out are counted");
  for (std::size_t i = 0, at = 0; i < shown; ++i, ++at) {
    while (at < unlimited.at(name).size() && limited.at(name)[i] != unlimited.at(name)[at]) ++at;
    check(at < unlimited.at(name).size(), "those shown are whole");
    check(sources > 1 || at == i, "those shown are the first");
  }
}

/// What --hash chooses changes hashes and nothing else; --netns is on every series.
void check_hash_and_netns(const std::vector<Dumped>& collections, const PageOptions& options,
                          const Families& families) {
  Families others = read_back(page_of(collections, options.series));
  for (const auto& [name, samples] : families) {
    if (name != hash_metric) check(others[name] == samples, name + " does not depend on --hash");
    const std::string& netns = collections[0].source.netns;
    for (const Sample& sample : samples) {
      const auto is_netns = [&](const auto& label) {
        return label.first == "netns" && label.second == to_valid_utf8(netns);
      };
      check(netns.empty() || std::any_of(sample.labels.begin(), sample.labels.end(), is_netns),
            name + " has the label netns");
    }
  }
}

/// The families of the collections as they are read back, after checks.
Families checked_families(const std::vector<Dumped>& collections, const PageOptions& options) {
  const Families families = read_back(page_of(collections, options));
  check_totals(collections, options.series, families);
  check_hash_and_netns(collections, options, families);
  if (options.series.max_series > 0) {
    PageOptions unlimited = options;
    unlimited.series.max_series = 0;
    check_limit(families, read_back(page_of(collections, unlimited)), options.series.max_series,
                collections.size());
  }
  return families;
}

/// Everything but the counters is the same, the hashes too, and they are where the others were.
void check_swapped(const Families& families, const Families& swapped) {
  check(families.size() == swapped.size(), "a dump printed and parsed again has the same families");
  for (const auto& [name, samples] : families) {
    std::string other = name;
    const std::size_t packets = name.find("_packets_total");
    const std::size_t bytes = name.find("_bytes_total");
    if (packets != name.npos) other.replace(packets, name.npos, "_bytes_total");
    if (bytes != name.npos) other.replace(bytes, name.npos, "_packets_total");
    check(swapped.at(other) == samples, other + " of the swapped dump is " + name);
  }
}

void run(const Input& input) {
  const PageOptions options = options_of(input);
  Parsed whole = parse(input.dump, input.dump.size() + 1);
  Parsed pieces = parse(input.dump, input.piece_bytes);
  check(whole.index() == pieces.index(), "pieces of any size can be parsed or not");
  if (const auto* const message = std::get_if<std::string>(&whole)) {
    check(*message == std::get<std::string>(pieces), "pieces of any size give the same message");
    check(is_one_printable_line(*message), "a message is one printable line");
    check(message->size() <= max_message_bytes, "a message is short");
    return;
  }
  check(input.dump.empty() || input.dump.ends_with('\n'), "a whole dump ends with a newline");

  const Source source = source_of(input);
  auto collections = collection_of(std::move(std::get<Dumped>(whole)), source);
  auto others = collection_of(std::move(std::get<Dumped>(pieces)), source);

  check_lines(input.dump, collections[0]);
  check(page_of(collections, options) == page_of(others, options),
        "pieces of any size give the same series");
  const Families families = checked_families(collections, options);
  if (input.selectors.empty() && !input.sum_by && input.max_series == 0 && !input.has_family &&
      !input.has_backend && input.netns.empty()) {
    check_every_rule(collections[0].rules, families);
  }
  Parsed swapped = parse(with_swapped_counters(collections[0]), max_input_bytes);
  check(swapped.index() == 0, "a ruleset printed as a dump can be parsed");
  const auto swapped_collections = collection_of(std::move(std::get<Dumped>(swapped)), source);
  check_swapped(families, read_back(page_of(swapped_collections, options)));
  if (input.has_family) {
    others[0].source.family = Family::ipv6;
    collections.push_back(std::move(others[0]));
    checked_families(collections, options);
  }
}

// --- Hostile text ---

std::string quoted(std::string_view value) {
  std::string text = "\"";
  for (const char byte : value) {
    if (byte == '"' || byte == '\\' || byte == '\'') text += '\\';
    text += byte;
  }
  return text + '"';
}

/// A value as iptables prints it: xtables_save_string() of libxtables.
std::string saved_string(std::string_view value) {
  constexpr std::string_view plain =
      "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const bool is_plain = !value.empty() && value.find_first_not_of(plain) == value.npos;
  return is_plain ? std::string(value) : quoted(value);
}

/// The first bytes as the name of a chain, or another name if iptables would not have them.
std::string chain_name(std::string_view text) {
  const std::string_view name = text.substr(0, 28);
  if (name.empty() || name.front() == '-' || name.front() == '!' || name == "INPUT" ||
      name.find_first_of(" \t\n\v\f\r") != name.npos) {
    return "a";
  }
  return std::string(name);
}

/// Whatever stands in a comment and in the name of a chain, the rules are what they are.
void check_hostile(std::string_view text, std::size_t piece_bytes) {
  text = text.substr(0, text.find('\0'));
  const std::string name = chain_name(text);
  const std::string value = saved_string(text);
  const std::vector<std::string> rules = {
      fmt::format("-m comment --comment {} -j {}", value, name),
      fmt::format("-i \"b -m comment --comment {0} -m string --string {0} --algo bm --to 9 "
                  "-m comment --comment x -g {1}",
                  value, name),
      fmt::format("-m condition --condition {0}  -m comment --comment {1} -j LOG --log-prefix {1}",
                  quoted(text), value)};
  std::string dump = fmt::format("*filter\n:INPUT ACCEPT [0:0]\n:{} - [0:0]\n", name);
  for (const std::string& rule : rules) dump += fmt::format("[1:2] -A {} {}\n", name, rule);
  dump += "COMMIT\n";

  Parsed parsed = parse(dump, piece_bytes);
  check(parsed.index() == 0, "a dump of iptables can be parsed");
  const RuleSeriesOptions options = rule_series(ready_labels({}), {}, "chain,comment,rule,target");
  const auto collections = collection_of(std::move(std::get<Dumped>(parsed)), {});
  const Families families = read_back(page_of(collections, options));
  std::vector<Sample> expected;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string target = i == 2 ? "LOG" : to_valid_utf8(name);
    expected.push_back({{{"chain", to_valid_utf8(name)},
                         {"comment", to_valid_utf8(std::string(text))},
                         {"rule", to_valid_utf8(rules[i])},
                         {"target", target}},
                        "1"});
  }
  check(families.at("iptables_rule_packets_total") == expected, "the rules are those of the dump");
  check(total(families, "iptables_rules") == rules.size(), "there are no other rules");
  check(size_of(families, "iptables_rules") == 2, "there are no other chains");
}

// --- The kernel's answers ---

/// Whatever they are, they are read or refused, and name tables that may stand in a message.
void check_nft_answer(std::string_view datagram) {
  constexpr std::uint32_t request = 7;
  std::vector<KernelTable> tables;
  try {
    const bool is_last = read_nft_answer(datagram, request, tables);
    check(!is_last || datagram.size() >= 20, "the last has a header and an error");
  } catch (const std::system_error& error) {
    check(error.code().value() != 0, "what is refused is no success");
  }
  check(tables.size() <= datagram.size() / 28, "a table takes a message");
  for (const KernelTable& table : tables) {
    check(table.name.find('\0') == table.name.npos, "names end where C's do");
    check(table.spaced_chain.find('\0') == table.spaced_chain.npos, "names end where C's do");
  }
}

/// Whatever they are, they are read or refused, and make a page.
void check_sets_answer(std::string_view datagram) {
  constexpr std::uint32_t request = 7;
  auto collections = collection_of({}, {});
  std::vector<IpSet>& sets = collections[0].ip_sets;
  try {
    read_ip_sets_answer(datagram, request, sets);
  } catch (const std::system_error& error) {
    check(error.code().value() != 0, "what is refused is no success");
  }
  check(sets.size() <= datagram.size() / 36, "a set takes a message and two numbers");
  std::map<std::string, std::uint64_t> entries;
  for (const IpSet& set : sets) {
    check(set.name.find('\0') == set.name.npos, "names end where C's do");
    entries[to_valid_utf8(set.name)] += set.entries;
  }
  const Families families = read_back(page_of(collections, RuleSeriesOptions{}));
  check(size_of(families, "iptables_set_entries") == entries.size(), "each name is one series");
  check(size_of(families, "iptables_set_references") == entries.size(), "each name is one series");
}

}  // namespace
}  // namespace iptables_exporter

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace iptables_exporter;
  if (size > max_input_bytes) return 0;
  try {
    const Input input = read_input({reinterpret_cast<const char*>(data), size});
    if (input.is_nft_answer) {
      check_nft_answer(input.dump);
    } else if (input.is_sets_answer) {
      check_sets_answer(input.dump);
    } else if (input.is_hostile_text) {
      check_hostile(input.dump, input.piece_bytes);
    } else {
      run(input);
    }
  } catch (const ExpressionError&) {
    // Nothing to run.
  }
  return 0;
}
