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
// Called by emulated threads, but for the start and the end of a block; takes no memory meanwhile
// and calls nothing that ThreadSanitizer looks into, as no order that it could see joins the
// callers.
//
// PTX ISA: "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions", there "Matrix
// descriptor" and "Strides".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ebb::kernels::cuda::simt {

// d [64, columns] (+)= a [64, 16] b [16, columns], as one lane gives it: bf16, and float32 sums.
// The lane's fragments are those of mma.m16n8k16.
struct MatrixProduct {
  float (*d)[4] = nullptr;      // [columns / 8]
  const uint32_t* a = nullptr;  // [4]
  uint64_t b = 0;               // Its descriptor.
  int columns = 0;              // At most 128.
  bool accumulate = false;
  bool rows = false;  // b lies by rows of columns (MN-major), not by columns of rows (K-major).
};

// Calls that can be wrong answer in words what is wrong; null if nothing is.
class AsyncProxy {
 public:
  // Shared memory holds what a block finds there.
  void StartBlock(const uint8_t* shared, size_t bytes, int warps, uint64_t seed);
  // All threads have returned.
  const char* FinishBlock() const;

  // A copy of this warp's has written the 16 bytes.
  void NoteCopy(const uint8_t* chunk, int warp);
  // fence.proxy.async
  void Fence(int warp);

  void Arrive(int warp);  // wgmma.fence
  // lanes[32]: what each gives. Poisons their accumulators.
  const char* Queue(int warp, const MatrixProduct* const* lanes);
  void Commit(int warp);
  const char* Wait(int warp, int pending);

 private:
  static constexpr int kLanes = 32;
  static constexpr int kRows = 16;   // Of a warp.
  static constexpr int kInner = 16;  // The K of a product.
  static constexpr int kColumnsMax = 128;
  static constexpr int kQueuedMax = 32;  // Products of a warp that are not waited for.
  static constexpr int kAccumulatorsMax = 4;

  // Sums of 16 rows, while products of them are queued.
  struct Accumulator {
    int queued;
    float (*d[kLanes])[4];
    float values[kRows][kColumnsMax];
  };
  struct Queued {
    MatrixProduct product;  // As lane 0 gave it.
    Accumulator* accumulator;
    int64_t group;
    const uint32_t* a[kLanes];
    uint32_t a_words[kLanes][4];  // When it was queued.
    bool read;                    // Then b is what shared memory held when it was queued.
    uint16_t b[kInner][kColumnsMax];
  };
  struct WarpState {
    int64_t open_group;
    uint64_t digest;  // Of all products so far.
    bool armed;       // A wgmma.fence came, and no commit since.
    int first;        // The oldest in the queue, which is a ring.
    int count;
    Queued queue[kQueuedMax];
    Accumulator accumulators[kAccumulatorsMax];
  };

  static Accumulator* FindAccumulator(WarpState& warp, float (*d)[4]);
  static void Take(Accumulator& accumulator, const MatrixProduct* const* lanes);
  static const char* GiveBack(const Accumulator& accumulator, int columns);
  const char* Perform(Queued& queued) const;
  const char* ReadMatrix(Queued& queued) const;

  const uint8_t* shared_ = nullptr;
  std::vector<uint64_t> seen_;    // Shared memory as of the last fence.
  std::vector<int16_t> copiers_;  // For each 16 bytes: the warp whose copy no fence follows; or -1.
  std::vector<std::unique_ptr<WarpState>> warps_;  // Kept for later blocks.
  int warp_count_ = 0;
  uint64_t seed_ = 0;
};

}  // namespace ebb::kernels::cuda::simt
