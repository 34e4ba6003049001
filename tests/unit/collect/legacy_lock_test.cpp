#include "collect/legacy_lock.h"

#include <doctest/doctest.h>
#include <sys/inotify.h>

#include <ostream>
#include <stdexcept>

namespace iptables_exporter {
namespace {

constexpr int file_watch = 7;

/// As the kernel gives it: the name is filled up with zeros.
std::string event(int watch, std::uint32_t mask, std::string name = "") {
  if (!name.empty()) name.resize((name.size() / 16 + 1) * 16, '\0');
  const inotify_event head = {watch, mask, 0, static_cast<std::uint32_t>(name.size())};
  return std::string(reinterpret_cast<const char*>(&head), sizeof head) + name;
}

}  // namespace

TEST_CASE("what events tell of the lock file") {
  const std::string lock = "xtables.lock";
  const std::string other = event(1, IN_OPEN, "xtables.lock2") + event(1, IN_OPEN | IN_ISDIR);
  struct Row {
    std::string events;
    bool use;
    bool loss;
  };
  const Row rows[] = {
      {"", false, false},
      // Of its directory.
      {other, false, false},
      {event(1, IN_OPEN, "xtables.loc"), false, false},
      {event(1, IN_DELETE, "xtables.loc"), false, false},
      {event(1, IN_OPEN, lock), true, false},
      {event(1, IN_CLOSE_NOWRITE, lock), true, false},
      {other + event(1, IN_CLOSE_WRITE, lock) + other, true, false},
      {event(1, IN_CREATE, lock), false, true},
      {event(1, IN_DELETE, lock), false, true},
      {event(1, IN_MOVED_FROM, lock), false, true},
      {event(1, IN_MOVED_TO, lock), false, true},
      {event(1, IN_CREATE, lock) + event(1, IN_OPEN, lock), true, true},
      {event(1, IN_MOVE_SELF), false, true},
      {event(1, IN_IGNORED), false, true},
      // Of the file itself, without a name.
      {event(file_watch, IN_OPEN), true, false},
      {event(file_watch, IN_CLOSE_WRITE), true, false},
      {event(file_watch, IN_ATTRIB), false, true},
      {event(file_watch, IN_MOVE_SELF), false, true},
      {event(file_watch, IN_IGNORED), false, true},
      {other + event(-1, IN_Q_OVERFLOW), false, true},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    const FileEvents found = read_events(row.events, file_watch, lock);
    CHECK(found.are_of_use == row.use);
    CHECK(found.are_of_loss == row.loss);
    const FileEvents of_directory = read_events(row.events, -1, lock);
    CHECK(of_directory.are_of_use == (row.use && row.events.find(lock) != row.events.npos));
  }
}

TEST_CASE("a mount's device is as /proc/locks writes it") {
  const std::string mountinfo =
      "23 98 0:22 / /proc rw,relatime shared:12 - proc proc rw\n"
      "98 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
      "29 98 8:300 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n";
  CHECK(device_of_mount(mountinfo, 23) == " 00:16");
  CHECK(device_of_mount(mountinfo, 98) == " fe:00");
  CHECK(device_of_mount(mountinfo, 29) == " 08:12c");
  for (const std::uint64_t none : {1, 2, 9, 22, 298}) {
    CHECK_THROWS_AS(device_of_mount(mountinfo, none), std::runtime_error);
  }
  CHECK_THROWS_AS(device_of_mount("29 98\n", 29), std::runtime_error);
}

}  // namespace iptables_exporter
