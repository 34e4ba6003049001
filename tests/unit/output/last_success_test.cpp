#include "output/last_success.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <ostream>

#include "support.h"

namespace iptables_exporter {

TEST_CASE("the last success is read from what an earlier run wrote") {
  struct Row {
    std::string_view text;
    Source source;
    std::optional<double> seconds;
  };
  const Row rows[] = {
      {"", {}, {}},
      {"# HELP\niptables_last_success_timestamp_seconds 1700000000.5\n", {}, 1700000000.5},
      {"# HELP\niptables_last_success_timestamp_seconds{family=\"ipv6\"} 17\n",
       {Family::ipv6, {}},
       17},
      {"x\niptables_last_success_timestamp_seconds{backend=\"nft\",family=\"ipv4\"} 18\n",
       {Family::ipv4, Backend::nft},
       18},
      {"x\niptables_last_success_timestamp_seconds{backend=\"legacy\"} 19\n",
       {{}, Backend::legacy},
       19},
      {"x\niptables_last_success_timestamp_seconds{family=\"ipv6\"} 17\n", {}, {}},
      {"x\niptables_last_success_timestamp_seconds 17\n", {Family::ipv6, {}}, {}},
      {"x\nxiptables_last_success_timestamp_seconds 17\n", {}, {}},
      {"x\niptables_last_success_timestamp_seconds 17", {}, {}},
      {"x\niptables_last_success_timestamp_seconds NaN\n", {}, {}},
      {"x\niptables_last_success_timestamp_seconds inf\n", {}, {}},
      {"x\niptables_last_success_timestamp_seconds -1\n", {}, {}},
      {"x\niptables_last_success_timestamp_seconds 1e999\n", {}, {}},
      {"x\niptables_last_success_timestamp_seconds 2000000000\n", {}, 2e9},
      {"x\niptables_last_success_timestamp_seconds 2000000000.1\n", {}, {}},  // the future
      {"x\niptables_last_success_timestamp_seconds 17 18\n", {}, {}},
  };
  const TemporaryDirectory directory;
  const std::string path = directory / "old.prom";
  for (const Row& row : rows) {
    CAPTURE(row.text);
    write_file(path, row.text);
    CHECK(previous_last_success(path, row.source, 2e9) == row.seconds);
  }
}

TEST_CASE("a page is newer if any source of it was collected later, and not in the future") {
  const std::string name = "x\niptables_last_success_timestamp_seconds";
  struct Row {
    std::string text;
    bool is_later;
  };
  const Row rows[] = {
      {"", false},
      {name + " 16\n", false},
      {name + " 17\n", false},
      {name + " 17.25\n", true},
      {name + " 18\n", true},
      {name + " 18.25\n", false},
      {name + " 1e300\n", false},
      {name + " NaN\n", false},
      {name + " inf\n", false},
      {name + " 18", false},
      {name + "{netns=\"a 9 b\"} 18\n", true},
      {name + "{family=\"ipv4\"} 16\n" + name.substr(2) + "{family=\"ipv6\"} 18\n", true},
      {name + "{family=\"ipv4\"} 20\n" + name.substr(2) + "{family=\"ipv6\"} 18\n", true},
      {"x\niptables_default_packets_total 18\n", false},
  };
  const TemporaryDirectory directory;
  const std::string path = directory / "old.prom";
  CHECK(!has_later_success(path, 17, 18));
  for (const Row& row : rows) {
    CAPTURE(row.text);
    write_file(path, row.text);
    CHECK(has_later_success(path, 17, 18) == row.is_later);
  }
}

TEST_CASE("whatever else stands there says nothing, at once") {
  const TemporaryDirectory directory;
  CHECK(previous_last_success(directory / "missing.prom", {}, 2e9) == std::nullopt);
  CHECK(previous_last_success(directory.path().string(), {}, 2e9) == std::nullopt);
  CHECK(previous_last_success("/dev/zero", {}, 2e9) == std::nullopt);
  const std::string fifo = directory / "fifo.prom";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(previous_last_success(fifo, {}, 2e9) == std::nullopt);
  const std::string huge = directory / "huge.prom";
  write_file(huge, "");
  std::filesystem::resize_file(huge, std::uintmax_t{1} << 40);
  CHECK(previous_last_success(huge, {}, 2e9) == std::nullopt);
}

}  // namespace iptables_exporter
