#include "fuzz_input.h"

#include <algorithm>
#include <charconv>

namespace iptables_exporter {
namespace {

constexpr std::size_t max_expressions = 4;

}  // namespace

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Input read_input(std::string_view bytes) {
  Input input;
  while (bytes.starts_with("--")) {
    std::size_t end = bytes.find('\n');
    while (end != bytes.npos && bytes.substr(end + 1).starts_with(' ')) {
      end = bytes.find('\n', end + 1);
    }
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(line.size() + 1, bytes.size()));
    const std::string_view name = line.substr(0, line.find(' '));
    const std::string_view value = line.substr(std::min(name.size() + 1, line.size()));
    if (name == "--select" && input.selectors.size() < max_expressions) {
      input.selectors.push_back(value);
    } else if (name == "--hash" && input.hashes.size() < max_expressions) {
      input.hashes.push_back(value);
    } else if (name == "--label" && input.labels.size() < max_expressions) {
      input.labels.push_back(value);
    } else if (name == "--sum-by") {
      input.sum_by = value;
    } else if (name == "--max-series") {
      input.max_series = number(value);
    } else if (name == "--family") {
      input.has_family = true;
    } else if (name == "--backend") {
      input.has_backend = true;
    } else if (name == "--netns") {
      input.netns = value;
    } else if (name == "--hostile") {
      input.is_hostile_text = true;
    } else if (name == "--nft-answer") {
      input.is_nft_answer = true;
    } else if (name == "--sets-answer") {
      input.is_sets_answer = true;
    } else if (name == "--piece") {
      input.piece_bytes = std::max<std::size_t>(number(value), 1);
    }
  }
  input.dump = bytes;
  return input;
}

}  // namespace iptables_exporter
