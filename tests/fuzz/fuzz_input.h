#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace iptables_exporter {

/// A dump, before which options may stand as on the command line:
///
///   --select {chain="INPUT"}        any number of times
///   --hash {chain!~"f2b-.*"}        any number of times
///   --label service=dpt:([0-9]+)    any number of times
///   --sum-by table,service
///   --max-series 3
///   --family                        two sources of one dump, ipv4 and ipv6
///   --backend                       the label backend
///   --netns blue                    the label netns
///   --piece 5                       the dump comes in pieces of 5 bytes, not 7
///   --hostile                       what follows is no dump, but the comment of a rule in a dump
///   --nft-answer                    what follows is no dump, but what the kernel says of nf_tables
///   --sets-answer                   the same of ipset
///
/// A line that begins with a space continues the option before it.
struct Input {
  std::vector<std::string_view> labels;
  std::vector<std::string_view> selectors;
  std::vector<std::string_view> hashes;
  std::optional<std::string_view> sum_by;
  std::size_t max_series = 0;
  bool has_family = false;
  bool has_backend = false;
  std::string_view netns;
  std::size_t piece_bytes = 7;
  bool is_hostile_text = false;
  bool is_nft_answer = false;
  bool is_sets_answer = false;
  std::string_view dump;
};

Input read_input(std::string_view bytes);

/// What decimal digits at the beginning come to, or 0.
std::size_t number(std::string_view text);

}  // namespace iptables_exporter
