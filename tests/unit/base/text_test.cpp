#include "base/text.h"

#include <doctest/doctest.h>

#include <ostream>
#include <string>

namespace iptables_exporter {

TEST_CASE("invalid UTF-8 becomes U+FFFD, one for each maximal invalid part") {
  struct Row {
    std::string_view bytes;
    std::string_view text;
  };
  using namespace std::string_view_literals;
  const Row rows[] = {
      {"", ""},
      {"plain", "plain"},
      {"long enough to be skipped by words", "long enough to be skipped by words"},
      {"a\0b"sv, "a\0b"sv},
      {"Gr\u00fc\u00dfe \u20ac \U0001F525", "Gr\u00fc\u00dfe \u20ac \U0001F525"},
      {"\xF4\x8F\xBF\xBF", "\U0010FFFF"},
      {"\x80", "\uFFFD"},
      {"12345678\xFFz", "12345678\uFFFDz"},
      {"\xC0\x80", "\uFFFD\uFFFD"},            // overlong
      {"\xC3", "\uFFFD"},                      // cut
      {"\xE2\x82", "\uFFFD"},                  // cut after two of three
      {"\xE2\x82z", "\uFFFDz"},                //
      {"\xE0\x80\x80", "\uFFFD\uFFFD\uFFFD"},  // overlong
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},  // surrogate
      {"\xF0\x9F\x94", "\uFFFD"},              // cut after three of four
      {"\xF0\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},  // past U+10FFFF
      {"\xF5", "\uFFFD"},
      {"\xC3\xC3\xA9", "\uFFFD\u00e9"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    CHECK(to_valid_utf8(std::string(row.bytes)) == row.text);
    CHECK((valid_utf8_prefix(row.bytes) == row.bytes.size()) == (row.bytes == row.text));
  }
}

TEST_CASE("what a terminal could misread is escaped") {
  using namespace std::string_view_literals;
  CHECK(printable("-A INPUT ~ \"x\"") == "-A INPUT ~ \"x\"");
  CHECK(printable("a\nb\tc\r\x1b[31m\x7f\xff\0"sv) == "a\\nb\\tc\\x0d\\x1b[31m\\x7f\\xff\\x00");
  CHECK(printable("\u202e") == "\\xe2\\x80\\xae");
}

TEST_CASE("long text is shortened") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abcdef...");
}

}  // namespace iptables_exporter
