#include "base/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <ctime>

#include "base/file_io.h"

namespace iptables_exporter {

HeldSignals::HeldSignals() {
  sigprocmask(SIG_BLOCK, nullptr, &before_);
  sigemptyset(&held_);
  sigaddset(&held_, SIGCHLD);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    // Held back, even an ignored signal would wake the descriptor.
    if (action.sa_handler != SIG_IGN && sigismember(&before_, number) == 0) {
      sigaddset(&held_, number);
    }
  }
  sigprocmask(SIG_BLOCK, &held_, nullptr);
}

HeldSignals::~HeldSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

UniqueFd HeldSignals::make_fd() const {
  UniqueFd fd(signalfd(-1, &held_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) throw_errno("cannot make a descriptor for", "signals");
  return fd;
}

void take_signals(const UniqueFd& signal_fd) {
  signalfd_siginfo signal = {};
  while (::read(signal_fd.get(), &signal, sizeof signal) == sizeof signal) {
    const int number = static_cast<int>(signal.ssi_signo);
    if (number != SIGCHLD) throw Interrupted{number};
  }
}

void rest(const UniqueFd& signal_fd, std::chrono::milliseconds time) {
  pollfd polled = {signal_fd.get(), POLLIN, 0};
  ::poll(&polled, 1, static_cast<int>(time.count()));
  take_signals(signal_fd);
}

void wait_for_sigchld(std::chrono::milliseconds time) {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  const timespec wait = {seconds.count(), std::chrono::nanoseconds(time - seconds).count()};
  sigtimedwait(&children, nullptr, &wait);
}

}  // namespace iptables_exporter
