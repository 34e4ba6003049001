#include "base/random.h"

#include <doctest/doctest.h>

#include <ostream>

namespace iptables_exporter {

TEST_CASE("no two numbers are the same") { CHECK(random_number() != random_number()); }

}  // namespace iptables_exporter
