#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace iptables_exporter {

/// Walks over the words of a rule as iptables-save prints it.
///
/// Words are separated by spaces and the rule ends at a newline. Values of some options of some
/// matches and targets, --comment behind `-m comment` among them, are printed in quotes unless they
/// are plain: such a value begins with `"`, ends at the next `"` that no backslash escapes, with a
/// space or the rule's end behind it, and may hold any byte, newlines too. All other words are raw:
/// names of interfaces, chains, sets and so on may begin with a `"` that means nothing, or be
/// empty, between two spaces. Values may look like options: `--comment -j -j ACCEPT` is a comment
/// "-j" and a target.
///
/// A raw name that holds spaces or newlines cannot be told from what it looks like.
///
/// Source: the save functions of iptables 1.8.9's extensions, and their output for such values.
class RuleWords {
 public:
  struct Word {
    std::string_view text;  // with its quotes
    std::string_view
        option;  // whose value it is, as "--comment"; empty: none whose values are known
  };

  /// `bytes` begins at the first byte of a word.
  explicit RuleWords(std::string_view bytes) : bytes_(bytes) {}

  /// The next word, or nothing at the end of the rule.
  std::optional<Word> next();

  /// After next() returned nothing: where the rule's newline stands, or npos if the bytes ended
  /// before it, be it inside quotes.
  std::size_t newline() const { return newline_; }

 private:
  std::string_view bytes_;
  std::size_t position_ = 0;
  std::size_t newline_ = std::string_view::npos;
  std::string_view option_;  // the word before, if it is an option that takes a value
  std::string_view module_;  // the match or target that the next options are of
  bool value_may_be_quoted_ = false;
  bool is_after_target_ = false;
};

}  // namespace iptables_exporter
