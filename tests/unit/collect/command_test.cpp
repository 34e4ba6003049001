#include "collect/command.h"

#include <doctest/doctest.h>

#include <ostream>
#include <system_error>

#include "support.h"

namespace iptables_exporter {

TEST_CASE("directories: the absolute ones of PATH, then sbin") {
  using Directories = std::vector<std::string>;
  CHECK(command_directories("") == Directories{"/usr/local/sbin", "/usr/sbin", "/sbin"});
  CHECK(command_directories("/usr/bin:/bin") ==
        Directories{"/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"});
  CHECK(command_directories(":.:bin::/a:") ==
        Directories{"/a", "/usr/local/sbin", "/usr/sbin", "/sbin"});
}

TEST_CASE("a command is the first executable file of its name") {
  const TemporaryDirectory directory;
  namespace fs = std::filesystem;
  for (const char* name : {"dir", "plain", "good", "better"}) {
    fs::create_directory(directory / name);
  }
  fs::create_directory(directory / "dir/save");
  write_file(directory / "plain/save", "");
  write_file(directory / "good/save", "");
  write_file(directory / "better/save", "");
  fs::permissions(directory / "good/save", fs::perms::owner_all);
  fs::permissions(directory / "better/save", fs::perms::owner_all);

  const std::string dir = directory / "dir";
  const std::string plain = directory / "plain";
  CHECK(find_command("save", {dir, plain, directory / "good", directory / "better"}) ==
        directory / "good/save");
  CHECK_THROWS_WITH_AS(find_command("save", {dir, plain}),
                       (plain + "/save is not executable").c_str(), std::runtime_error);
  // One that cannot be looked at may be the right one: no other is taken in its place.
  fs::create_directory(directory / "loop");
  fs::create_symlink("save", directory / "loop/save");
  const std::string loop = directory / "loop";
  CHECK_THROWS_WITH_AS(
      find_command("save", {loop, directory / "good"}),
      ("cannot look at " + loop + "/save: Too many levels of symbolic links").c_str(),
      std::system_error);
  CHECK(find_command("save", {"/nonexistent", dir}) == "");
}

TEST_CASE("the command that shows a source") {
  CHECK(save_command({}) == "iptables-save");
  CHECK(save_command({Family::ipv4, {}}) == "iptables-save");
  CHECK(save_command({Family::ipv6, {}}) == "ip6tables-save");
  CHECK(save_command({{}, Backend::legacy}) == "iptables-legacy-save");
  CHECK(save_command({Family::ipv6, Backend::nft}) == "ip6tables-nft-save");
}

TEST_CASE("the backend of a command is that of the program it leads to") {
  const TemporaryDirectory directory;
  namespace fs = std::filesystem;
  struct Row {
    std::string program;
    std::optional<Backend> backend;
  };
  const Row rows[] = {
      {"xtables-nft-multi", Backend::nft},     {"xtables-legacy-multi", Backend::legacy},
      {"xtables-compat-multi", Backend::nft},  {"xtables-multi", Backend::legacy},
      {"iptables-multi", Backend::legacy},     {"iptables-save", std::nullopt},
      {"not-xtables-nft-multi", std::nullopt},
  };
  for (const Row& row : rows) {
    CAPTURE(row.program);
    const std::string program = directory / row.program;
    const std::string link = directory / "link";
    const std::string command = directory / "command";
    write_file(program, "");
    fs::create_symlink(row.program, link);
    fs::create_symlink(link, command);
    CHECK(backend_of_command(program) == row.backend);
    CHECK(backend_of_command(command) == row.backend);
    for (const std::string& path : {program, link, command}) fs::remove(path);
  }
  CHECK(backend_of_command(directory / "missing") == std::nullopt);
}

}  // namespace iptables_exporter
