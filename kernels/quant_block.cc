#include "kernels/quant_block.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::kernels {
namespace {

uint16_t Load16(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }

// 32 elements: byte j has element j low and element j + 16 high.
void ReadNibbles(const uint8_t* bytes, uint8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = bytes[j] & 15;
    codes[j + 16] = bytes[j] >> 4;
  }
}

// Bit j of the four bytes goes above the four of code j.
void AddFifthBits(const uint8_t* bytes, uint8_t* codes) {
  for (int j = 0; j < 32; ++j) {
    codes[j] = static_cast<uint8_t>(codes[j] | (bytes[j / 8] >> j % 8 & 1) << 4);
  }
}

void ReadSmallBlock(DType dtype, const uint8_t* bytes, QuantBlock* block) {
  const QuantTraits traits = QuantTraitsOf(dtype);
  block->d = Load16(bytes);
  bytes += 2;
  if (traits.has_minimum) {
    block->m = Load16(bytes);
    bytes += 2;
  }
  block->scales[0] = block->minimums[0] = 1;
  if (traits.bits == 8) {
    for (int j = 0; j < 32; ++j) block->codes[j] = bytes[j] ^ 0x80;
    return;
  }
  const uint8_t* fifth_bits = bytes;
  if (traits.bits == 5) bytes += 4;
  ReadNibbles(bytes, block->codes);
  if (traits.bits == 5) AddFifthBits(fifth_bits, block->codes);
}

// 8 scales and 8 minimums of 6 bits. Those of sub-blocks 0 to 3 have a byte each; its upper two
// bits go to sub-blocks 4 to 7, whose lower four are the nibbles of the last 4 bytes.
void ReadSixBitScales(const uint8_t* bytes, QuantBlock* block) {
  for (int j = 0; j < 4; ++j) {
    block->scales[j] = static_cast<int8_t>(bytes[j] & 63);
    block->minimums[j] = static_cast<int8_t>(bytes[j + 4] & 63);
    block->scales[j + 4] = static_cast<int8_t>((bytes[j + 8] & 15) | bytes[j] >> 6 << 4);
    block->minimums[j + 4] = static_cast<int8_t>(bytes[j + 8] >> 4 | bytes[j + 4] >> 6 << 4);
  }
}

// Q4_K and Q5_K. Each 32 bytes of nibbles are two sub-blocks, the low nibbles and then the high
// ones; bit s of byte j of the fifth bits belongs to element j of sub-block s.
void ReadK45Block(DType dtype, const uint8_t* bytes, QuantBlock* block) {
  block->d = Load16(bytes);
  block->m = Load16(bytes + 2) ^ 0x8000;
  ReadSixBitScales(bytes + 4, block);
  const uint8_t* fifth_bits = bytes + 16;
  const bool is_five = dtype == DType::kQ5_K;
  const uint8_t* nibbles = bytes + (is_five ? 48 : 16);
  for (int k = 0; k < 256; ++k) {
    const int s = k / 32;
    const int j = k % 32;
    const int low = nibbles[s / 2 * 32 + j] >> 4 * (s % 2) & 15;
    const int high = is_five ? fifth_bits[j] >> s & 1 : 0;
    block->codes[k] = static_cast<uint8_t>(low | high << 4);
  }
}

// Each half of 128 elements is four runs of 32: byte j of the upper bits has those of element j of
// every run, and the runs' lower bits are the low nibbles of 64 bytes and then their high ones.
void ReadQ6KBlock(const uint8_t* bytes, QuantBlock* block) {
  const uint8_t* nibbles = bytes;
  const uint8_t* upper_bits = bytes + 128;
  const uint8_t* scales = bytes + 192;
  block->d = Load16(bytes + QuantScalePlace(DType::kQ6_K));
  std::transform(scales, scales + 16, block->scales,
                 [](uint8_t scale) { return static_cast<int8_t>(scale); });
  for (int k = 0; k < 256; ++k) {
    const int half = k / 128;
    const int run = k % 128 / 32;
    const int j = k % 32;
    const int low = nibbles[half * 64 + run % 2 * 32 + j] >> 4 * (run / 2) & 15;
    const int high = upper_bits[half * 32 + j] >> 2 * run & 3;
    block->codes[k] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

void ReadQuantBlock(DType dtype, const uint8_t* bytes, QuantBlock* block) {
  const QuantTraits traits = QuantTraitsOf(dtype);
  CHECK_GT(traits.bits, 0);
  if (!traits.has_scales) {
    ReadSmallBlock(dtype, bytes, block);
  } else if (traits.bits == 6) {
    ReadQ6KBlock(bytes, block);
  } else {
    ReadK45Block(dtype, bytes, block);
  }
}

}  // namespace ebb::kernels
