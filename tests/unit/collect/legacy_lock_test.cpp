#include "collect/legacy_lock.h"

#include <doctest/doctest.h>
#include <sys/inotify.h>

#include <ostream>
#include <stdexcept>

namespace iptables_exporter {
namespace {

/// As the kernel gives it: the name is filled up with zeros.
std::string event(std::uint32_t mask, std::string name) {
  if (!name.empty()) name.resize((name.size() / 16 + 1) * 16, '\0');
  const inotify_event head = {1, mask, 0, static_cast<std::uint32_t>(name.size())};
  return std::string(reinterpret_cast<const char*>(&head), sizeof head) + name;
}

}  // namespace

TEST_CASE("which events tell of the lock") {
  const std::string other = event(IN_OPEN, "xtables.lock2") + event(IN_OPEN | IN_ISDIR, "");
  const std::string lost = event(IN_Q_OVERFLOW, "");
  struct Row {
    std::string events;
    bool tell;
  };
  const Row rows[] = {
      {"", false},
      {other, false},
      {event(IN_OPEN, "xtables.loc"), false},
      {event(IN_OPEN, "xtables.lock"), true},
      {event(IN_CLOSE_NOWRITE, "xtables.lock"), true},
      {other + event(IN_CLOSE_WRITE, "xtables.lock") + other, true},
      {other + lost, true},
      {event(IN_IGNORED, ""), true},
  };
  for (const Row& row : rows) CHECK(tells_of(row.events, "xtables.lock") == row.tell);
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
