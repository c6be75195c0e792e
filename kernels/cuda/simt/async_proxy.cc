#include "kernels/cuda/simt/async_proxy.h"

#include <algorithm>
#include <bit>
#include <cstring>

// ThreadSanitizer's, where a program is built with it; as in machine.cc.
// NOLINTBEGIN(bugprone-reserved-identifier): the name is the sanitizer's.
extern "C" __attribute__((weak)) void __tsan_read_range(void* address, unsigned long bytes);
// NOLINTEND(bugprone-reserved-identifier)

namespace ebb::kernels::cuda::simt {
namespace {

constexpr int kChunkBytes = 16;
constexpr int kChunkElements = 8;
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

}  // namespace

void AsyncProxy::StartBlock(const uint8_t* shared, size_t bytes, int warps, uint64_t seed) {
  shared_ = shared;
  seen_.assign(shared, shared + bytes);
  copiers_.assign((bytes + kChunkBytes - 1) / kChunkBytes, -1);
  warps_.assign(static_cast<size_t>(warps), WarpState());
  rng_ = base::Rng(seed);
}

std::string AsyncProxy::FinishBlock() const {
  for (size_t i = 0; i < warps_.size(); ++i) {
    if (!warps_[i].queue.empty()) return "a block ended before its matrix products were waited for";
    const size_t first = i / kWarpgroupWarps * kWarpgroupWarps;
    if (warps_[i].digest != warps_[first].digest) {
      return "warps of a warpgroup queued different matrix products";
    }
    if (warps_[i].digest != 0 && first + kWarpgroupWarps > warps_.size()) {
      return "matrix products of a warpgroup that is not whole";
    }
  }
  return "";
}

void AsyncProxy::NoteCopy(const uint8_t* chunk, int warp) {
  copiers_[(chunk - shared_) / kChunkBytes] = static_cast<int16_t>(warp);
}

void AsyncProxy::Fence(int warp) {
  for (size_t i = 0; i < copiers_.size(); ++i) {
    if (copiers_[i] == warp) copiers_[i] = -1;
    if (copiers_[i] != -1) continue;
    const size_t at = i * kChunkBytes;
    std::memcpy(&seen_[at], shared_ + at, std::min<size_t>(kChunkBytes, seen_.size() - at));
  }
}

void AsyncProxy::Arrive(int warp) { warps_[warp].armed = true; }

void AsyncProxy::Commit(int warp) {
  ++warps_[warp].open_group;
  warps_[warp].armed = false;
}

std::string AsyncProxy::Queue(int warp, const MatrixProduct* const* lanes) {
  WarpState& state = warps_[warp];
  if (!state.armed) return "a matrix product without a wgmma.fence before the first of its group";
  Queued queued;
  queued.product = *lanes[0];
  queued.group = state.open_group;
  const int columns = queued.product.columns;
  Accumulator& accumulator = state.accumulators[queued.product.d];
  const bool first = accumulator.queued++ == 0;
  if (first) accumulator.values.resize(size_t{kRows} * columns);
  for (int lane = 0; lane < kLanes; ++lane) {
    const MatrixProduct& mine = *lanes[lane];
    if (mine.b != queued.product.b) return "lanes of a warp give different descriptors";
    queued.a[lane] = mine.a;
    std::memcpy(queued.a_words[lane].data(), mine.a, sizeof(queued.a_words[lane]));
    if (!first) continue;
    accumulator.d[lane] = mine.d;
    for (int i = 0; i < columns / 2; ++i) {
      float& value = mine.d[i / 4][i % 4];
      const int row = lane / 4 + i % 4 / 2 * 8;
      accumulator.values[row * columns + i / 4 * 8 + lane % 4 * 2 + i % 2] = value;
      value = std::bit_cast<float>(kPoison);
    }
  }
  state.digest = base::RandomBits(state.digest + 1, queued.product.b);
  std::string fault;
  if (rng_.Chance(0.5)) fault = ReadMatrix(queued.product, &queued.b);
  state.queue.push_back(std::move(queued));
  return fault;
}

std::string AsyncProxy::Wait(int warp, int pending) {
  WarpState& state = warps_[warp];
  std::string fault;
  while (fault.empty() && !state.queue.empty() &&
         state.queue.front().group < state.open_group - pending) {
    fault = Perform(state, state.queue.front());
    state.queue.pop_front();
  }
  return fault;
}

std::string AsyncProxy::ReadMatrix(const MatrixProduct& product, std::vector<uint16_t>* b) const {
  const Descriptor descriptor(product.b);
  if (!descriptor.emulated) return "a matrix descriptor of a kind that is not emulated";
  const int columns = product.columns;
  b->resize(size_t{kInner} * columns);
  const int outer = product.rows ? kInner : columns;  // Rows of chunks.
  const int chunks = (product.rows ? columns : kInner) / kChunkElements;
  for (int row = 0; row < outer; ++row) {
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const uint32_t at = ChunkAddress(descriptor, product.rows, row, chunk);
      if (at + kChunkBytes > seen_.size()) return "a matrix outside of shared memory";
      if (__tsan_read_range != nullptr) {
        __tsan_read_range(const_cast<uint8_t*>(shared_) + at, kChunkBytes);
      }
      if (std::memcmp(&seen_[at], shared_ + at, kChunkBytes) != 0) {
        return "a matrix product reads shared memory that was written since the last "
               "fence.proxy.async";
      }
      uint16_t elements[kChunkElements];
      std::memcpy(elements, shared_ + at, sizeof(elements));
      for (int i = 0; i < kChunkElements; ++i) {
        const int other = chunk * kChunkElements + i;
        (*b)[product.rows ? row * columns + other : other * columns + row] = elements[i];
      }
    }
  }
  return "";
}

std::string AsyncProxy::Perform(WarpState& warp, Queued& queued) {
  const MatrixProduct& product = queued.product;
  const int columns = product.columns;
  if (queued.b.empty()) {
    const std::string fault = ReadMatrix(product, &queued.b);
    if (!fault.empty()) return fault;
  }
  float a[kRows][kInner];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& words = queued.a_words[lane];
    if (std::memcmp(words.data(), queued.a[lane], sizeof(words)) != 0) {
      return "an operand's registers were written before its product was waited for";
    }
    for (int r = 0; r < 4; ++r) {
      const int row = lane / 4 + r % 2 * 8;
      const int column = lane % 4 * 2 + r / 2 * 8;
      a[row][column] = FromBf16(words[r]);
      a[row][column + 1] = FromBf16(words[r] >> 16);
    }
  }
  std::vector<float> b(queued.b.size());
  for (size_t i = 0; i < b.size(); ++i) b[i] = FromBf16(queued.b[i]);

  Accumulator& accumulator = warp.accumulators[product.d];
  std::vector<float> sums(size_t{kRows} * columns, 0.0f);
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kInner; ++k) {
      for (int column = 0; column < columns; ++column) {
        sums[row * columns + column] += a[row][k] * b[k * columns + column];
      }
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    accumulator.values[i] = product.accumulate ? accumulator.values[i] + sums[i] : sums[i];
  }
  if (--accumulator.queued > 0) return "";

  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < columns / 2; ++i) {
      float& value = accumulator.d[lane][i / 4][i % 4];
      if (std::bit_cast<uint32_t>(value) != kPoison) {
        return "an accumulator was written before its products were waited for";
      }
      const int row = lane / 4 + i % 4 / 2 * 8;
      value = accumulator.values[row * columns + i / 4 * 8 + lane % 4 * 2 + i % 2];
    }
  }
  warp.accumulators.erase(product.d);
  return "";
}

}  // namespace ebb::kernels::cuda::simt
