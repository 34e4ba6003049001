#include "base/random.h"

#include <sys/random.h>

#include "base/file_io.h"

namespace iptables_exporter {

// Not std::random_device, whose start takes longer than writing a file.
std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    throw_errno("cannot get", "random bytes");
  return number;
}

}  // namespace iptables_exporter
