#pragma once

#include <poll.h>

#include <chrono>
#include <csignal>
#include <span>
#include <vector>

#include "base/file_io.h"

namespace iptables_exporter {

using Clock = std::chrono::steady_clock;

/// How long a run may take, and since when it runs.
struct TimeLimit {
  std::chrono::duration<double> timeout;
  Clock::time_point started = Clock::now();

  Clock::time_point deadline() const {
    return started + std::chrono::duration_cast<Clock::duration>(timeout);
  }
  /// For what is asked before the commands run, which need the other half.
  Clock::time_point half() const { return started + (deadline() - started) / 2; }
};

/// The deadline, or where that has come, a moment later, in which most hosts answer what is asked.
Clock::time_point deadline_or_moment(Clock::time_point deadline);

/// poll(2) until `end`, however often it is interrupted. Returns and sets errno as that does.
int poll_until(std::span<pollfd> polled, Clock::time_point end);

/// Thrown when a termination signal came: what was begun is undone on the way, and main() ends by
/// it. No std::exception, for no handler of errors may take it for one.
struct Interrupted {
  int signal;
};

/// Holds back SIGHUP, SIGINT, SIGQUIT and SIGTERM for its lifetime, so that there is time to clean
/// up, and SIGCHLD. One that came meanwhile takes its course when this ends: it ends the process.
/// Signals that the process was started to ignore or block (nohup) are left alone.
class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  /// poll(2) until `end`: whether one of these is ready, or a child ended. Throws Interrupted,
  /// std::system_error.
  bool poll_until(std::vector<pollfd>& polled, Clock::time_point end);

  /// Waits this long, or until a child ends. Throws what poll_until() throws.
  void sleep(std::chrono::milliseconds time);

 private:
  sigset_t held_;
  sigset_t before_;
  UniqueFd fd_;  // readable once one of them waits
};

}  // namespace iptables_exporter
