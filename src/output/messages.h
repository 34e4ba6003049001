#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace iptables_exporter {

enum class Severity { error, warning };

/// What a run says on stderr: few lines, each printable and once, whatever goes wrong; with the
/// journal's priorities where stderr is the journal.
class Messages {
 public:
  /// Bytes that are not printable are escaped, and long text is shortened. What stderr does not
  /// take within a second is dropped, with all that would follow.
  void say(Severity severity, std::string_view text);
  /// A line that belongs to an error, without the program's name.
  void illustrate(std::string_view line);
  /// To be called last: how much was left out.
  void finish();

 private:
  void print(Severity severity, std::string_view beginning, std::string_view text);

  std::vector<std::string> printed_;
  std::size_t bytes_ = 0;
  std::size_t left_out_ = 0;
  bool is_stuck_ = false;
};

}  // namespace iptables_exporter
