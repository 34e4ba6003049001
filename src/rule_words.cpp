#include "rule_words.h"

#include <algorithm>
#include <array>

namespace iptables_exporter {
namespace {

/// An option whose value is quoted, and the match or target that prints it. Another's option of the
/// same name, or the same text in a name, is none.
struct QuotingOption {
  std::string_view module;
  std::string_view option;
};
constexpr std::array<QuotingOption, 13> quoting_options = {{
    {"comment", "--comment"},
    {"string", "--string"},
    {"string", "--hex-string"},
    {"helper", "--helper"},
    {"connlabel", "--label"},
    {"nfacct", "--nfacct-name"},
    {"cgroup", "--path"},
    {"bpf", "--bytecode"},
    {"u32", "--u32"},
    {"LOG", "--log-prefix"},
    {"NFLOG", "--nflog-prefix"},
    {"ULOG", "--ulog-prefix"},
    {"LED", "--led-trigger-id"},
}};

/// Options whose values are names, printed raw whatever they look like.
constexpr std::string_view naming_letters = "Ajgiom";  // -A and so on
constexpr std::array<std::string_view, 19> naming_options = {
    "--physdev-in", "--physdev-out", "--name",  "--hashlimit-name", "--match-set", "--add-set",
    "--del-set",    "--map-set",     "--label", "--rateest-name",   "--rateest",   "--rateest1",
    "--rateest2",   "--oif",         "--genre", "--object-pinned",  "--timeout",   "--helper",
    "--selctx",
};

/// What is known of the value of the option `word` of `module`.
enum class Value { unknown, name, may_be_quoted };

Value value_of(std::string_view word, std::string_view module) {
  // Of one letter, no option quotes.
  if (word.size() == 2) {
    return naming_letters.find(word[1]) == naming_letters.npos ? Value::unknown : Value::name;
  }
  for (const QuotingOption& quoting : quoting_options) {
    if (quoting.option == word && quoting.module == module) return Value::may_be_quoted;
  }
  const auto* const found = std::find(naming_options.begin(), naming_options.end(), word);
  return found == naming_options.end() ? Value::unknown : Value::name;
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

/// Where the value that `begin` is in ends. What goes on behind its closing quote was not quoted.
std::size_t end_of_value(std::string_view bytes, std::size_t begin) {
  if (bytes[begin] != '"') return end_of_plain_word(bytes, begin);
  const std::size_t end = end_of_quotes(bytes, begin);
  if (end == bytes.size() || bytes[end] == ' ' || bytes[end] == '\n') return end;
  return end_of_plain_word(bytes, begin);
}

}  // namespace

std::optional<RuleWords::Word> RuleWords::next() {
  // To the next word; but before a name there is one space, for it may be empty.
  const std::size_t spaces = option_.empty() || value_may_be_quoted_ ? bytes_.size() : 1;
  for (std::size_t i = 0; i < spaces && position_ < bytes_.size() && bytes_[position_] == ' ';
       ++i) {
    ++position_;
  }
  if (position_ >= bytes_.size()) return std::nullopt;
  if (bytes_[position_] == '\n') {
    newline_ = position_;
    return std::nullopt;
  }
  const std::size_t begin = position_;
  position_ = value_may_be_quoted_ ? end_of_value(bytes_, begin) : end_of_plain_word(bytes_, begin);
  const Word word{bytes_.substr(begin, position_ - begin), option_};

  if (!option_.empty()) {
    if (option_ == "-j" || option_ == "-g") is_after_target_ = true;
    if (option_ == "-j" || option_ == "-m") module_ = word.text;
    option_ = {};
    value_may_be_quoted_ = false;
  } else if (word.text.starts_with('-') && !(is_after_target_ && word.text == "-m")) {
    const Value value = value_of(word.text, module_);
    value_may_be_quoted_ = value == Value::may_be_quoted;
    if (value != Value::unknown) option_ = word.text;
  }
  return word;
}

}  // namespace iptables_exporter
