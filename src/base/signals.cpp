#include "base/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace iptables_exporter {
namespace {

/// Takes the signals that wait. Throws Interrupted.
void take_signals(int signal_fd) {
  signalfd_siginfo signal = {};
  while (::read(signal_fd, &signal, sizeof signal) == sizeof signal) {
    const int number = static_cast<int>(signal.ssi_signo);
    if (number != SIGCHLD) throw Interrupted{number};
  }
}

}  // namespace

Clock::time_point deadline_or_moment(Clock::time_point deadline) {
  return std::max(Clock::now() + std::chrono::milliseconds(100), deadline);
}

int poll_until(std::span<pollfd> polled, Clock::time_point end) {
  int ready = 0;
  do {
    // Rounded up, so that it does not wake just before.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    const auto time = std::clamp<std::int64_t>(left.count(), 0, 1'000'000);
    ready = ::poll(polled.data(), polled.size(), static_cast<int>(time));
  } while (ready < 0 && errno == EINTR);
  return ready;
}

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

bool HeldSignals::poll_until(std::vector<pollfd>& polled, Clock::time_point end) {
  if (!fd_) fd_ = UniqueFd(signalfd(-1, &held_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throw_errno("cannot make a descriptor for", "signals");
  polled.push_back({fd_.get(), POLLIN, 0});
  const int ready = iptables_exporter::poll_until(polled, end);
  if (ready < 0) throw_errno("cannot wait for", "descriptors");
  if (polled.back().revents != 0) take_signals(fd_.get());
  polled.pop_back();
  return ready > 0;
}

void HeldSignals::sleep(std::chrono::milliseconds time) {
  std::vector<pollfd> none;
  poll_until(none, Clock::now() + time);
}

}  // namespace iptables_exporter
