#include <doctest/doctest.h>

#include <algorithm>
#include <ostream>
#include <set>

#include "pages.h"
#include "rule_series.h"
#include "support.h"

// fixtures/NAME.save is what iptables-save printed, NAME.prom what becomes of it.
// fixtures/broken/NAME.save is a dump with one defect, NAME.error the message.
// UPDATE_GOLDEN=1 in the environment writes the .prom and .error files anew: read the diff.

namespace iptables_exporter {
namespace {

namespace fs = std::filesystem;

std::set<fs::path> dumps_in(const fs::path& directory) {
  std::set<fs::path> dumps;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == ".save") dumps.insert(entry.path());
  }
  return dumps;
}

void check_golden(const fs::path& path, const std::string& text) {
  CAPTURE(path);
  if (std::getenv("UPDATE_GOLDEN") != nullptr) write_file(path, text);
  CHECK(text == read_file(path));
}

}  // namespace

TEST_CASE("golden files") {
  const auto dumps = dumps_in(FIXTURES);
  CHECK(dumps.size() >= 10);
  for (const fs::path& dump : dumps) {
    Dumped one = dumped(read_file(dump));
    one.duration = std::chrono::duration<double>(0.001509662);
    one.last_success = 1700000000;
    const std::string text = page_of({one}, rule_series(ready_labels({})), {}, "0.0.0");
    check_golden(fs::path(dump).replace_extension(".prom"), text);
  }
}

TEST_CASE("broken dumps") {
  const auto dumps = dumps_in(FIXTURES "/broken");
  CHECK(dumps.size() >= 20);
  for (const fs::path& dump : dumps) {
    CAPTURE(dump);
    std::string error;
    try {
      dumped(read_file(dump));
    } catch (const ParseError& parse_error) {
      error = parse_error.what();
    }
    CHECK(!error.empty());
    check_golden(fs::path(dump).replace_extension(".error"), error + "\n");
  }
}

}  // namespace iptables_exporter
