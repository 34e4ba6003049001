#include "metrics/expressions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/text.h"

namespace iptables_exporter {
namespace {

constexpr std::string_view spaces = " \t\n\r";
constexpr const char* label_name = "([A-Za-z_][A-Za-z0-9_]*)";

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

std::string utf8_of(std::uint32_t code_point) {
  constexpr std::array<std::uint32_t, 4> leads = {0x00, 0xC0, 0xE0, 0xF0};
  std::string text;
  const auto append = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  std::size_t tail = code_point < 0x80 ? 0 : code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  append(leads[tail] | code_point >> 6 * tail);
  while (tail-- > 0) append(0x80 | (code_point >> 6 * tail & 0x3F));
  return text;
}

class SelectorParser {
 public:
  SelectorParser(std::string_view text, const std::vector<Label>& labels)
      : text_(text), labels_(labels) {}

  Selector parse() {
    position_ = valid_utf8_prefix(text_);
    if (position_ < text_.size()) throw_expected("UTF-8");  // it would match nothing
    position_ = 0;
    Selector selector;
    if (!take("\\{")) throw_expected("{ (a selector here has no metric name)");
    while (!take("\\}")) {
      selector.push_back(matcher());
      if (take(",")) continue;
      if (!take("\\}")) throw_expected("a comma or }");
      break;
    }
    if (!take("$")) throw_expected("the end after }");
    return selector;
  }

 private:
  Matcher matcher() {
    std::string name;
    if (!take(label_name, &name)) throw_expected("a label name or }");
    const Label& label = known_label(name, labels_, position_ - name.size());
    std::string comparison;
    if (!take("(=~|!~|!=|=)", &comparison)) throw_expected("=, !=, =~ or !~");
    const bool is_negated = comparison.front() == '!';

    char quote = '\0';
    if (!take("([\"'`])", &quote)) throw_expected("a string in quotes");
    const std::size_t value_at = position_;
    std::string value = string_to(quote);
    if (comparison.back() != '~') return {label, is_negated, std::move(value)};
    const bool has_escapes = position_ - value_at - 1 != value.size();
    return {label, is_negated, {}, compile(value, value_at, !has_escapes)};
  }

  /// What the string says, up to this quote, which closes it.
  std::string string_to(char quote) {
    std::string value;
    while (position_ < text_.size() && text_[position_] != quote) {
      const char byte = text_[position_];
      if (quote != '`' && byte == '\n') throw_expected("no newline in this string, but \\n");
      if (quote != '`' && byte == '\\') {
        value += escaped(quote);
      } else {
        value += byte;
        ++position_;
      }
    }
    if (position_ == text_.size()) throw_expected(fmt::format("a closing {}", quote));
    ++position_;
    return value;
  }

  std::string escaped(char quote) {
    const std::string letters = std::string("abfnrtv\\") + quote;
    const std::string meanings = std::string("\a\b\f\n\r\t\v\\") + quote;
    const std::size_t backslash = position_;
    char letter = '\0';
    std::uint32_t number = 0;
    const auto hex = re2::RE2::Hex(&number);
    if (take(R"(\\x([[:xdigit:]]{2}))", hex)) return {static_cast<char>(number)};
    if (take(R"(\\u([[:xdigit:]]{4}))", hex) || take(R"(\\U([[:xdigit:]]{8}))", hex)) {
      if (number < 0xD800 || (number > 0xDFFF && number <= 0x10FFFF)) return utf8_of(number);
    } else if (take(R"(\\(.))", &letter) && letters.find(letter) != letters.npos) {
      return {meanings[letters.find(letter)]};
    }
    position_ = backslash;
    throw_expected("an escape as \\n, \\\\, \\x2a or \\u00fc");
  }

  /// Takes what the pattern matches, and the white space before it. `group` gets what that matches.
  template <typename... Group>
  bool take(const char* pattern, Group... group) {
    position_ = std::min(text_.find_first_not_of(spaces, position_), text_.size());
    re2::StringPiece rest(text_.data() + position_, text_.size() - position_);
    if (!re2::RE2::Consume(&rest, pattern, group...)) return false;
    position_ = text_.size() - rest.size();
    return true;
  }

  [[noreturn]] void throw_expected(std::string_view expected) const {
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
  std::vector<std::string_view> items = split(text, ',');
  for (std::string_view& item : items) {
    item.remove_prefix(std::min(item.find_first_not_of(spaces), item.size()));
    item = item.substr(0, item.find_last_not_of(spaces) + 1);
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
  if (!re2::RE2::FullMatch({name.data(), name.size()}, label_name)) {
    throw ExpressionError("expected NAME=REGEX with a label name", 0);
  }
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
