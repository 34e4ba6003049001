#include <doctest/doctest.h>

#include <algorithm>
#include <ostream>
#include <set>

#include "dump/save_parser.h"
#include "metrics/exposition.h"
#include "metrics/metrics.h"
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

Ruleset parse(const fs::path& path) {
  SaveParser parser;
  parser.feed(read_file(path));
  return parser.finish();
}

}  // namespace

TEST_CASE("golden files") {
  const auto dumps = dumps_in(FIXTURES);
  CHECK(dumps.size() >= 10);
  for (const fs::path& dump : dumps) {
    std::vector<Collection> collections(1);
    collections[0].ruleset = parse(dump);
    collections[0].duration = std::chrono::duration<double>(0.001509662);
    collections[0].last_success = 1700000000;
    std::string text;
    render(make_metrics(collections, rule_series(ready_labels({})), "0.0.0"),
           [&](std::string_view piece) { text += piece; });
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
      parse(dump);
    } catch (const ParseError& parse_error) {
      error = parse_error.what();
    }
    CHECK(!error.empty());
    check_golden(fs::path(dump).replace_extension(".error"), error + "\n");
  }
}

}  // namespace iptables_exporter
