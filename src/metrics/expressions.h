#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/labels.h"
#include "metrics/selector.h"

namespace iptables_exporter {

// What the options --select, --sum-by and --label say.

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

/// Parses a PromQL series selector without a metric name:
///
///   selector = "{" [ matcher { "," matcher } [ "," ] ] "}"
///   matcher  = NAME ( "=" | "!=" | "=~" | "!~" ) STRING
///   STRING   = in double or single quotes with the escapes of Go, none of them octal, or in
///              back quotes without any
///
/// with white space anywhere between. Regular expressions are RE2's, match whole values, and `.`
/// matches newlines too. Throws ExpressionError.
/// Source: https://prometheus.io/docs/prometheus/latest/querying/basics/
Selector parse_selector(std::string_view text, const std::vector<Label>& labels);

/// What stands between the commas, without the white space around it.
std::vector<std::string_view> list_items(std::string_view text);

/// Parses a list of labels to sum by: names separated by commas, or nothing. Throws
/// ExpressionError.
std::vector<Label> parse_sum_by(std::string_view text, const std::vector<Label>& labels);

/// Parses NAME=REGEX. `labels` are those whose names are taken, but for those of a rule's options
/// (sport and so on), which the new one may replace. Throws ExpressionError.
Label parse_label(std::string_view text, const std::vector<Label>& labels);

}  // namespace iptables_exporter
