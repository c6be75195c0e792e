// What the emulator knows of Hopper's asynchronous matrix products (wgmma), warp by warp, and of
// the shared memory that they see.
//
// Products are queued and done at the wait that covers them, in order; until then their
// accumulators hold NaN. Their matrix in shared memory is read either when they are queued or when
// they are done, as the seed has it: the hardware may do so at any time between. A warpgroup's
// warps each have 16 of its 64 rows, and must queue the same products.
//
// Products read shared memory as of the last fence.proxy.async. Of what CopyAsync16 wrote, a fence
// makes visible what the fencing warp wrote; of plain stores, which the emulator does not see one
// by one, it makes visible all.
//
// PTX ISA: "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions", there "Matrix
// descriptor" and "Strides".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"

namespace ebb::kernels::cuda::simt {

// d [64, columns] (+)= a [64, 16] b [16, columns], as one lane gives it: bf16, and float32 sums.
// The lane's fragments are those of mma.m16n8k16.
struct MatrixProduct {
  float (*d)[4] = nullptr;      // [columns / 8]
  const uint32_t* a = nullptr;  // [4]
  uint64_t b = 0;               // Its descriptor.
  int columns = 0;
  bool accumulate = false;
  bool rows = false;  // b lies by rows of columns (MN-major), not by columns of rows (K-major).
};

// Calls that can be wrong answer in words what is wrong; empty if nothing is.
class AsyncProxy {
 public:
  // Shared memory holds what a block finds there.
  void StartBlock(const uint8_t* shared, size_t bytes, int warps, uint64_t seed);
  // All threads have returned.
  std::string FinishBlock() const;

  // A copy of this warp's has written the 16 bytes.
  void NoteCopy(const uint8_t* chunk, int warp);
  // fence.proxy.async
  void Fence(int warp);

  void Arrive(int warp);  // wgmma.fence
  // lanes[32]: what each gives. Poisons their accumulators.
  std::string Queue(int warp, const MatrixProduct* const* lanes);
  void Commit(int warp);
  std::string Wait(int warp, int pending);

 private:
  static constexpr int kLanes = 32;
  static constexpr int kRows = 16;   // Of a warp.
  static constexpr int kInner = 16;  // The K of a product.

  // Sums of 16 rows, while products of them are queued.
  struct Accumulator {
    std::array<float (*)[4], kLanes> d = {};
    std::vector<float> values;  // [16, columns]
    int queued = 0;
  };
  struct Queued {
    MatrixProduct product;  // As lane 0 gave it.
    std::array<const uint32_t*, kLanes> a = {};
    std::array<std::array<uint32_t, 4>, kLanes> a_words = {};  // When it was queued.
    std::vector<uint16_t> b;  // [16, columns]; empty: not yet read.
    int64_t group = 0;
  };
  struct WarpState {
    std::deque<Queued> queue;  // Oldest first.
    std::map<float (*)[4], Accumulator> accumulators;
    int64_t open_group = 0;
    bool armed = false;   // A wgmma.fence came, and no commit since.
    uint64_t digest = 0;  // Of all products so far.
  };

  std::string Perform(WarpState& warp, Queued& queued);
  std::string ReadMatrix(const MatrixProduct& product, std::vector<uint16_t>* b) const;

  const uint8_t* shared_ = nullptr;
  std::vector<uint8_t> seen_;     // Shared memory as of the last fence.
  std::vector<int16_t> copiers_;  // For each 16 bytes: the warp whose copy no fence follows; or -1.
  std::vector<WarpState> warps_;
  base::Rng rng_{1};
};

}  // namespace ebb::kernels::cuda::simt
