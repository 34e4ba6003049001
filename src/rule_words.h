#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace iptables_exporter {

/// Walks over the words of a rule as iptables-save prints it.
///
/// Words are separated by single spaces and the rule ends at a newline. A word that begins with `"`
/// is quoted: it ends at the next `"` that no backslash escapes, and may hold any byte, newlines
/// too. Anywhere else in a word a `"` is a plain byte. The word after -A, -j, -g, -i or -o is never
/// quoted: iptables-save prints names of chains and interfaces raw.
class RuleWords {
 public:
  /// `bytes` begins at the first byte of a word.
  explicit RuleWords(std::string_view bytes) : bytes_(bytes) {}

  /// The next word with its quotes, or nothing at the end of the rule.
  std::optional<std::string_view> next();

  /// After next() returned nothing: where the rule's newline stands, or npos if the bytes ended
  /// before it, be it inside quotes.
  std::size_t newline() const { return newline_; }

 private:
  std::string_view bytes_;
  std::size_t position_ = 0;
  std::size_t newline_ = std::string_view::npos;
  bool next_is_name_ = false;
};

}  // namespace iptables_exporter
