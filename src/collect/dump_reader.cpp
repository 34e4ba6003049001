#include "collect/dump_reader.h"

#include <exception>

#include "base/error_message.h"

namespace iptables_exporter {

template <typename Action>
void DumpReader::guarded(const Action& action) {
  if (has_failed()) return;
  try {
    action();
  } catch (const std::exception& error) {
    parser_ = SaveParser();  // nothing of a broken dump is of use, and it may be large
    error_ = message_of(error);
  }
}

void DumpReader::feed(std::string_view bytes) {
  guarded([&] { parser_.feed(bytes); });
}

std::optional<Ruleset> DumpReader::finish(std::string& error) {
  std::optional<Ruleset> ruleset;
  guarded([&] { ruleset = parser_.finish(); });
  error = error_;
  return ruleset;
}

}  // namespace iptables_exporter
