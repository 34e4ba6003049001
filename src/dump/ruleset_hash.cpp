#include "dump/ruleset_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

namespace iptables_exporter {
namespace {

class Hash {
 public:
  Hash() : state_(XXH3_createState(), &XXH3_freeState) {
    if (!state_) throw std::bad_alloc();
    XXH3_64bits_reset(state_.get());
  }
  void add(std::string_view text) { XXH3_64bits_update(state_.get(), text.data(), text.size()); }
  std::uint64_t digest() const { return XXH3_64bits_digest(state_.get()); }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

}  // namespace

std::uint64_t ruleset_hash(std::vector<const Chain*> chains) {
  using namespace std::string_view_literals;
  std::sort(chains.begin(), chains.end(),
            [](const Chain* a, const Chain* b) { return a->name < b->name; });

  Hash hash;
  for (const Chain* const chain : chains) {
    hash.add("C");
    hash.add(chain->name);
    hash.add("\0"sv);
    hash.add(chain->policy.empty() ? "-" : chain->policy);
    hash.add("\0"sv);
    for (const Rule& rule : chain->rules) {
      hash.add("R");
      hash.add(rule.text);
      hash.add("\0"sv);
    }
  }
  return hash.digest() & 0xFFFF'FFFF'FFFF;
}

}  // namespace iptables_exporter
