#include "command_path.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>

namespace iptables_exporter {

std::vector<std::string> command_directories(std::string_view path_variable) {
  std::vector<std::string> directories;
  while (!path_variable.empty()) {
    const std::string_view directory = path_variable.substr(0, path_variable.find(':'));
    path_variable.remove_prefix(std::min(directory.size() + 1, path_variable.size()));
    // Not the working directory, whoever chose it.
    if (directory.starts_with('/')) directories.emplace_back(directory);
  }
  directories.insert(directories.end(), {"/usr/local/sbin", "/usr/sbin", "/sbin"});
  return directories;
}

std::string find_command(std::string_view name, const std::vector<std::string>& directories) {
  std::string not_executable;
  for (const std::string& directory : directories) {
    std::string path = fmt::format("{}/{}", directory, name);
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (::access(path.c_str(), X_OK) == 0) return path;
    not_executable = path;
  }
  if (!not_executable.empty()) {
    throw std::runtime_error(fmt::format("{} is not executable", not_executable));
  }
  throw std::runtime_error(
      fmt::format("{} is not in {}: install iptables", name, fmt::join(directories, ":")));
}

}  // namespace iptables_exporter
