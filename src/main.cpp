#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error_message.h"
#include "base/file_io.h"
#include "base/printable.h"
#include "collect/collector.h"
#include "metrics/exposition.h"
#include "metrics/metrics.h"
#include "options.h"
#include "output/atomic_file.h"
#include "output/last_success.h"

namespace iptables_exporter {
namespace {

enum ExitStatus { ok = 0, collecting_failed = 1, wrong_usage = 2, output_failed = 3 };

enum class Severity { error, warning };

void write_to_stderr(std::string_view text) {
  try {
    write_all(STDERR_FILENO, text, "stderr");
  } catch (const std::system_error&) {
    // There is nobody left to tell.
  }
}

/// sd-daemon(3): the journal takes the priority from the front of a line.
std::string_view priority_of(Severity severity) {
  if (std::getenv("JOURNAL_STREAM") == nullptr) return "";
  return severity == Severity::error ? "<3>" : "<4>";
}

void say(Severity severity, std::string_view text) {
  write_to_stderr(fmt::format("{}iptables_exporter: {}: {}\n", priority_of(severity),
                              severity == Severity::error ? "error" : "warning", printable(text)));
}

void say_what_happened(const std::vector<Collection>& collections) {
  for (const Collection& collection : collections) {
    for (const std::string& warning : collection.warnings) say(Severity::warning, warning);
    if (!collection.ruleset) say(Severity::error, collection.error);
  }
}

/// So that no file we open gets a standard number and takes what is meant for a standard stream.
/// A closed stdout becomes one that cannot be written to, which is then reported.
void fill_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDONLY);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO) ::close(fd);
}

std::vector<Collection> collect_as_told(const Options& options) {
  std::vector<Collection> collections;
  if (options.input) {
    collections.push_back(read_dump(*options.input, options.sources.front()));
  } else {
    collections = collect(options.sources, options.timeout);
  }
  if (!options.allow_empty) require_tables(collections, options.input.has_value());

  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  for (Collection& collection : collections) {
    if (collection.ruleset) {
      collection.last_success = now.count();
    } else if (options.output) {
      collection.last_success = previous_last_success(*options.output, collection.source);
    }
  }
  return collections;
}

void write(const Metrics& metrics, const std::optional<std::string>& path) {
  if (!path) {
    render(metrics, [](std::string_view text) { write_all(STDOUT_FILENO, text, "stdout"); });
    return;
  }
  AtomicFile file(*path);
  render(metrics, [&](std::string_view text) { file.write(text); });
  file.commit();
}

/// `inherited_sigpipe` is what the shell wants to happen when a reader has had enough (`| head`).
int report_output_error(const std::exception& error, sighandler_t inherited_sigpipe) {
  const auto* const system_error = dynamic_cast<const std::system_error*>(&error);
  if (system_error != nullptr && system_error->code() == std::errc::broken_pipe) {
    std::signal(SIGPIPE, inherited_sigpipe);
    std::raise(SIGPIPE);
  }
  say(Severity::error, message_of(error));
  return output_failed;
}

int run(int argc, const char* const* argv) {
  fill_standard_descriptors();
  // Errors of write(2) are told and handled; these signals would end us before.
  const sighandler_t inherited_sigpipe = std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  // Inherited as ignored, it would take the children's exit statuses away.
  std::signal(SIGCHLD, SIG_DFL);

  Options options;
  std::vector<Collection> collections;
  std::size_t omitted_series = 0;
  try {
    options = parse_options(argc, argv);
    if (options.text_to_print) {
      write_all(STDOUT_FILENO, *options.text_to_print, "stdout");
      return ok;
    }
    collections = collect_as_told(options);
    const Metrics metrics = make_metrics(collections, options.rule_series, VERSION);
    omitted_series = metrics.omitted_series;
    write(metrics, options.output);
  } catch (const UsageError& error) {
    say(Severity::error, fmt::format("{} (see iptables_exporter --help)", error.what()));
    for (const std::string& line : error.illustration()) {
      write_to_stderr(fmt::format("{}{}\n", priority_of(Severity::error), line));
    }
    return wrong_usage;
  } catch (const std::exception& error) {
    say_what_happened(collections);
    return report_output_error(error, inherited_sigpipe);
  }
  // After the output: it must not wait for somebody to read stderr.
  say_what_happened(collections);
  if (omitted_series > 0) {
    say(Severity::warning, fmt::format("{} rule series are left out (--max-series {})",
                                       omitted_series, options.rule_series.max_series));
  }
  const bool all_collected =
      std::all_of(collections.begin(), collections.end(),
                  [](const Collection& collection) { return collection.ruleset.has_value(); });
  return all_collected ? ok : collecting_failed;
}

}  // namespace
}  // namespace iptables_exporter

int main(int argc, char** argv) {
  try {
    return iptables_exporter::run(argc, argv);
  } catch (...) {
    // Out of memory for words. The file that stood there still stands.
    return iptables_exporter::output_failed;
  }
}
