#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ruleset.h"

namespace iptables_exporter {

/// The dump is not what iptables-save prints. what() is one line that says where and what was
/// expected; it may hold any byte of the dump.
class ParseError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Parses the output of `iptables-save -c` as it arrives.
///
///   dump    = { table | comment | blank line }
///   table   = "*" NAME NL { chain | rule | comment | blank line } "COMMIT" NL
///   chain   = ":" NAME " " POLICY " " counters NL        POLICY: "-" for a user-defined chain
///   rule    = counters " -A " NAME [ " " TEXT ] NL       TEXT: see rule_words.h
///   comment = "#" ... NL
///   counters = "[" PACKETS ":" BYTES "]"                 decimal, at most 2^64-1
///
/// Source: iptables/nft-shared.c, nft-chain.c, iptables-save.c and libxtables' xtables_save_string
/// of iptables 1.8.9, and its output on both backends.
///
/// A chain stands before its rules and once in its table, a table once in the dump.
/// Memory is bounded: the dump is kept once, and no line may be longer than `max_line_bytes`.
class SaveParser {
 public:
  static constexpr std::size_t max_line_bytes = 1 << 20;

  /// Takes the next bytes of the dump. Throws ParseError; the parser is then of no further use.
  void feed(std::string_view bytes);

  /// To be called once, after the last byte. Throws ParseError if the dump is cut off.
  Ruleset finish();

 private:
  void store(std::string_view bytes);
  void parse_whole_lines();
  void parse_line(std::string_view line);
  void parse_table(std::string_view line);
  void parse_chain(std::string_view line);
  void parse_rule(std::string_view line);
  void parse_commit(std::string_view line);
  void parse_comment(std::string_view line);
  Chain& chain_of_rule(std::string_view line, std::string_view& rest);
  [[noreturn]] void fail(std::string_view problem, std::string_view line) const;

  Ruleset ruleset_;
  std::string_view block_;      // the part of the newest block that holds bytes
  std::size_t capacity_ = 0;    // of the newest block
  std::size_t line_start_ = 0;  // in block_: where the first line that is not yet parsed begins
  std::size_t line_number_ = 1;

  bool in_table_ = false;
  std::size_t table_line_number_ = 0;
  bool has_chain_with_space_ = false;
  std::unordered_map<std::string_view, std::size_t> chain_index_;  // of the open table
  std::size_t current_chain_ = 0;
};

}  // namespace iptables_exporter
