// GPT-2's byte alphabet, in which byte-level BPE writes its tokens: printable bytes of Latin-1 are
// themselves, the other 68 are U+0100 and up in order.
#pragma once

#include <array>
#include <cstdint>

namespace ebb::model {

// Code point -> byte, or -1.
inline std::array<int16_t, 512> MakeByteOfCodePoint() {
  std::array<int16_t, 512> byte_of;
  byte_of.fill(-1);
  int32_t next = 0x100;
  for (int32_t byte = 0; byte < 256; ++byte) {
    const bool itself =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    byte_of[itself ? byte : next++] = static_cast<int16_t>(byte);
  }
  return byte_of;
}

}  // namespace ebb::model
