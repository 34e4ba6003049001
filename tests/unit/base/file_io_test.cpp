#include "base/file_io.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace iptables_exporter {
namespace {

struct Pipe {
  UniqueFd reading;
  UniqueFd writing;
};

/// Both ends do not block: who reads or writes must wait by itself.
Pipe make_pipe() {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

TEST_CASE("what is written arrives, though the pipe takes it in parts and both ends do not block") {
  Pipe pipe = make_pipe();
  const std::string text(1 << 20, 'x');
  std::thread writer([&] {
    write_all(pipe.writing.get(), text, "pipe");
    pipe.writing.close();
  });
  std::string read;
  std::array<char, 1000> buffer{};
  while (const std::size_t count = read_some(pipe.reading.get(), buffer, "pipe")) {
    read.append(buffer.data(), count);
  }
  writer.join();
  CHECK((read == text));  // not printed if it fails
  CHECK(read_some(pipe.reading.get(), buffer, "pipe") == 0);
}

TEST_CASE("errors name what failed, on one printable line") {
  std::array<char, 1> buffer{};
  CHECK_THROWS_WITH_AS(read_some(-1, buffer, "a\nb"), "cannot read a\\nb: Bad file descriptor",
                       std::system_error);
  CHECK_THROWS_WITH_AS(write_all(-1, "x", "stdout"), "cannot write stdout: Bad file descriptor",
                       std::system_error);
  CHECK_NOTHROW(write_all(-1, "", "stdout"));
  errno = ENOSPC;
  CHECK_THROWS_WITH_AS(throw_errno("cannot write", "x"), "cannot write x: No space left on device",
                       std::system_error);
}

TEST_CASE("errors of the library are put into words") {
  CHECK(message_of(std::bad_alloc()) == "out of memory");
  CHECK(message_of(std::runtime_error("why")) == "why");
}

}  // namespace iptables_exporter
