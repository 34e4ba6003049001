#include "base/utf8.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace iptables_exporter {
namespace {

struct Sequence {
  std::size_t length;  // of the sequence, or of the maximal part of one that the bytes begin with
  bool valid;
};

/// What non-empty `bytes` begin with (Unicode 15, table 3-7).
Sequence first_sequence(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Overlong forms, surrogates and code points past U+10FFFF are shut out by the second byte.
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size() || byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

/// Skips ASCII, which is nearly all there is, eight bytes at a time.
std::size_t ascii_prefix(std::string_view bytes) {
  std::size_t i = 0;
  for (std::uint64_t word = 0; i + sizeof word <= bytes.size(); i += sizeof word) {
    std::memcpy(&word, bytes.data() + i, sizeof word);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (i < bytes.size() && static_cast<unsigned char>(bytes[i]) < 0x80) ++i;
  return i;
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view bytes) {
  std::string_view rest = bytes;
  for (;;) {
    rest.remove_prefix(ascii_prefix(rest));
    if (rest.empty()) break;
    const Sequence sequence = first_sequence(rest);
    if (!sequence.valid) break;
    rest.remove_prefix(sequence.length);
  }
  return bytes.size() - rest.size();
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const Sequence sequence = first_sequence(bytes);
    text += sequence.valid ? bytes.substr(0, sequence.length) : "\xEF\xBF\xBD";
    bytes.remove_prefix(sequence.length);
  }
  return text;
}

}  // namespace iptables_exporter
