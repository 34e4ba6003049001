#include "rule_words.h"

#include <algorithm>
#include <array>

namespace iptables_exporter {
namespace {

/// Options of matches, and after -j those of targets, whose values are quoted.
constexpr std::array<std::string_view, 9> quoting_match_options = {
    "--comment",     "--helper", "--string",   "--hex-string", "--label",
    "--nfacct-name", "--path",   "--bytecode", "--u32",
};
constexpr std::array<std::string_view, 4> quoting_target_options = {
    "--log-prefix",
    "--nflog-prefix",
    "--ulog-prefix",
    "--led-trigger-id",
};

/// Options whose values are names, printed raw whatever they look like.
constexpr std::string_view naming_letters = "Ajgio";  // -A and so on
constexpr std::array<std::string_view, 19> naming_options = {
    "--physdev-in", "--physdev-out", "--name",  "--hashlimit-name", "--match-set", "--add-set",
    "--del-set",    "--map-set",     "--label", "--rateest-name",   "--rateest",   "--rateest1",
    "--rateest2",   "--oif",         "--genre", "--object-pinned",  "--timeout",   "--helper",
    "--selctx",
};

template <std::size_t size>
bool holds(const std::array<std::string_view, size>& options, std::string_view word) {
  return std::find(options.begin(), options.end(), word) != options.end();
}

/// What is known of the value of the option `word`.
enum class Value { unknown, name, may_be_quoted };

Value value_of(std::string_view word, bool is_after_target) {
  if (word.size() == 2) {
    return naming_letters.find(word[1]) == naming_letters.npos ? Value::unknown : Value::name;
  }
  if (is_after_target ? holds(quoting_target_options, word) : holds(quoting_match_options, word)) {
    return Value::may_be_quoted;
  }
  return holds(naming_options, word) ? Value::name : Value::unknown;
}

// Loops, for find_first_of() of the standard library is several times as slow.

/// Where the word that `begin` is in ends: at a space or newline, or with the bytes.
std::size_t end_of_plain_word(std::string_view bytes, std::size_t begin) {
  std::size_t i = begin;
  while (i < bytes.size() && bytes[i] != ' ' && bytes[i] != '\n') ++i;
  return i;
}

/// One past the closing quote of the word that opens at `open`, or where the bytes end.
std::size_t end_of_quotes(std::string_view bytes, std::size_t open) {
  for (std::size_t i = open + 1; i < bytes.size(); ++i) {
    if (bytes[i] == '"') return i + 1;
    if (bytes[i] == '\\') ++i;
  }
  return bytes.size();
}

}  // namespace

std::optional<RuleWords::Word> RuleWords::next() {
  while (position_ < bytes_.size() && bytes_[position_] == ' ') ++position_;
  if (position_ >= bytes_.size()) return std::nullopt;
  if (bytes_[position_] == '\n') {
    newline_ = position_;
    return std::nullopt;
  }
  const std::size_t begin = position_;
  const bool is_quoted = bytes_[begin] == '"' && value_may_be_quoted_;
  position_ = end_of_plain_word(bytes_, is_quoted ? end_of_quotes(bytes_, begin) : begin);
  const Word word{bytes_.substr(begin, position_ - begin), option_};

  if (!option_.empty()) {
    is_after_target_ = is_after_target_ || option_ == "-j" || option_ == "-g";
    option_ = {};
    value_may_be_quoted_ = false;
  } else if (word.text.starts_with('-')) {
    const Value value = value_of(word.text, is_after_target_);
    value_may_be_quoted_ = value == Value::may_be_quoted;
    if (value != Value::unknown) option_ = word.text;
  }
  return word;
}

}  // namespace iptables_exporter
