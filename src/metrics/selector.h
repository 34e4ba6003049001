#pragma once

#include <re2/re2.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/rule_labels.h"

namespace iptables_exporter {

/// An expression is not what it should be. what() says what was expected, and may quote any of it.
class ExpressionError : public std::runtime_error {
 public:
  ExpressionError(const std::string& expected, std::size_t position)
      : std::runtime_error(expected), position_(position) {}

  /// Where in the expression, in bytes.
  std::size_t position() const { return position_; }

 private:
  std::size_t position_;
};

/// One condition on one label, as table="filter".
class Matcher {
 public:
  Matcher(std::size_t label, bool is_negated, std::string value)
      : label_(label), is_negated_(is_negated), value_(std::move(value)) {}
  Matcher(std::size_t label, bool is_negated, std::shared_ptr<const re2::RE2> regex)
      : label_(label), is_negated_(is_negated), regex_(std::move(regex)) {}

  std::size_t label() const { return label_; }
  bool matches(std::string_view value) const;

 private:
  std::size_t label_;
  bool is_negated_;
  std::string value_;
  std::shared_ptr<const re2::RE2> regex_;  // null: the value must be equal
};

/// A rule is selected if all matchers match.
using Selector = std::vector<Matcher>;

/// Parses a PromQL series selector without a metric name:
///
///   selector = "{" [ matcher { "," matcher } [ "," ] ] "}"
///   matcher  = NAME ( "=" | "!=" | "=~" | "!~" ) STRING
///   STRING   = in double or single quotes with the escapes of Go, or in back quotes without any
///
/// with white space anywhere between. Regular expressions are RE2's, match whole values, and `.`
/// matches newlines too. Throws ExpressionError.
/// Source: https://prometheus.io/docs/prometheus/latest/querying/basics/
Selector parse_selector(std::string_view text, const LabelNames& names);

/// Parses a list of labels to sum by: names separated by commas, or nothing. Throws
/// ExpressionError.
std::vector<std::size_t> parse_sum_by(std::string_view text, const LabelNames& names);

/// Parses NAME=REGEX. `names` are those taken already. Throws ExpressionError.
CustomLabel parse_label(std::string_view text, const LabelNames& names);

}  // namespace iptables_exporter
