#include "base/printable.h"

#include <doctest/doctest.h>

#include <ostream>

namespace iptables_exporter {

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
