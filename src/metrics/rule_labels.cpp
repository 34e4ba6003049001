#include "metrics/rule_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "dump/rule_words.h"

namespace iptables_exporter {
namespace {

/// The text that a quoted or plain value stands for.
std::string unquoted(std::string_view word) {
  std::string text;
  for (std::size_t i = 1; i + 1 < word.size(); ++i) {
    if (word[i] == '\\' && i + 2 < word.size()) ++i;
    text += word[i];
  }
  return text;
}

bool is_quoted(std::string_view word) {
  return word.size() >= 2 && word.front() == '"' && word.back() == '"';
}

}  // namespace

LabelNames::LabelNames(bool has_family, bool has_backend,
                       const std::vector<CustomLabel>& custom_labels)
    : names_(fixed_label_names.begin(), fixed_label_names.end()) {
  if (!has_family) names_[LabelId::family].clear();
  if (!has_backend) names_[LabelId::backend].clear();
  for (const CustomLabel& label : custom_labels) names_.push_back(label.name);
}

std::optional<std::size_t> LabelNames::find(std::string_view name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (name.empty() || found == names_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - names_.begin());
}

std::string LabelNames::listed() const {
  std::vector<std::string_view> known;
  for (const std::string& name : names_) {
    if (!name.empty()) known.emplace_back(name);
  }
  return fmt::format("{}", fmt::join(known, ", "));
}

RuleLabels::RuleLabels(const std::vector<CustomLabel>& custom_labels, std::deque<std::string>& text)
    : custom_labels_(custom_labels),
      text_(text),
      values_(LabelId::first_custom + custom_labels.size()),
      is_known_(values_.size()) {}

void RuleLabels::enter(const Source& source) {
  set(LabelId::family, source.family ? name_of(*source.family) : "");
  set(LabelId::backend, source.backend ? name_of(*source.backend) : "");
}

void RuleLabels::enter(const Table& table) { set(LabelId::table, valid(table.name)); }

void RuleLabels::enter(const Chain& chain) { set(LabelId::chain, valid(chain.name)); }

void RuleLabels::enter(const Rule& rule) {
  rule_ = &rule;
  std::fill(is_known_.begin() + LabelId::rule, is_known_.end(), false);
}

std::string_view RuleLabels::operator[](std::size_t id) {
  if (is_known_[id]) return values_[id];
  if (id == LabelId::rule) {
    set(id, valid(rule_->text));
  } else if (id == LabelId::comment || id == LabelId::target) {
    find_comment_and_target();
  } else {
    set(id, custom_value(custom_labels_[id - LabelId::first_custom]));
  }
  return values_[id];
}

void RuleLabels::set(std::size_t id, std::string_view value) {
  values_[id] = value;
  is_known_[id] = true;
}

void RuleLabels::find_comment_and_target() {
  set(LabelId::comment, "");
  set(LabelId::target, "");
  bool has_comment = false;
  RuleWords words(rule_->text);
  while (const auto word = words.next()) {
    if (word->option == "--comment" && !has_comment) {
      has_comment = true;
      const bool has_escapes = is_quoted(word->text) && word->text.find('\\') != word->text.npos;
      if (has_escapes) {
        set(LabelId::comment, text_.emplace_back(to_valid_utf8(unquoted(word->text))));
      } else if (is_quoted(word->text)) {
        set(LabelId::comment, valid(word->text.substr(1, word->text.size() - 2)));
      } else {
        set(LabelId::comment, valid(word->text));
      }
    } else if (word->option == "-j" || word->option == "-g") {
      set(LabelId::target, valid(word->text));
      return;  // only options of the target follow
    }
  }
}

std::string_view RuleLabels::custom_value(const CustomLabel& label) {
  const std::string_view text = (*this)[LabelId::rule];
  const int groups = std::min(label.regex->NumberOfCapturingGroups(), 1);
  std::array<re2::StringPiece, 2> found;
  if (!label.regex->Match({text.data(), text.size()}, 0, text.size(), re2::RE2::UNANCHORED,
                          found.data(), 1 + groups)) {
    return "";
  }
  const re2::StringPiece& value = found[static_cast<std::size_t>(groups)];
  // \C, which takes a byte of a character, makes invalid UTF-8 of valid.
  return value.data() == nullptr ? "" : valid({value.data(), value.size()});
}

std::string_view RuleLabels::valid(std::string_view bytes) {
  return is_valid_utf8(bytes) ? bytes : text_.emplace_back(to_valid_utf8(bytes));
}

}  // namespace iptables_exporter
