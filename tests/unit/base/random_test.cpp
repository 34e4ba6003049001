#include "base/random.h"

#include <doctest/doctest.h>
#include <xxhash.h>

#include <ostream>
#include <string>

namespace iptables_exporter {

TEST_CASE("keys are hashed with a seed that nobody knows") {
  const SeededHash hash;
  CHECK(hash("INPUT") == hash(std::string("INPUT")));
  CHECK(hash("INPUT") != hash("OUTPUT"));
  CHECK(hash("INPUT") != XXH3_64bits("INPUT", 5));
  CHECK(random_number() != random_number());
}

}  // namespace iptables_exporter
