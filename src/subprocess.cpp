#include "subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include "file_io.h"
#include "termination_signals.h"
#include "unique_fd.h"

namespace iptables_exporter {
namespace {

using Clock = std::chrono::steady_clock;
using End = SubprocessResult::End;

constexpr std::size_t max_stderr_bytes = 4 << 10;
constexpr int grace_milliseconds = 1000;  // in which what was killed is expected to die
constexpr int pipe_bytes = 1 << 20;       // what users may have without privileges

// Woken by every 4 KiB of a long output, we would slow down who writes it. Once there is much of
// it, some is left to gather in the pipe.
constexpr std::size_t much_output_bytes = 256 << 10;
constexpr auto gathering_time = std::chrono::milliseconds(1);

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("cannot make a", "pipe");
  ::fcntl(ends[0], F_SETPIPE_SZ, pipe_bytes);  // or it stays smaller, which is only slower
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  // posix_spawn takes char* for C's sake and does not write through it.
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

/// Starts it; returns 0 or an error number.
int spawn(const Subprocess& subprocess, int stdout_fd, int stderr_fd, pid_t& pid) {
  // Any of these may run out of memory, and none may be left out.
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  if (const int error = posix_spawn_file_actions_init(&actions)) return error;
  if (const int error = posix_spawnattr_init(&attributes)) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  int error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
  if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (error == 0) error = posix_spawnattr_setpgroup(&attributes, 0);
  if (error == 0) {
    error = posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  if (error == 0) {
    error = ::posix_spawn(&pid, subprocess.path.c_str(), &actions, &attributes,
                          pointers_to(subprocess.argv).data(),
                          pointers_to(subprocess.environment).data());
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/// A subprocess from start to reaping. Kills and reaps it if it is destroyed before.
class Running {
 public:
  explicit Running(const Subprocess& subprocess)
      : subprocess_(&subprocess), started_(Clock::now()) {
    guarded([&] {
      Pipe out = make_pipe();
      Pipe err = make_pipe();
      errno = spawn(subprocess, out.write_end.get(), err.write_end.get(), pid_);
      if (errno != 0) {
        pid_ = 0;
        throw_errno("cannot run", subprocess.path);
      }
      stdout_ = std::move(out.read_end);
      stderr_ = std::move(err.read_end);
      exit_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
      if (!exit_) throw_errno("cannot watch", subprocess.path);
    });
  }
  Running(Running&& other) noexcept
      : subprocess_(other.subprocess_),
        started_(other.started_),
        pid_(std::exchange(other.pid_, 0)),
        stdout_(std::move(other.stdout_)),
        stdout_bytes_(other.stdout_bytes_),
        stderr_(std::move(other.stderr_)),
        exit_(std::move(other.exit_)),
        result_(std::move(other.result_)) {}
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  Running& operator=(Running&&) = delete;
  ~Running() { kill_and_reap(); }

  bool is_over() const { return pid_ == 0; }
  bool is_in_long_output() const { return stdout_ && stdout_bytes_ >= much_output_bytes; }

  /// What to poll: its stdout, its stderr and its death.
  std::array<pollfd, 3> polled() const {
    return {pollfd{stdout_.get(), POLLIN, 0}, {stderr_.get(), POLLIN, 0}, {exit_.get(), POLLIN, 0}};
  }

  /// Takes what is there. `ready` are those of polled() after poll().
  void proceed(std::span<const pollfd> ready, std::span<char> buffer) {
    guarded([&] {
      if (ready[0].revents != 0) read_stdout(buffer);
      if (ready[1].revents != 0) read_stderr(buffer);
      if (ready[2].revents != 0) exit_.close();
      if (!stdout_ && !stderr_ && !exit_) reap();
    });
  }

  SubprocessResult take_result() {
    kill_and_reap();
    return std::move(result_);
  }

 private:
  /// What goes wrong with this one is its result, and no other's.
  template <typename Action>
  void guarded(const Action& action) {
    try {
      action();
    } catch (const std::system_error& error) {
      kill_and_reap();
      stdout_.close();  // poll() must not wake for them
      stderr_.close();
      exit_.close();
      result_.end = End::not_run;
      result_.code = error.code().value();
    }
  }

  void read_stdout(std::span<char> buffer) {
    const std::size_t count = read_some(stdout_.get(), buffer, subprocess_->path);
    if (count == 0) return stdout_.close();
    stdout_bytes_ += count;
    subprocess_->on_stdout({buffer.data(), count});
  }

  void read_stderr(std::span<char> buffer) {
    const std::size_t count = read_some(stderr_.get(), buffer, subprocess_->path);
    if (count == 0) return stderr_.close();
    const std::size_t room = max_stderr_bytes - result_.stderr_text.size();
    result_.stderr_text.append(buffer.data(), std::min(count, room));
  }

  void reap() {
    const std::optional<int> waited = wait();
    if (!waited) throw_errno("cannot learn the exit status of", subprocess_->path);
    const int status = *waited;
    result_.end = WIFEXITED(status) ? End::exited : End::killed;
    result_.code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
  }

  void kill_and_reap() {
    if (pid_ == 0) return;
    ::kill(-pid_, SIGKILL);
    pollfd dead = {exit_.get(), POLLIN, 0};
    if (exit_ && ::poll(&dead, 1, grace_milliseconds) == 0) {
      pid_ = 0;  // stuck in the kernel: init will reap it
      result_.duration = Clock::now() - started_;
    } else {
      wait();
    }
  }

  /// Its status as of waitpid(), or nothing and errno.
  std::optional<int> wait() {
    result_.duration = Clock::now() - started_;
    int status = 0;
    pid_t waited = -1;
    do {
      waited = ::waitpid(pid_, &status, 0);
    } while (waited < 0 && errno == EINTR);
    pid_ = 0;
    return waited < 0 ? std::nullopt : std::optional(status);
  }

  const Subprocess* subprocess_;
  Clock::time_point started_;
  pid_t pid_ = 0;  // also of its process group; not reaped before the end, so it cannot be reused
  UniqueFd stdout_;
  std::size_t stdout_bytes_ = 0;
  UniqueFd stderr_;
  UniqueFd exit_;
  SubprocessResult result_;
};

/// For poll(): rounded up, so that it does not wake just before the deadline.
int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
}

}  // namespace

std::vector<SubprocessResult> run_side_by_side(const std::vector<Subprocess>& subprocesses,
                                               std::chrono::duration<double> timeout) {
  const HeldTerminationSignals held_signals;
  const UniqueFd signal_fd = held_signals.make_fd();
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout);
  std::vector<Running> running;
  running.reserve(subprocesses.size());
  for (const Subprocess& subprocess : subprocesses) running.emplace_back(subprocess);

  constexpr std::size_t buffer_bytes = 256 << 10;
  const auto memory = std::make_unique_for_overwrite<char[]>(buffer_bytes);
  const std::span<char> buffer(memory.get(), buffer_bytes);
  std::vector<pollfd> polled;
  for (;;) {
    polled.assign(1, {signal_fd.get(), POLLIN, 0});
    bool all_over = true;
    for (const Running& one : running) {
      const auto fds = one.polled();
      polled.insert(polled.end(), fds.begin(), fds.end());
      all_over = all_over && one.is_over();
    }
    if (std::any_of(running.begin(), running.end(),
                    [](const Running& one) { return one.is_in_long_output(); })) {
      std::this_thread::sleep_for(gathering_time);
    }
    const int milliseconds = milliseconds_until(deadline);
    if (all_over || milliseconds == 0) break;
    if (::poll(polled.data(), polled.size(), milliseconds) < 0 && errno != EINTR) {
      throw_errno("cannot poll", "iptables-save");
    }
    if (polled[0].revents != 0) break;
    for (std::size_t i = 0; i < running.size(); ++i) {
      if (running[i].is_over()) continue;
      running[i].proceed(std::span(polled).subspan(1 + 3 * i, 3), buffer);
    }
  }

  std::vector<SubprocessResult> results;
  results.reserve(running.size());
  for (Running& one : running) results.push_back(one.take_result());
  return results;
}

}  // namespace iptables_exporter
