#include "collect/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "base/error_message.h"
#include "base/file_io.h"
#include "base/unique_fd.h"
#include "collect/dump_reader.h"
#include "collect/outcome.h"

namespace iptables_exporter {
namespace {

void read_into(DumpReader& reader, const std::string& path, const std::string& name) {
  UniqueFd file;
  if (path != "-") {
    file = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw_errno("cannot open", path);
  }
  constexpr std::size_t buffer_bytes = 64 << 10;
  const auto buffer = std::make_unique_for_overwrite<char[]>(buffer_bytes);
  while (!reader.has_failed()) {
    const std::size_t count =
        read_some(file ? file.get() : STDIN_FILENO, {buffer.get(), buffer_bytes}, name);
    if (count == 0) break;
    reader.feed({buffer.get(), count});
  }
}

}  // namespace

std::vector<Collection> read_dump(const std::string& path, const Source& source, bool allow_empty) {
  const auto started = std::chrono::steady_clock::now();
  std::vector<Collection> collections(1);
  Collection& collection = collections.front();
  collection.source = source;
  collection.name = path == "-" ? "stdin" : path;
  try {
    DumpReader reader;
    read_into(reader, path, collection.name);
    collection.ruleset = reader.finish(collection.error);
    if (!collection.ruleset) collection.error = collection.name + ": " + collection.error;
  } catch (const std::exception& error) {
    collection.error = message_of(error);
  }
  collection.duration = std::chrono::steady_clock::now() - started;
  if (!allow_empty) require_tables(collections);
  return collections;
}

}  // namespace iptables_exporter
