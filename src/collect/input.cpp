#include "collect/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <optional>

#include "base/error_message.h"
#include "base/file_io.h"
#include "base/signals.h"
#include "base/unique_fd.h"
#include "collect/dump_reader.h"
#include "collect/outcome.h"

namespace iptables_exporter {
namespace {

using Clock = std::chrono::steady_clock;

/// Returns false if the input did not end in time.
bool read_until(Clock::time_point deadline, DumpReader& reader, const std::string& path,
                const std::string& name) {
  UniqueFd file;
  if (path != "-") {
    // Opening a FIFO that nobody writes to would block; reading it would be its end.
    file = UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file) throw_errno("cannot open", path);
  }
  const HeldSignals held_signals;
  const UniqueFd signal_fd = held_signals.make_fd();
  std::array<pollfd, 2> polled = {
      {{signal_fd.get(), POLLIN, 0}, {file ? file.get() : STDIN_FILENO, POLLIN, 0}}};
  std::vector<char> buffer(64 << 10);
  while (!reader.has_failed()) {
    if (!poll_until(polled, deadline)) return false;
    if (polled[1].revents == 0) continue;
    const ssize_t count = ::read(polled[1].fd, buffer.data(), buffer.size());
    if (count == 0) break;
    if (count > 0) {
      reader.feed({buffer.data(), static_cast<std::size_t>(count)});
    } else if (errno != EAGAIN && errno != EINTR) {
      throw_errno("cannot read", name);
    }
  }
  return true;
}

}  // namespace

std::vector<Collection> read_dump(const std::string& path, const Source& source,
                                  std::chrono::duration<double> timeout, bool allow_empty) {
  const Clock::time_point started = Clock::now();
  std::vector<Collection> collections(1);
  Collection& collection = collections.front();
  collection.source = source;
  collection.name = path == "-" ? "stdin" : path;
  try {
    DumpReader reader;
    const auto deadline = started + std::chrono::duration_cast<Clock::duration>(timeout);
    if (read_until(deadline, reader, path, collection.name)) {
      collection.ruleset = reader.finish(collection.error);
    } else {
      collection.error = fmt::format("did not end within {} seconds (--timeout)", timeout.count());
    }
    if (!collection.ruleset) collection.error = collection.name + ": " + collection.error;
  } catch (const std::exception& error) {
    collection.error = message_of(error);
  }
  collection.duration = Clock::now() - started;
  if (!allow_empty) require_tables(collections);
  return collections;
}

}  // namespace iptables_exporter
