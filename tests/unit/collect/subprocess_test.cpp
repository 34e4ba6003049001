#include "collect/subprocess.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>

#include <csignal>
#include <fstream>
#include <ostream>
#include <thread>
#include <variant>

#include "base/signals.h"

namespace iptables_exporter {
namespace {

using namespace std::chrono_literals;

/// A bound that only a broken program reaches.
Clock::time_point ample() { return Clock::now() + 60s; }

Subprocess shell(std::string script, std::string& output) {
  return {"/bin/sh",
          {"sh", "-c", std::move(script)},
          {"PATH=/usr/bin:/bin", "LC_ALL=C"},
          [&output](std::string_view bytes) { output += bytes; }};
}

/// A killed grandchild may stay a zombie until init reaps it.
bool is_alive(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string stat;
  std::getline(file, stat);  // nothing if it is gone by now
  const std::size_t state = stat.rfind(')') + 2;
  return stat.size() > state && stat[state] != 'Z' && stat[state] != 'X';
}

}  // namespace

TEST_CASE("how a process ended, and what it said") {
  struct Row {
    std::string_view script;
    std::optional<int> status;
    std::string_view failure;
    std::string_view output;
    std::string_view stderr_text;
  };
  const Row rows[] = {
      {"true", 0, "", "", ""},
      {"echo out; echo err >&2; exit 3", 3, "sh exited with status 3", "out\n", "err\n"},
      {"echo out; kill -9 $$", {}, "sh was killed by signal 9 (Killed)", "out\n", ""},
      {"exec >&-; exit 4", 4, "sh exited with status 4", "", ""},
      {"cat", 0, "", "", ""},  // stdin is empty
      {"echo $LC_ALL $HOME", 0, "", "C\n", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.script);
    std::string output;
    const auto results = run_side_by_side({shell(std::string(row.script), output)}, ample());
    REQUIRE(results.size() == 1);
    CHECK(results[0].status == row.status);
    CHECK(results[0].failure == row.failure);
    CHECK(output == row.output);
    CHECK(results[0].stderr_text == row.stderr_text);
  }
}

TEST_CASE("what cannot be started says why") {
  const auto results = run_side_by_side(
      {{"/nonexistent/command", {"command"}, {}, [](std::string_view) {}}}, ample());
  CHECK(!results[0].status);
  CHECK(results[0].failure == "cannot run command: No such file or directory");
}

TEST_CASE("both streams are drained, of stderr only the beginning is kept") {
  std::string output;
  const auto results = run_side_by_side(
      {shell("head -c 3000000 /dev/zero | tr '\\0' e >&2; head -c 3000000 /dev/zero", output)},
      ample());
  CHECK(results[0].status == 0);
  CHECK(output == std::string(3'000'000, '\0'));
  CHECK(results[0].stderr_text == std::string(4096, 'e'));
}

TEST_CASE("of stderr, each line is kept once, and the last one too") {
  struct Row {
    std::string_view script;
    std::string stderr_text;
  };
  const Row rows[] = {
      {"yes 'cannot open connlabel.conf' | head -n 10000 >&2; echo but why >&2",
       "cannot open connlabel.conf\nbut why\n"},
      {"printf 'one\\n\\ntwo\\none\\nwo\\no' >&2", "one\n\ntwo\nwo\no"},
      {"head -c 4000 /dev/zero | tr '\\0' e >&2; printf '\\n%0200d\\n%0201d\\nf\\nf\\n' 0 0 >&2",
       std::string(4000, 'e') + "\nand more\nf\n"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.script);
    std::string output;
    const auto results = run_side_by_side({shell(std::string(row.script), output)}, ample());
    CHECK(results[0].stderr_text == row.stderr_text);
  }
}

TEST_CASE("after the timeout all that it started is killed") {
  for (const char* script : {"echo $$; sleep 1000", "sleep 1000 & echo $!; exit 0",
                             "echo $$; exec sleep 1000 >&- 2>&-"}) {
    CAPTURE(script);
    std::string output;
    const auto results = run_side_by_side({shell(script, output)}, Clock::now() + 200ms);
    CHECK(!results[0].status);
    CHECK(results[0].failure == "");
    const std::string pid = output.substr(0, output.find('\n'));
    CHECK(!pid.empty());
    // Killed, but it takes its time.
    for (const auto end = ample(); is_alive(pid) && Clock::now() < end;) {
      std::this_thread::sleep_for(1ms);
    }
    CHECK(!is_alive(pid));
  }
}

TEST_CASE("several run at once and end one by one") {
  // Each waits for the other: one after the other they would never end.
  std::string first;
  std::string second;
  const std::string directory = "/tmp/iptables_exporter.$PPID";
  const auto results = run_side_by_side(
      {shell("mkdir " + directory + "; until rmdir " + directory +
                 "/x 2>/dev/null; do :; done; "
                 "rmdir " +
                 directory + "; echo 1; exit 1",
             first),
       shell("until mkdir " + directory + "/x 2>/dev/null; do :; done; echo 2; exit 2", second)},
      ample());
  CHECK(results[0].status == 1);
  CHECK(results[1].status == 2);
  CHECK(first == "1\n");
  CHECK(second == "2\n");
}

TEST_CASE("what a reader throws passes through, and nothing is left running") {
  Subprocess subprocess{"/bin/sh", {"sh", "-c", "echo; sleep 1000"}, {}, [](std::string_view) {
                          throw std::runtime_error("enough");
                        }};
  CHECK_THROWS_WITH_AS(run_side_by_side({subprocess}, ample()), "enough", std::runtime_error);
}

TEST_CASE("a termination signal is no end of a subprocess, but ours") {
  std::string output;
  Subprocess subprocess = shell("echo; sleep 1000", output);
  subprocess.on_stdout = [](std::string_view) { ::raise(SIGTERM); };
  // What was held back is taken by then, so that it does not end the tests.
  CHECK_THROWS_AS(run_side_by_side({subprocess}, ample()), Interrupted);
}

TEST_CASE("what else is there is read while they run") {
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::string pid;
  Subprocess sleeper = shell("echo $$; exec sleep 1000", pid);
  sleeper.on_stdout = [&](std::string_view bytes) {
    pid += bytes;
    ::eventfd_write(event.get(), 1);
  };
  int times = 0;
  const Meanwhile meanwhile = {event.get(), [&] {
                                 eventfd_t value = 0;
                                 CHECK(::eventfd_read(event.get(), &value) == 0);
                                 ++times;
                                 ::kill(std::stoi(pid), SIGKILL);
                               }};
  const auto results = run_side_by_side({sleeper}, ample(), meanwhile);
  CHECK(results.at(0).failure == "sh was killed by signal 9 (Killed)");
  CHECK(times >= 1);
}

}  // namespace iptables_exporter
