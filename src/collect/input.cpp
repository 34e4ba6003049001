#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <optional>
#include <system_error>
#include <vector>

#include "base/file_io.h"
#include "base/signals.h"
#include "base/text.h"
#include "collect/collector.h"
#include "dump/dump_parser.h"

namespace iptables_exporter {
namespace {

/// Nothing if the input did not end in time.
std::optional<Ruleset> read_until(Clock::time_point deadline, const std::string& path,
                                  const std::string& name, RuleSink& sink) {
  UniqueFd file;
  if (path != "-") {
    // Opening a FIFO that nobody writes to would block; reading it would be its end.
    file = UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file) throw_errno("cannot open", path);
  }
  HeldSignals held_signals;
  std::vector<pollfd> polled = {{file ? file.get() : STDIN_FILENO, POLLIN, 0}};
  std::vector<char> buffer(64 << 10);
  DumpParser parser(sink);
  while (held_signals.poll_until(polled, deadline)) {
    if (polled[0].revents == 0) continue;
    const ssize_t count = ::read(polled[0].fd, buffer.data(), buffer.size());
    if (count == 0) return parser.finish();
    if (count > 0) {
      parser.feed({buffer.data(), static_cast<std::size_t>(count)});
    } else if (errno != EAGAIN && errno != EINTR) {
      throw_errno("cannot read", name);
    }
  }
  return std::nullopt;
}

}  // namespace

Evidence read_dump(const std::string& path, const Source& source, RuleSink& sink,
                   const TimeLimit& limit) {
  Evidence evidence;
  Attempt& attempt = evidence.attempts.emplace_back();
  Collection& collection = attempt.collection;
  collection.source = source;
  collection.name = path == "-" ? "stdin" : path;
  try {
    collection.ruleset = read_until(limit.deadline(), path, collection.name, sink);
    if (collection.ruleset) {
      attempt.result.status = 0;
    } else {
      attempt.result.failure = fmt::format("{}: did not end within {} (--timeout)", collection.name,
                                           counted(limit.timeout.count(), "second"));
    }
  } catch (const std::system_error& error) {
    attempt.result.failure = error.what();
  } catch (const std::exception& error) {
    attempt.result.failure = fmt::format("{}: {}", collection.name, message_of(error));
  }
  collection.duration = Clock::now() - limit.started;
  attempt.ended = std::chrono::system_clock::now();
  return evidence;
}

}  // namespace iptables_exporter
