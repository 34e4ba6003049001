// Runs the fuzz target on every file of the directories given, once: for compilers without a
// fuzzer, and so that what was found stays found.

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <set>
#include <string>

#include "../unit/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

void replay(const fs::path& path) {
  // If it aborts, this is the last line.
  fmt::print("{}\n", path.string());
  std::fflush(stdout);
  const std::string input = iptables_exporter::read_file(path);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::set<fs::path> paths;
    for (int i = 1; i < argc; ++i) {
      for (const auto& entry : fs::directory_iterator(argv[i])) {
        if (entry.is_regular_file()) paths.insert(entry.path());
      }
    }
    for (const fs::path& path : paths) replay(path);
    fmt::print("{} inputs\n", paths.size());
    return paths.empty() ? 1 : 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
