#pragma once

#include <re2/re2.h>

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/ruleset.h"
#include "model/source.h"

namespace iptables_exporter {

/// The labels that a rule can be selected and summed by: these, and from first_custom on those of
/// --label, in the order given.
enum LabelId : std::size_t { family, backend, table, chain, rule, comment, target, first_custom };

inline constexpr std::array<std::string_view, LabelId::first_custom> fixed_label_names = {
    "family", "backend", "table", "chain", "rule", "comment", "target"};

/// Whether all rules of a chain have the same value.
constexpr bool is_of_chain(std::size_t id) { return id <= LabelId::chain; }

/// A label of the user's own.
struct CustomLabel {
  std::string name;
  std::shared_ptr<const re2::RE2> regex;  // over the rule's text
};

/// The names of the labels that there are in a run.
class LabelNames {
 public:
  LabelNames(bool has_family, bool has_backend, const std::vector<CustomLabel>& custom_labels);

  std::optional<std::size_t> find(std::string_view name) const;

  /// All of them, for a message.
  std::string listed() const;

 private:
  std::vector<std::string> names_;  // by id; empty: not in this run
};

/// Label values of one rule after the other, as they are written: valid UTF-8. Each is worked out
/// when it is asked for. A value that is no part of the dump is kept in `text`.
class RuleLabels {
 public:
  /// Both must outlive this.
  RuleLabels(const std::vector<CustomLabel>& custom_labels, std::deque<std::string>& text);

  void enter(const Source& source);
  void enter(const Table& table);
  void enter(const Chain& chain);
  void enter(const Rule& rule);

  /// Of a chain's labels once a chain is entered, of all others once a rule is. The view holds as
  /// long as the dump and `text`; the value is worked out at most once a rule.
  std::string_view operator[](std::size_t id);

 private:
  void set(std::size_t id, std::string_view value);
  void find_comment_and_target();
  std::string_view custom_value(const CustomLabel& label);
  std::string_view valid(std::string_view bytes);

  const std::vector<CustomLabel>& custom_labels_;
  std::deque<std::string>& text_;
  const Rule* rule_ = nullptr;
  std::vector<std::string_view> values_;  // by id
  std::vector<bool> is_known_;            // by id
};

}  // namespace iptables_exporter
