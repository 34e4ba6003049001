#include "exposition_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <set>

namespace iptables_exporter {
namespace {

void require(bool holds, const char* expected) {
  if (!holds) throw MalformedExposition(expected);
}

/// By decoding each code point and looking whether it needed that many bytes.
bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned char lead = byte(i++);
    if (lead < 0x80) continue;
    const int more = lead >> 5 == 0b110     ? 1
                     : lead >> 4 == 0b1110  ? 2
                     : lead >> 3 == 0b11110 ? 3
                                            : 0;
    if (more == 0) return false;
    std::uint32_t code_point = lead & (0x3FU >> more);
    for (int n = 0; n < more; ++n) {
      if (i == text.size() || byte(i) >> 6 != 0b10) return false;
      code_point = code_point << 6 | (byte(i++) & 0x3FU);
    }
    constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code_point < least[more] || code_point > 0x10FFFF) return false;
    if (code_point >= 0xD800 && code_point <= 0xDFFF) return false;
  }
  return true;
}

bool is_name(std::string_view name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  constexpr std::string_view digits = "0123456789";
  return !name.empty() && letters.find(name.front()) != letters.npos &&
         std::all_of(name.begin(), name.end(), [&](char letter) {
           return letters.find(letter) != letters.npos || digits.find(letter) != digits.npos;
         });
}

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  Families read() {
    require(is_utf8(rest_), "valid UTF-8");
    Families families;
    while (!rest_.empty()) {
      take("# HELP ");
      const std::string name(take_until(' '));
      require(is_name(name), "a metric name");
      require(families.empty() || families.rbegin()->first < name, "families in order, each once");
      read_help(take_until('\n'));
      take("# TYPE ");
      take(name);
      take(" ");
      const std::string_view type = take_until('\n');
      require(type == "counter" || type == "gauge", "counter or gauge");
      families[name] = read_samples(name, type == "counter");
    }
    return families;
  }

 private:
  static void read_help(std::string_view help) {
    require(!help.empty() && help.find('\\') == help.npos, "a HELP text without escapes");
  }

  std::vector<Sample> read_samples(const std::string& name, bool is_counter) {
    std::vector<Sample> samples;
    std::set<std::string_view> label_sets;  // as written: every value can be written in one way
    while (!rest_.empty() && !rest_.starts_with('#')) {
      Sample sample;
      take(name);
      const char* const begin = rest_.data();
      if (rest_.starts_with('{')) read_labels(sample);
      require(label_sets.emplace(begin, rest_.data() - begin).second, "distinct label sets");
      take(" ");
      sample.value = take_until('\n');
      require_value(sample.value, is_counter);
      require(samples.empty() || have_same_names(samples.front(), sample), "the same label names");
      samples.push_back(std::move(sample));
    }
    require(!samples.empty(), "a sample");
    return samples;
  }

  void read_labels(Sample& sample) {
    take("{");
    while (true) {
      const std::string name(take_until('='));
      require(is_name(name) && !name.starts_with("__"), "a label name");
      require(sample.labels.empty() || sample.labels.back().first < name, "label names in order");
      take("\"");
      sample.labels.emplace_back(name, read_value());
      if (rest_.starts_with('}')) break;
      take(",");
    }
    take("}");
  }

  /// What stands before the closing quote, and takes that too.
  std::string read_value() {
    std::string value;
    while (true) {
      require(!rest_.empty() && rest_.front() != '\n', "a closing quote");
      const char byte = rest_.front();
      rest_.remove_prefix(1);
      if (byte == '"') return value;
      if (byte != '\\') {
        value += byte;
        continue;
      }
      const char escaped = rest_.empty() ? '\0' : rest_.front();
      require(escaped == '\\' || escaped == '"' || escaped == 'n', "a known escape");
      value += escaped == 'n' ? '\n' : escaped;
      rest_.remove_prefix(1);
    }
  }

  static void require_value(std::string_view text, bool is_counter) {
    const char* const end = text.data() + text.size();
    std::from_chars_result result{};
    if (is_counter) {
      std::uint64_t value = 0;
      result = std::from_chars(text.data(), end, value);
    } else {
      double value = 0;
      result = std::from_chars(text.data(), end, value);
      require(std::isfinite(value), "a finite value");
    }
    require(result.ec == std::errc() && result.ptr == end, "a value");
  }

  static bool have_same_names(const Sample& a, const Sample& b) {
    return std::equal(a.labels.begin(), a.labels.end(), b.labels.begin(), b.labels.end(),
                      [](const auto& x, const auto& y) { return x.first == y.first; });
  }

  void take(std::string_view expected) {
    require(rest_.starts_with(expected), "something else");
    rest_.remove_prefix(expected.size());
  }

  /// What stands before `end`, which is taken too.
  std::string_view take_until(char end) {
    const std::size_t at = rest_.find(end);
    require(at != rest_.npos, end == '\n' ? "a newline at the end" : "more");
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(at + 1);
    return taken;
  }

  std::string_view rest_;
};

}  // namespace

Families read_exposition(std::string_view text) { return Reader(text).read(); }

}  // namespace iptables_exporter
