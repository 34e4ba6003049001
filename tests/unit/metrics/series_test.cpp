#include "metrics/series.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

namespace iptables_exporter {

TEST_CASE("keys are hashed with a seed that nobody knows") {
  const SeededHash hash;
  CHECK(hash("INPUT") == hash(std::string("INPUT")));
  CHECK(hash("INPUT") != hash("OUTPUT"));
  CHECK(hash("INPUT") != XXH3_64bits("INPUT", 5));
}

TEST_CASE("each process has a seed of its own") {
  if (std::getenv("SHOW_HASH") != nullptr) {  // this is another process
    std::cout << "hash " << SeededHash()("INPUT") << std::endl;
    return;
  }
  const auto hash_of_another = [] {
    const std::string command = "SHOW_HASH=1 " +
                                std::filesystem::read_symlink("/proc/self/exe").string() +
                                " --test-case='each process has a seed of its own'";
    std::string out(4096, '\0');
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    out.resize(std::fread(out.data(), 1, out.size(), pipe));
    ::pclose(pipe);
    const std::size_t begin = out.find("hash ");
    REQUIRE(begin != out.npos);
    return out.substr(begin, out.find('\n', begin) - begin);
  };
  CHECK(hash_of_another() != hash_of_another());
}

}  // namespace iptables_exporter
