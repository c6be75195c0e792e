#include "kernels/cuda/simt/device.h"

namespace ebb::kernels::cuda::simt {
namespace {

EBB_SIMT_EXCHANGE float FromBf16(uint32_t bits) {
  const uint32_t wide = (bits & 0xFFFF) << 16;
  float value;
  __builtin_memcpy(&value, &wide, sizeof(value));
  return value;
}

// Row `row` of matrix `index`, whose address lane 8 * index + row gave.
EBB_SIMT_EXCHANGE const uint16_t* MatrixRow(void* const* args, int index, int row) {
  return static_cast<LoadMatrixArgs*>(args[index * 8 + row])->row;
}

EBB_SIMT_EXCHANGE void ExchangeLoad(void* const* args, bool transposed) {
  for (int index = 0; index < 4; ++index) {
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      // Lane 4 * i + j holds elements (i, 2j) and (i, 2j + 1), the first in the low half.
      const int i = lane / 4;
      const int j = lane % 4 * 2;
      const uint32_t low = transposed ? MatrixRow(args, index, j)[i] : MatrixRow(args, index, i)[j];
      const uint32_t high =
          transposed ? MatrixRow(args, index, j + 1)[i] : MatrixRow(args, index, i)[j + 1];
      static_cast<LoadMatrixArgs*>(args[lane])->registers[index] = low | high << 16;
    }
  }
}

}  // namespace

EBB_SIMT_EXCHANGE void ExchangeBallot(void* const* args) {
  unsigned bits = 0;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (args[lane] != nullptr && *static_cast<unsigned*>(args[lane]) != 0) bits |= 1u << lane;
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (args[lane] != nullptr) *static_cast<unsigned*>(args[lane]) = bits;
  }
}

EBB_SIMT_EXCHANGE void ExchangeLoadMatrix4(void* const* args) { ExchangeLoad(args, false); }

EBB_SIMT_EXCHANGE void ExchangeLoadMatrix4Transposed(void* const* args) {
  ExchangeLoad(args, true);
}

void LoadMatrix(uint32_t* registers, const void* row, bool transposed, Site site) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    Fail("a matrix row is not aligned to 16 bytes", site);
  }
  LoadMatrixArgs args;
  args.registers = registers;
  std::memcpy(args.row, row, sizeof(args.row));
  Rendezvous(~0u, Meeting::kWarp, transposed ? ExchangeLoadMatrix4Transposed : ExchangeLoadMatrix4,
             &args, transposed ? "LoadMatrix4Transposed" : "LoadMatrix4", site);
}

// d [16, 8] += a [16, 16] b [16, 8]. With g = lane / 4 and t = lane % 4, a lane holds, two columns
// to a register,
//   a: rows g, g + 8, g, g + 8; columns 2t and 2t + 1, the last two registers 8 further
//   b: column g; rows 2t and 2t + 1, the second register 8 further
//   d: row g twice, row g + 8 twice; columns 2t, 2t + 1, 2t, 2t + 1
EBB_SIMT_EXCHANGE void ExchangeMmaBf16(void* const* args) {
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const auto* mine = static_cast<MmaArgs*>(args[lane]);
    const int g = lane / 4;
    const int t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const int row = g + r % 2 * 8;
      const int column = 2 * t + r / 2 * 8;
      a[row][column] = FromBf16(mine->a[r]);
      a[row][column + 1] = FromBf16(mine->a[r] >> 16);
    }
    for (int r = 0; r < 2; ++r) {
      b[2 * t + r * 8][g] = FromBf16(mine->b[r]);
      b[2 * t + r * 8 + 1][g] = FromBf16(mine->b[r] >> 16);
    }
  }
  float d[16][8] = {};
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    float* mine = static_cast<MmaArgs*>(args[lane])->d;
    for (int r = 0; r < 4; ++r) mine[r] += d[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2];
  }
}

}  // namespace ebb::kernels::cuda::simt
