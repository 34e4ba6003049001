#include "output/last_success.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <exception>
#include <span>
#include <vector>

#include "base/file_io.h"
#include "base/unique_fd.h"

namespace iptables_exporter {
namespace {

/// Families are written in alphabetical order: only those of built-in chains come before.
constexpr std::size_t max_bytes = 1 << 20;

std::string beginning_of(const std::string& path) {
  // Whoever may write to the directory chooses what is opened here: a FIFO must not block, a link
  // not lead to a device, and only what we or root wrote is believed.
  const UniqueFd file(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat status = {};
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      (status.st_uid != ::geteuid() && status.st_uid != 0)) {
    return "";
  }
  std::string text(max_bytes, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const std::size_t count = read_some(file.get(), std::span(text).subspan(size), path);
    if (count == 0) break;
    size += count;
  }
  text.resize(size);
  return text;
}

/// A series as render() writes it, up to its value, at the beginning of a line.
std::string line_beginning(const Source& source) {
  std::vector<std::string> labels;
  if (source.backend) labels.push_back(fmt::format("backend=\"{}\"", name_of(*source.backend)));
  if (source.family) labels.push_back(fmt::format("family=\"{}\"", name_of(*source.family)));
  if (labels.empty()) return fmt::format("\n{} ", last_success_metric);
  return fmt::format("\n{}{{{}}} ", last_success_metric, fmt::join(labels, ","));
}

}  // namespace

std::optional<double> previous_last_success(const std::string& path, const Source& source) {
  try {
    const std::string text = beginning_of(path);
    const std::string line = line_beginning(source);
    const std::size_t at = text.find(line);
    if (at == std::string::npos) return std::nullopt;
    double seconds = 0;
    const char* const number = text.data() + at + line.size();
    const auto [end, error] = std::from_chars(number, text.data() + text.size(), seconds);
    const bool is_whole = error == std::errc() && end != text.data() + text.size() && *end == '\n';
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    if (is_whole && seconds >= 0 && seconds <= now.count()) return seconds;
  } catch (const std::exception&) {
    // It cannot be read, so it does not say.
  }
  return std::nullopt;
}

}  // namespace iptables_exporter
