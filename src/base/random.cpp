#include "base/random.h"

#include <sys/random.h>
#include <xxhash.h>

#include "base/file_io.h"

namespace iptables_exporter {

// Not std::random_device, whose start takes longer than writing a file.
std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    throw_errno("cannot get", "random bytes");
  return number;
}

std::size_t SeededHash::operator()(std::string_view key) const {
  static const std::uint64_t seed = random_number();
  return XXH3_64bits_withSeed(key.data(), key.size(), seed);
}

}  // namespace iptables_exporter
