#include "output/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <ostream>
#include <system_error>
#include <vector>

#include "support.h"

namespace iptables_exporter {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const TemporaryDirectory& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("commit puts the whole file in place, mode 0644 whatever the umask") {
  const TemporaryDirectory directory;
  const mode_t umask_before = ::umask(077);
  {
    AtomicFile file(directory / "x.prom");
    file.write("one ");
    file.write("two\n");
    CHECK(!fs::exists(directory / "x.prom"));
    file.commit();
  }
  ::umask(umask_before);
  CHECK(read_file(directory / "x.prom") == "one two\n");
  CHECK(fs::status(directory / "x.prom").permissions() == fs::perms(0644));
  CHECK(names_in(directory) == Names{"x.prom"});
}

TEST_CASE("without commit nothing has happened") {
  const TemporaryDirectory directory;
  write_file(directory / "x.prom", "old");
  {
    AtomicFile file(directory / "x.prom");
    file.write("new");
    // While it is there, node_exporter must not read it.
    for (const std::string& name : names_in(directory)) {
      CHECK((name == "x.prom" || !name.ends_with(".prom")));
    }
  }
  CHECK(read_file(directory / "x.prom") == "old");
  CHECK(names_in(directory) == Names{"x.prom"});
}

TEST_CASE("a symlink is replaced, not followed") {
  const TemporaryDirectory directory;
  write_file(directory / "victim", "old");
  fs::create_symlink(directory / "victim", directory / "x.prom");
  AtomicFile file(directory / "x.prom");
  file.write("new");
  file.commit();
  CHECK(read_file(directory / "victim") == "old");
  CHECK(fs::is_regular_file(fs::symlink_status(directory / "x.prom")));
}

TEST_CASE("errors name the path, and leave no trace") {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "dir.prom");
  {
    AtomicFile file(directory / "dir.prom");
    CHECK_THROWS_WITH_AS(file.commit(),
                         ("cannot replace " + (directory / "dir.prom: Is a directory")).c_str(),
                         std::system_error);
  }
  CHECK(names_in(directory) == Names{"dir.prom"});
  CHECK_THROWS_WITH_AS(
      AtomicFile(directory / "missing/x.prom"),
      ("cannot open directory " + (directory / "missing: No such file or directory")).c_str(),
      std::system_error);
}

TEST_CASE("leftovers of killed runs go, those of living ones and of others stay") {
  const TemporaryDirectory directory;
  const std::string dead = directory / ".iptables_exporter.00112233aabbccdd.tmp";
  const std::string living = directory / ".iptables_exporter.0123456789abcdef.tmp";
  const std::string link = directory / ".iptables_exporter.ffffffffffffffff.tmp";
  const std::string other_name = directory / ".iptables_exporter.tmp";
  for (const std::string& path : {dead, living, other_name}) write_file(path, "");
  fs::create_symlink(other_name, link);
  const UniqueFd lock(::open(living.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(::flock(lock.get(), LOCK_EX) == 0);

  AtomicFile(directory / "x.prom").commit();

  CHECK(!fs::exists(dead));
  CHECK(fs::exists(living));
  CHECK(fs::is_symlink(fs::symlink_status(link)));
  CHECK(fs::exists(other_name));
}

TEST_CASE("a path without a slash is in the working directory") {
  const TemporaryDirectory directory;
  const fs::path before = fs::current_path();
  fs::current_path(directory.path());
  AtomicFile("x.prom").commit();
  fs::current_path(before);
  CHECK(names_in(directory) == Names{"x.prom"});
}

}  // namespace iptables_exporter
