#include "kernels/cuda/simt/async_proxy.h"

#include <bit>

#include "base/rng.h"

// ThreadSanitizer's, where a program is built with it; as in machine.cc.
// NOLINTBEGIN(bugprone-reserved-identifier): the name is the sanitizer's.
extern "C" __attribute__((weak)) void __tsan_read_range(void* address, unsigned long bytes);
// NOLINTEND(bugprone-reserved-identifier)

namespace ebb::kernels::cuda::simt {
namespace {

constexpr int kChunkBytes = 16;
constexpr int kChunkElements = 8;
constexpr size_t kChunkWords = 2;  // Of eight bytes.
constexpr uint32_t kPoison = 0xFFFFFFFFu;
constexpr int kWarpgroupWarps = 4;

// The fields of a matrix descriptor, in bytes.
struct Descriptor {
  explicit Descriptor(uint64_t bits)
      : start(Field(bits, 0)), leading(Field(bits, 16)), stride(Field(bits, 32)) {
    constexpr uint64_t kOffsets = 0x3FFFull | 0x3FFFull << 16 | 0x3FFFull << 32;
    constexpr uint64_t kSwizzle128 = 1ull << 62;
    emulated = (bits & ~kOffsets) == kSwizzle128;
  }
  static uint32_t Field(uint64_t bits, int shift) {
    return static_cast<uint32_t>(bits >> shift & 0x3FFF) * kChunkBytes;
  }
  uint32_t start;
  uint32_t leading;
  uint32_t stride;
  bool emulated;  // 128-byte swizzle, base offset 0, all else 0.
};

// Swizzle atoms have eight rows of eight chunks. Chunk `chunk` of row `row`:
//   K-major   rows are the columns of b: eight to an atom, `stride` to the next eight. A product
//             takes two chunks of each.
//   MN-major  rows are the rows of b: eight to an atom, `stride` to the next eight; eight chunks of
//             columns to an atom, `leading` to the next eight.
// The swizzle exchanges chunks by their address in shared memory.
uint32_t ChunkAddress(const Descriptor& b, bool rows, int row, int chunk) {
  const auto r = static_cast<uint32_t>(row);
  const auto c = static_cast<uint32_t>(chunk);
  uint32_t address = b.start + r % 8 * 128 + r / 8 * b.stride;
  address += rows ? c % 8 * 16 + c / 8 * b.leading : c * 16;
  return address ^ (address >> 7 & 7) << 4;
}

float FromBf16(uint32_t bits) { return std::bit_cast<float>((bits & 0xFFFF) << 16); }

uint64_t LoadWord(const uint8_t* from) {
  uint64_t word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}

}  // namespace

void AsyncProxy::StartBlock(const uint8_t* shared, size_t bytes, int warps, uint64_t seed) {
  shared_ = shared;
  seed_ = seed;
  const size_t chunks = bytes / kChunkBytes;
  copiers_.assign(chunks, -1);
  seen_.resize(chunks * kChunkWords);
  for (size_t i = 0; i < seen_.size(); ++i) seen_[i] = LoadWord(shared + i * sizeof(uint64_t));
  warp_count_ = warps;
  while (warps_.size() < static_cast<size_t>(warps)) {
    warps_.push_back(std::make_unique_for_overwrite<WarpState>());
  }
  for (int i = 0; i < warps; ++i) {
    WarpState& warp = *warps_[i];
    warp.open_group = 0;
    warp.digest = 0;
    warp.armed = false;
    warp.first = 0;
    warp.count = 0;
    for (Accumulator& accumulator : warp.accumulators) accumulator.queued = 0;
  }
}

const char* AsyncProxy::FinishBlock() const {
  for (int i = 0; i < warp_count_; ++i) {
    if (warps_[i]->count != 0) return "a block ended before its matrix products were waited for";
    const int first = i / kWarpgroupWarps * kWarpgroupWarps;
    if (warps_[i]->digest != warps_[first]->digest) {
      return "warps of a warpgroup queued different matrix products";
    }
    if (warps_[i]->digest != 0 && first + kWarpgroupWarps > warp_count_) {
      return "matrix products of a warpgroup that is not whole";
    }
  }
  return nullptr;
}

void AsyncProxy::NoteCopy(const uint8_t* chunk, int warp) {
  copiers_[(chunk - shared_) / kChunkBytes] = static_cast<int16_t>(warp);
}

void AsyncProxy::Fence(int warp) {
  for (size_t i = 0; i < copiers_.size(); ++i) {
    if (copiers_[i] == warp) copiers_[i] = -1;
    if (copiers_[i] != -1) continue;
    for (size_t word = i * kChunkWords; word < (i + 1) * kChunkWords; ++word) {
      seen_[word] = LoadWord(shared_ + word * sizeof(uint64_t));
    }
  }
}

void AsyncProxy::Arrive(int warp) { warps_[warp]->armed = true; }

void AsyncProxy::Commit(int warp) {
  ++warps_[warp]->open_group;
  warps_[warp]->armed = false;
}

const char* AsyncProxy::Queue(int warp, const MatrixProduct* const* lanes) {
  WarpState& state = *warps_[warp];
  if (!state.armed) return "a matrix product without a wgmma.fence before the first of its group";
  if (state.count == kQueuedMax) return "more matrix products are queued than the emulator holds";
  Queued& queued = state.queue[(state.first + state.count++) % kQueuedMax];
  queued.product = *lanes[0];
  queued.group = state.open_group;
  queued.accumulator = FindAccumulator(state, queued.product.d);
  if (queued.accumulator == nullptr) return "more accumulators than the emulator holds";
  if (queued.accumulator->queued++ == 0) Take(*queued.accumulator, lanes);
  for (int lane = 0; lane < kLanes; ++lane) {
    const MatrixProduct& mine = *lanes[lane];
    if (mine.b != queued.product.b) return "lanes of a warp give different descriptors";
    queued.a[lane] = mine.a;
    for (int i = 0; i < 4; ++i) queued.a_words[lane][i] = mine.a[i];
  }
  state.digest = base::RandomBits(state.digest + 1, queued.product.b);
  queued.read = (base::RandomBits(seed_, state.digest) & 1) != 0;
  return queued.read ? ReadMatrix(queued) : nullptr;
}

const char* AsyncProxy::Wait(int warp, int pending) {
  WarpState& state = *warps_[warp];
  while (state.count > 0 && state.queue[state.first].group < state.open_group - pending) {
    const char* const fault = Perform(state.queue[state.first]);
    if (fault != nullptr) return fault;
    state.first = (state.first + 1) % kQueuedMax;
    --state.count;
  }
  return nullptr;
}

// The one that holds the sums of d, or a free one, or null.
AsyncProxy::Accumulator* AsyncProxy::FindAccumulator(WarpState& warp, float (*d)[4]) {
  Accumulator* free = nullptr;
  for (Accumulator& accumulator : warp.accumulators) {
    if (accumulator.queued == 0) {
      free = &accumulator;
    } else if (accumulator.d[0] == d) {
      return &accumulator;
    }
  }
  return free;
}

// The lanes' sums, which become NaN.
void AsyncProxy::Take(Accumulator& accumulator, const MatrixProduct* const* lanes) {
  for (int lane = 0; lane < kLanes; ++lane) {
    accumulator.d[lane] = lanes[lane]->d;
    for (int i = 0; i < lanes[lane]->columns / 2; ++i) {
      float& value = accumulator.d[lane][i / 4][i % 4];
      const int row = lane / 4 + i % 4 / 2 * 8;
      accumulator.values[row][i / 4 * 8 + lane % 4 * 2 + i % 2] = value;
      value = std::bit_cast<float>(kPoison);
    }
  }
}

const char* AsyncProxy::GiveBack(const Accumulator& accumulator, int columns) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < columns / 2; ++i) {
      float& value = accumulator.d[lane][i / 4][i % 4];
      if (std::bit_cast<uint32_t>(value) != kPoison) {
        return "an accumulator was written before its products were waited for";
      }
      const int row = lane / 4 + i % 4 / 2 * 8;
      value = accumulator.values[row][i / 4 * 8 + lane % 4 * 2 + i % 2];
    }
  }
  return nullptr;
}

const char* AsyncProxy::ReadMatrix(Queued& queued) const {
  const MatrixProduct& product = queued.product;
  const Descriptor descriptor(product.b);
  if (!descriptor.emulated) return "a matrix descriptor of a kind that is not emulated";
  const int outer = product.rows ? kInner : product.columns;  // Rows of chunks.
  const int chunks = (product.rows ? product.columns : kInner) / kChunkElements;
  for (int row = 0; row < outer; ++row) {
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const uint32_t at = ChunkAddress(descriptor, product.rows, row, chunk);
      const uint8_t* const from = shared_ + at;
      const size_t word = at / sizeof(uint64_t);
      if (word + kChunkWords > seen_.size()) return "a matrix outside of shared memory";
      if (__tsan_read_range != nullptr) {
        __tsan_read_range(const_cast<uint8_t*>(from), kChunkBytes);
      }
      if (seen_[word] != LoadWord(from) || seen_[word + 1] != LoadWord(from + sizeof(uint64_t))) {
        return "a matrix product reads shared memory that was written since the last "
               "fence.proxy.async";
      }
      for (int i = 0; i < kChunkElements; ++i) {
        uint16_t element;
        __builtin_memcpy(&element, from + i * sizeof(element), sizeof(element));
        const int other = chunk * kChunkElements + i;
        (product.rows ? queued.b[row][other] : queued.b[other][row]) = element;
      }
    }
  }
  return nullptr;
}

const char* AsyncProxy::Perform(Queued& queued) const {
  if (!queued.read) {
    const char* const fault = ReadMatrix(queued);
    if (fault != nullptr) return fault;
  }
  float a[kRows][kInner];
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const uint32_t word = queued.a_words[lane][i];
      if (word != queued.a[lane][i]) {
        return "an operand's registers were written before its product was waited for";
      }
      const int row = lane / 4 + i % 2 * 8;
      const int column = lane % 4 * 2 + i / 2 * 8;
      a[row][column] = FromBf16(word);
      a[row][column + 1] = FromBf16(word >> 16);
    }
  }
  Accumulator& accumulator = *queued.accumulator;
  const int columns = queued.product.columns;
  for (int row = 0; row < kRows; ++row) {
    float sums[kColumnsMax] = {};
    for (int k = 0; k < kInner; ++k) {
      for (int column = 0; column < columns; ++column) {
        sums[column] += a[row][k] * FromBf16(queued.b[k][column]);
      }
    }
    float* const values = accumulator.values[row];
    for (int column = 0; column < columns; ++column) {
      values[column] = queued.product.accumulate ? values[column] + sums[column] : sums[column];
    }
  }
  return --accumulator.queued > 0 ? nullptr : GiveBack(accumulator, columns);
}

}  // namespace ebb::kernels::cuda::simt
