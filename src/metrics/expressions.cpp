#include "metrics/expressions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/text.h"

namespace iptables_exporter {
namespace {

bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

bool is_name_byte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= '0' && byte <= '9') || byte == '_';
}

bool is_label_name(std::string_view name) {
  return !name.empty() && !(name.front() >= '0' && name.front() <= '9') &&
         std::all_of(name.begin(), name.end(), is_name_byte);
}

/// `position`: of the pattern in the expression, for the message. If `is_literal`, its bytes stand
/// there as they are, and what is wrong in it can be pointed at.
std::shared_ptr<const re2::RE2> compile(const std::string& pattern, std::size_t position,
                                        bool is_literal) {
  re2::RE2::Options options;
  options.set_dot_nl(true);
  options.set_log_errors(false);
  auto regex = std::make_shared<const re2::RE2>(pattern, options);
  if (!regex->ok()) {
    const std::size_t at = is_literal ? pattern.find(regex->error_arg()) : 0;
    throw ExpressionError(fmt::format("expected a regular expression of RE2 ({})", regex->error()),
                          position + (at == std::string::npos ? 0 : at));
  }
  return regex;
}

const Label& known_label(std::string_view name, const std::vector<Label>& labels,
                         std::size_t position) {
  if (const Label* label = find_label(labels, name)) return *label;
  if (name == "family" || name == "backend" || name == "netns") {
    throw ExpressionError(fmt::format("the label {0} exists only with --{0}", name), position);
  }
  if (name.empty()) throw ExpressionError("the list of labels has an empty entry", position);
  std::vector<std::string_view> names;
  names.reserve(labels.size());
  for (const Label& label : labels) names.emplace_back(label.name);
  throw ExpressionError(
      fmt::format("expected one of the labels {}, not {}", fmt::join(names, ", "), name), position);
}

void append_utf8(std::string& text, std::uint32_t code_point) {
  constexpr std::array<std::uint32_t, 4> leads = {0x00, 0xC0, 0xE0, 0xF0};
  const auto append = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  std::size_t tail = code_point < 0x80 ? 0 : code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  append(leads[tail] | code_point >> 6 * tail);
  while (tail-- > 0) append(0x80 | (code_point >> 6 * tail & 0x3F));
}

class SelectorParser {
 public:
  SelectorParser(std::string_view text, const std::vector<Label>& labels)
      : text_(text), labels_(labels) {}

  Selector parse() {
    position_ = valid_utf8_prefix(text_);
    if (position_ < text_.size()) fail("UTF-8");  // it would match nothing
    position_ = 0;
    Selector selector;
    expect('{', "{ (a selector here has no metric name)");
    while (!take('}')) {
      selector.push_back(matcher());
      if (take(',')) continue;
      expect('}', "a comma or }");
      break;
    }
    skip_space();
    if (position_ < text_.size()) fail("the end after }");
    return selector;
  }

 private:
  Matcher matcher() {
    skip_space();
    const std::size_t name_at = position_;
    while (position_ < text_.size() && is_name_byte(text_[position_])) ++position_;
    const std::string_view name = text_.substr(name_at, position_ - name_at);
    if (!is_label_name(name)) {
      position_ = name_at;
      fail("a label name or }");
    }
    const Label& label = known_label(name, labels_, name_at);

    skip_space();
    const std::string_view comparison = comparison_operator();
    const bool is_negated = comparison.front() == '!';

    skip_space();
    const std::size_t value_at = position_ + 1;
    std::string value = string();
    if (comparison.back() != '~') return {label, is_negated, std::move(value)};
    const bool has_escapes = position_ - value_at - 1 != value.size();
    return {label, is_negated, {}, compile(value, value_at, !has_escapes)};
  }

  std::string_view comparison_operator() {
    for (const std::string_view comparison : {"=~", "!~", "!=", "="}) {
      if (!text_.substr(position_).starts_with(comparison)) continue;
      position_ += comparison.size();
      return comparison;
    }
    fail("=, !=, =~ or !~");
  }

  std::string string() {
    const char quote = position_ < text_.size() ? text_[position_] : '\0';
    if (quote != '"' && quote != '\'' && quote != '`') fail("a string in quotes");
    ++position_;
    std::string value;
    while (position_ < text_.size() && text_[position_] != quote) {
      const char byte = text_[position_];
      if (quote != '`' && byte == '\\') {
        append_escaped(value, quote);
        continue;
      }
      if (quote != '`' && byte == '\n') fail("no newline in this string, but \\n");
      value += byte;
      ++position_;
    }
    if (position_ >= text_.size()) fail(fmt::format("a closing {}", quote));
    ++position_;
    return value;
  }

  void append_escaped(std::string& value, char quote) {
    constexpr std::string_view letters = "abfnrtv\\";
    constexpr std::string_view meanings = "\a\b\f\n\r\t\v\\";
    const std::size_t backslash = position_++;
    const char letter = position_ < text_.size() ? text_[position_] : '\0';
    const std::size_t simple = letters.find(letter);
    if (letter == quote) {
      value += quote;
      ++position_;
    } else if (simple != std::string_view::npos) {
      value += meanings[simple];
      ++position_;
    } else if (const auto number = escaped_number(letter)) {
      if (letter == 'u' || letter == 'U') {
        append_utf8(value, *number);
      } else {
        value += static_cast<char>(*number);
      }
    } else {
      position_ = backslash;
      fail("an escape as \\n, \\\\, \\x2a or \\u00fc");
    }
  }

  /// The number of \xHH, \uHHHH or \UHHHHHHHH, of which position_ is behind the backslash.
  std::optional<std::uint32_t> escaped_number(char letter) {
    if (letter != 'x' && letter != 'u' && letter != 'U') return std::nullopt;
    const std::size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    const std::string_view number = text_.substr(position_ + 1, digits);
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), value, 16);
    const bool is_code_point = value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
    if (error != std::errc() || number.size() != digits || end != number.data() + digits ||
        !is_code_point) {
      return std::nullopt;
    }
    position_ += digits + 1;
    return value;
  }

  void skip_space() {
    while (position_ < text_.size() && is_space(text_[position_])) ++position_;
  }
  bool take(char byte) {
    skip_space();
    if (position_ >= text_.size() || text_[position_] != byte) return false;
    ++position_;
    return true;
  }
  void expect(char byte, std::string_view expected) {
    if (!take(byte)) fail(expected);
  }
  [[noreturn]] void fail(std::string_view expected) const {
    throw ExpressionError(fmt::format("expected {}", expected), position_);
  }

  std::string_view text_;
  const std::vector<Label>& labels_;
  std::size_t position_ = 0;
};

}  // namespace

Selector parse_selector(std::string_view text, const std::vector<Label>& labels) {
  return SelectorParser(text, labels).parse();
}

std::vector<std::string_view> list_items(std::string_view text) {
  std::vector<std::string_view> items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = text.substr(begin, end - begin);
    while (!item.empty() && is_space(item.front())) item.remove_prefix(1);
    while (!item.empty() && is_space(item.back())) item.remove_suffix(1);
    items.push_back(item);
    begin = end + 1;
  }
  return items;
}

std::vector<Label> parse_sum_by(std::string_view text, const std::vector<Label>& labels) {
  std::vector<Label> chosen;
  if (text.empty()) return chosen;
  for (const std::string_view name : list_items(text)) {
    const auto position = static_cast<std::size_t>(name.data() - text.data());
    const Label& label = known_label(name, labels, position);
    if (find_label(chosen, label.name) != nullptr) {
      throw ExpressionError(fmt::format("the list names {} twice", name), position);
    }
    chosen.push_back(label);
  }
  return chosen;
}

Label parse_label(std::string_view text, const std::vector<Label>& labels) {
  constexpr std::array<std::string_view, 7> reserved = {"job",    "instance", "le",   "quantile",
                                                        "family", "backend",  "netns"};
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (!is_label_name(name)) throw ExpressionError("expected NAME=REGEX with a label name", 0);
  if (equals == std::string_view::npos)
    throw ExpressionError("expected = and a regex", text.size());
  if (name.starts_with("__") ||
      std::find(reserved.begin(), reserved.end(), name) != reserved.end()) {
    throw ExpressionError(fmt::format("the label name {} is reserved; choose another", name), 0);
  }
  const Label* const found = find_label(labels, name);
  if (found != nullptr && found->from != Label::From::option) {
    throw ExpressionError(fmt::format("{} is a label already; choose another name", name), 0);
  }
  const std::string pattern(text.substr(equals + 1));
  auto regex = compile(pattern, equals + 1, true);
  if (regex->NumberOfCapturingGroups() == 0) {
    throw ExpressionError("expected a group, as ([0-9]+), in the regular expression", equals + 1);
  }
  return {std::string(name), Label::From::regex, {}, std::move(regex)};
}

}  // namespace iptables_exporter
