#include "metrics/label_sets.h"

#include <doctest/doctest.h>

#include <array>
#include <ostream>
#include <string>

namespace iptables_exporter {

TEST_CASE("label sets are distinct and keep the order of their first appearance") {
  LabelSets sets({"chain", "rule"});
  const auto add = [&](std::string_view chain, std::string_view rule) {
    return sets.find_or_add(std::array{chain, rule});
  };
  CHECK(add("a", "b") == 0);
  CHECK(add("ab", "") == 1);
  CHECK(add("", "ab") == 2);
  CHECK(add("a", "b") == 0);
  CHECK(add("", "ab") == 2);
  CHECK(sets.size() == 3);
  CHECK(sets.values(1)[0] == "ab");
  CHECK(sets.values(1)[1] == "");
}

TEST_CASE("many label sets are found again") {
  constexpr std::size_t count = 10'000;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) texts.push_back(std::to_string(i));
  for (const std::size_t reserved : {std::size_t{0}, std::size_t{1}, count}) {
    LabelSets sets({"rule"});
    sets.reserve(reserved);
    for (int round = 0; round < 2; ++round) {
      for (std::size_t i = 0; i < count; ++i) {
        CHECK(sets.find_or_add(std::array{std::string_view(texts[i])}) == i);
      }
    }
    CHECK(sets.size() == count);
  }
}

TEST_CASE("without labels there is one label set") {
  LabelSets sets({});
  CHECK(sets.find_or_add({}) == 0);
  CHECK(sets.find_or_add({}) == 0);
  CHECK(sets.size() == 1);
  CHECK(sets.values(0).empty());
}

}  // namespace iptables_exporter
