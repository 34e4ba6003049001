#include "rule_words.h"

#include <algorithm>

namespace iptables_exporter {
namespace {

bool is_followed_by_a_name(std::string_view word) {
  return word.size() == 2 && word[0] == '-' &&
         std::string_view("Ajgio").find(word[1]) != std::string_view::npos;
}

/// One past the closing quote of the word that opens at `open`, or npos.
std::size_t end_of_quotes(std::string_view bytes, std::size_t open) {
  std::size_t i = open + 1;
  while ((i = bytes.find_first_of("\"\\", i)) != std::string_view::npos) {
    if (bytes[i] == '"') return i + 1;
    i += 2;
  }
  return std::string_view::npos;
}

}  // namespace

std::optional<std::string_view> RuleWords::next() {
  while (position_ < bytes_.size() && bytes_[position_] == ' ') ++position_;
  if (position_ >= bytes_.size()) return std::nullopt;
  if (bytes_[position_] == '\n') {
    newline_ = position_;
    return std::nullopt;
  }
  const std::size_t begin = position_;
  std::size_t end = begin;
  if (bytes_[begin] == '"' && !next_is_name_) end = end_of_quotes(bytes_, begin);
  if (end != std::string_view::npos) end = bytes_.find_first_of(" \n", end);
  position_ = std::min(end, bytes_.size());
  const std::string_view word = bytes_.substr(begin, position_ - begin);
  next_is_name_ = is_followed_by_a_name(word);
  return word;
}

}  // namespace iptables_exporter
