#include "dump/save_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/printable.h"
#include "dump/rule_words.h"

namespace iptables_exporter {
namespace {

constexpr std::size_t max_shown_bytes = 120;

/// Length of the line that `bytes` begins with, or npos if its newline has not come yet. A rule's
/// quotes may hold newlines that do not end it.
std::size_t line_length(std::string_view bytes) {
  const std::size_t newline = bytes.find('\n');
  if (newline == std::string_view::npos || bytes.front() != '[') return newline;
  if (bytes.substr(0, newline).find('"') == std::string_view::npos) return newline;
  RuleWords words(bytes);
  while (words.next()) {
  }
  return words.newline();
}

bool consume(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

bool consume_number(std::string_view& rest, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error != std::errc()) return false;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return true;
}

/// Takes "[PACKETS:BYTES]" off the front.
std::optional<Counters> consume_counters(std::string_view& rest) {
  Counters counters;
  if (consume(rest, "[") && consume_number(rest, counters.packets) && consume(rest, ":") &&
      consume_number(rest, counters.bytes) && consume(rest, "]")) {
    return counters;
  }
  return std::nullopt;
}

/// Whether `version`, as "1.8.9", is before 1.8.`patch`. Nothing if it is no version.
std::optional<bool> is_before_1_8(std::string_view version, unsigned patch) {
  std::array<unsigned, 3> parts{};
  const char* at = version.data();
  const char* const end = at + version.size();
  for (unsigned& part : parts) {
    const auto [number_end, error] = std::from_chars(at, end, part);
    if (error != std::errc()) return std::nullopt;
    at = number_end;
    if (at == end || *at != '.') break;
    ++at;
  }
  return parts < std::array{1U, 8U, patch};
}

/// See the table of versions above SaveParser.
std::optional<Backend> variant_of(std::string_view command, std::string_view version,
                                  bool says_nf_tables) {
  if (says_nf_tables || command.starts_with("xtables-") ||
      command.find("-nft-") != std::string_view::npos) {
    return Backend::nft;
  }
  if (command.find("-legacy-") != std::string_view::npos) return Backend::legacy;
  if (is_before_1_8(version, 2) == true || is_before_1_8(version, 8) == false) {
    return Backend::legacy;
  }
  return std::nullopt;
}

bool is_policy(std::string_view word) {
  return word == "-" || (!word.empty() && std::all_of(word.begin(), word.end(), [](char letter) {
           return letter >= 'A' && letter <= 'Z';
         }));
}

}  // namespace

void SaveParser::feed(std::string_view bytes) {
  unparsed_ += bytes;
  std::string_view rest = unparsed_;
  while (!rest.empty()) {
    const std::size_t length = line_length(rest);
    if (std::min(length, rest.size()) > max_line_bytes) {
      fail(fmt::format("longer than {} bytes", max_line_bytes), rest);
    }
    if (length == std::string_view::npos) break;
    const std::string_view line = rest.substr(0, length);
    parse_line(line);
    line_number_ += 1 + static_cast<std::size_t>(std::count(line.begin(), line.end(), '\n'));
    rest.remove_prefix(length + 1);
  }
  unparsed_.erase(0, unparsed_.size() - rest.size());
}

Ruleset SaveParser::finish() {
  if (!unparsed_.empty()) fail("the dump is cut off in the middle of a line", unparsed_);
  if (in_table_) {
    throw ParseError(fmt::format("the dump is cut off: table {} of line {} has no COMMIT",
                                 printable(ruleset_.tables.back().name, max_shown_bytes),
                                 table_line_number_));
  }
  if (generated_line_number_ != 0) {
    throw ParseError(
        fmt::format("the dump is cut off: what was generated from line {} on is not completed",
                    generated_line_number_));
  }
  return std::move(ruleset_);
}

void SaveParser::parse_line(std::string_view line) {
  if (line.empty()) return;
  if (line.find('\0') != std::string_view::npos) fail("a NUL byte, which no dump has", line);
  if (line == "COMMIT") return parse_commit(line);
  switch (line.front()) {
    case '[':
      return parse_rule(line);
    case ':':
      return parse_chain(line);
    case '*':
      return parse_table(line);
    case '#':
      return parse_comment(line);
    case '-':
      fail("expected [packets:bytes] before the rule (save with iptables-save -c)", line);
    default:
      fail("expected a line of iptables-save -c", line);
  }
}

void SaveParser::parse_table(std::string_view line) {
  const std::string_view name = line.substr(1);
  if (in_table_) fail("expected COMMIT before the next table", line);
  if (name.empty() || name.find(' ') != std::string_view::npos) {
    fail("expected *TABLE", line);
  }
  if (!table_names_.emplace(name).second) fail("the table stands twice in the dump", line);
  ruleset_.tables.push_back({std::string(name), {}});
  in_table_ = true;
  table_line_number_ = line_number_;
  has_chain_with_space_ = false;
  chain_index_.clear();
  current_chain_ = 0;
}

void SaveParser::parse_chain(std::string_view line) {
  // From the right: a name made through netlink may hold spaces.
  constexpr std::string_view expected = "expected :CHAIN POLICY [packets:bytes]";
  if (!in_table_) fail("expected *TABLE before the first chain", line);
  const std::size_t counters_at = line.rfind(' ');
  if (counters_at == std::string_view::npos) fail(expected, line);
  std::string_view rest = line.substr(counters_at + 1);
  const std::optional<Counters> counters = consume_counters(rest);
  if (!counters || !rest.empty()) fail(expected, line);
  const std::size_t policy_at = line.rfind(' ', counters_at - 1);
  if (policy_at == std::string_view::npos || policy_at < 2) fail(expected, line);
  const std::string_view name = line.substr(1, policy_at - 1);
  const std::string_view policy = line.substr(policy_at + 1, counters_at - policy_at - 1);
  if (!is_policy(policy)) fail(expected, line);

  std::vector<Chain>& chains = ruleset_.tables.back().chains;
  if (!chain_index_.emplace(name, chains.size()).second) {
    fail("the chain stands twice in its table", line);
  }
  has_chain_with_space_ = has_chain_with_space_ || name.find(' ') != std::string_view::npos;
  chains.push_back(
      {std::string(name), policy == "-" ? std::string() : std::string(policy), *counters, {}});
}

void SaveParser::parse_rule(std::string_view line) {
  std::string_view rest = line;
  const std::optional<Counters> counters = consume_counters(rest);
  if (!counters) fail("expected [packets:bytes], each at most 2^64-1", line);
  if (!consume(rest, " -A ")) fail("expected -A CHAIN after the counters", line);
  if (!in_table_) fail("expected *TABLE before the first rule", line);
  Chain& chain = chain_of_rule(line, rest);
  // Many versions print a blank behind some rules; quotes are closed where a line ends.
  rest.remove_suffix(rest.size() - (rest.find_last_not_of(' ') + 1));
  if (is_unreadable(rest)) ++ruleset_.unreadable_rules;
  chain.rules.push_back({std::string(rest), *counters});
}

/// Takes the chain's name and the space behind it off `rest`.
Chain& SaveParser::chain_of_rule(std::string_view line, std::string_view& rest) {
  std::vector<Chain>& chains = ruleset_.tables.back().chains;
  std::string_view name = rest.substr(0, rest.find(' '));
  if (has_chain_with_space_) {
    for (const Chain& chain : chains) {
      if (chain.name.size() > name.size() && rest.starts_with(chain.name) &&
          (rest.size() == chain.name.size() || rest[chain.name.size()] == ' ')) {
        name = chain.name;
      }
    }
  }
  if (current_chain_ >= chains.size() || chains[current_chain_].name != name) {
    const auto found = chain_index_.find(name);
    if (found == chain_index_.end()) fail("the rule's chain was not declared", line);
    current_chain_ = found->second;
  }
  rest.remove_prefix(std::min(name.size() + 1, rest.size()));
  return chains[current_chain_];
}

void SaveParser::parse_commit(std::string_view line) {
  if (!in_table_) fail("expected *TABLE before COMMIT", line);
  in_table_ = false;
}

void SaveParser::parse_comment(std::string_view line) {
  std::string_view rest = line;
  if (consume(rest, "# Table `")) {
    const std::size_t quote = rest.rfind("' is incompatible, use 'nft' tool.");
    const std::size_t other_quote = rest.rfind("' contains incompatible base-chains");
    const std::size_t name_size = std::min(quote, other_quote);
    if (name_size != std::string_view::npos) {
      ruleset_.incompatible_tables.emplace_back(rest.substr(0, name_size));
    }
  } else if (consume(rest, "# Generated by ")) {
    parse_header(rest);
  } else if (rest.starts_with("# Completed on ")) {
    generated_line_number_ = 0;
  }
}

void SaveParser::parse_header(std::string_view rest) {
  const std::string_view command = rest.substr(0, rest.find(' '));
  rest.remove_prefix(command.size());
  if (!consume(rest, " v")) return;
  generated_line_number_ = line_number_;
  ruleset_.version = rest.substr(0, rest.find(' '));
  rest.remove_prefix(ruleset_.version.size());
  ruleset_.variant = variant_of(command, ruleset_.version, rest.starts_with(" (nf_tables)"));
}

void SaveParser::fail(std::string_view problem, std::string_view line) const {
  throw ParseError(
      fmt::format("line {}: {}: {}", line_number_, problem, printable(line, max_shown_bytes)));
}

}  // namespace iptables_exporter
