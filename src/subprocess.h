#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace iptables_exporter {

struct Subprocess {
  std::string path;                                 // the executable; it is not searched for
  std::vector<std::string> argv;                    // argv[0] included
  std::vector<std::string> environment;             // "NAME=value"; nothing is inherited
  std::function<void(std::string_view)> on_stdout;  // gets its stdout in pieces, as they arrive
};

struct SubprocessResult {
  enum class End { exited, killed, timed_out, not_started };
  End end = End::timed_out;
  int code = 0;             // exited: its status; killed: the signal; not_started: errno
  std::string stderr_text;  // the first 4 KiB; the rest is read and dropped
  std::chrono::duration<double> duration{};
};

/// Runs all of them at once and returns when the last has ended, one result for each.
///
/// Each is the leader of its own process group, with /dev/null as stdin, no other descriptor than
/// 0, 1 and 2, no signal blocked or ignored. It has ended when it is dead and its stdout and stderr
/// are closed, by whatever it left behind too. After `timeout` what still runs is killed with its
/// process group. On SIGHUP, SIGINT, SIGQUIT or SIGTERM all are killed, then this process ends.
///
/// Throws std::system_error, and whatever on_stdout throws; nothing is left running then.
std::vector<SubprocessResult> run_side_by_side(const std::vector<Subprocess>& subprocesses,
                                               std::chrono::duration<double> timeout);

}  // namespace iptables_exporter
