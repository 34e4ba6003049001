#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace iptables_exporter {

class MalformedExposition : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Sample {
  std::vector<std::pair<std::string, std::string>> labels;  // names and values, unescaped
  std::string value;  // of a counter a decimal uint64, of a gauge a finite number

  bool operator==(const Sample&) const = default;
};

/// Families by name, each with at least one sample.
using Families = std::map<std::string, std::vector<Sample>>;

/// Reads the Prometheus text format as strictly as can be, knowing nothing of the code that writes
/// it:
///
///   text   = { family }                    families in order of their names, none twice
///   family = "# HELP " NAME " " HELP NL "# TYPE " NAME " " ( "counter" | "gauge" ) NL { sample }
///   sample = NAME [ "{" LABEL "=" QUOTED { "," LABEL "=" QUOTED } "}" ] " " VALUE NL
///
/// Everything is valid UTF-8. Labels of a set are in alphabetical order, all sets of a family have
/// the same names, none starting with "__", and no two are equal. Throws MalformedExposition.
Families read_exposition(std::string_view text);

}  // namespace iptables_exporter
