#include "output/messages.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"

namespace iptables_exporter {
namespace {

constexpr std::size_t max_lines = 20;
constexpr std::size_t max_bytes = 4 << 10;
constexpr std::size_t max_line_bytes = 800;  // so that each of four sources can say why it failed
constexpr std::size_t last_line_bytes = 80;  // of finish()

/// Whether stderr is what systemd named in JOURNAL_STREAM, which others may have inherited:
/// systemd.exec(5) says to compare device and inode.
bool stderr_is_the_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat status = {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
         stream == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

/// sd-daemon(3): the journal takes the priority from the front of a line.
std::string_view priority_of(Severity severity) {
  if (!stderr_is_the_journal()) return "";
  return severity == Severity::error ? "<3>" : "<4>";
}

/// Whether stderr took it. What polls writable takes a line of this length at once.
bool write_in_time(std::string_view line) {
  while (!line.empty()) {
    pollfd waited = {STDERR_FILENO, POLLOUT, 0};
    if (::poll(&waited, 1, 1000) == 0) return false;
    const ssize_t count = ::write(STDERR_FILENO, line.data(), line.size());
    if (count <= 0) return false;
    line.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

void Messages::say(Severity severity, std::string_view text) {
  print(severity,
        severity == Severity::error ? "iptables_exporter: error: " : "iptables_exporter: warning: ",
        text);
}

void Messages::illustrate(std::string_view line) { print(Severity::error, "", line); }

void Messages::finish() {
  if (left_out_ == 0 || is_stuck_) return;
  write_in_time(fmt::format("{}iptables_exporter: warning: {} left out\n",
                            priority_of(Severity::warning),
                            counted(static_cast<double>(left_out_), "more message")));
}

void Messages::print(Severity severity, std::string_view beginning, std::string_view text) {
  std::string line = fmt::format("{}{}{}", priority_of(severity), beginning, printable(text));
  if (line.size() > max_line_bytes) {
    const std::size_t rest = line.size() - max_line_bytes;
    line.resize(max_line_bytes);
    line += fmt::format("... ({} more bytes)", rest);
  }
  line += '\n';
  if (is_stuck_ || std::find(printed_.begin(), printed_.end(), line) != printed_.end()) return;
  if (printed_.size() + 1 == max_lines || bytes_ + line.size() > max_bytes - last_line_bytes) {
    ++left_out_;
    return;
  }
  bytes_ += line.size();
  is_stuck_ = !write_in_time(line);
  printed_.push_back(std::move(line));
}

}  // namespace iptables_exporter
