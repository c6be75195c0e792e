// What the kernel tests share: random matrices in every format, guarded buffers, paged memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/backend_factory.h"
#include "kernels/dequantize.h"
#include "kernels/quant_block.h"

namespace ebb::kernels {

inline constexpr DType kAllDTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                                       DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                       DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
inline constexpr DType kBlockDTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                         DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// The least number of columns from `columns` on that are whole blocks.
inline int64_t WholeBlocks(DType dtype, int64_t columns) {
  const int64_t block = TraitsOf(dtype).block_elements;
  return (columns + block - 1) / block * block;
}

// Where in a block of the file d stands, and m where there is one.
inline std::vector<size_t> ScalePlaces(DType dtype) {
  if (dtype == DType::kQ6_K) return {208};
  if (QuantTraitsOf(dtype).has_minimum) return {0, 2};
  return {0};
}

// The seed of a random test, printed, and replaced by the environment's SEED when that is set.
inline uint64_t TestSeed(uint64_t fallback) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
  std::cout << "SEED=" << seed << "\n";
  return seed;
}

// The fast paths that this host can run.
inline std::vector<std::string> FastPaths() {
  std::vector<std::string> paths;
  for (const char* path : {"avx2", "avx512"}) {
    if (MakeCpuBackend(path, 1).ok()) paths.push_back(path);
  }
  CHECK(!paths.empty()) << "this host has no AVX2: the fast kernels cannot be tested";
  return paths;
}

inline std::unique_ptr<Backend> MakeOrDie(const std::string& path, int threads) {
  auto backend = MakeCpuBackend(path, threads);
  CHECK(backend.ok()) << backend.status().ToString();
  return std::move(backend).value();
}

// count elements at a multiple of 64 bytes, all bytes 0xFF (NaN in every float format) until
// written, and 64 guard bytes on each side.
template <typename T>
class Guarded {
 public:
  explicit Guarded(size_t count) : count_(count) {
    const size_t bytes = (count * sizeof(T) + 63) / 64 * 64 + 2 * kGuard;
    memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(64, bytes)));
    std::memset(memory_.get(), 0xFF, bytes);
    std::memset(memory_.get(), kMark, kGuard);
    std::memset(memory_.get() + kGuard + count * sizeof(T), kMark, kGuard);
  }
  T* data() { return reinterpret_cast<T*>(memory_.get() + kGuard); }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data()[i]; }
  absl::Span<T> span() { return {data(), count_}; }
  void Poison() { std::memset(data(), 0xFF, count_ * sizeof(T)); }
  ~Guarded() {
    for (size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(memory_.get()[i], kMark) << "written before the buffer";
      EXPECT_EQ(memory_.get()[kGuard + count_ * sizeof(T) + i], kMark) << "written past the buffer";
    }
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr uint8_t kMark = 0xA5;
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  size_t count_;
  std::unique_ptr<uint8_t, Free> memory_;
};

inline float RandomFloat(base::Rng* rng, float scale) {
  return static_cast<float>(rng->Unit() * 2 - 1) * scale;
}

inline std::vector<float> RandomFloats(base::Rng* rng, size_t count, float scale) {
  std::vector<float> values(count);
  for (float& value : values) value = RandomFloat(rng, scale);
  return values;
}

// A matrix in a file's form, what its weights are worth, and |d q| + |m| of each (the size of the
// terms that a kernel adds up).
struct TestMatrix {
  DType dtype;
  int64_t rows;
  int64_t columns;
  std::vector<uint8_t> bytes;
  std::vector<float> values;
  std::vector<float> term_sizes;

  MatrixSource source() const { return {dtype, rows, columns, bytes}; }
};

inline void AppendHalf(std::vector<uint8_t>* bytes, float value) {
  const uint16_t bits = FloatToHalf(value);
  bytes->push_back(static_cast<uint8_t>(bits));
  bytes->push_back(static_cast<uint8_t>(bits >> 8));
}

inline void AppendRandomBlock(base::Rng* rng, DType dtype, std::vector<uint8_t>* bytes) {
  switch (dtype) {
    case DType::kF32: {
      const float value = RandomFloat(rng, 0.1f);
      const auto* p = reinterpret_cast<const uint8_t*>(&value);
      bytes->insert(bytes->end(), p, p + 4);
      return;
    }
    case DType::kF16:
      return AppendHalf(bytes, RandomFloat(rng, 0.1f));
    case DType::kBF16: {
      const uint16_t bits = FloatToBf16(RandomFloat(rng, 0.1f));
      bytes->push_back(static_cast<uint8_t>(bits));
      bytes->push_back(static_cast<uint8_t>(bits >> 8));
      return;
    }
    default:
      break;
  }
  const size_t begin = bytes->size();
  for (int i = 0; i < TraitsOf(dtype).block_bytes; ++i) {
    bytes->push_back(static_cast<uint8_t>(rng->Bits()));
  }
  // Scales of up to 63 (Q6_K: 128) go with d, minimums of up to 63 with m.
  const float size = QuantTraitsOf(dtype).has_scales ? 1.0f / 32 : 1.0f;
  float largest = 0.02f * size;
  for (const size_t place : ScalePlaces(dtype)) {
    std::vector<uint8_t> half;
    AppendHalf(&half, RandomFloat(rng, largest));
    std::copy(half.begin(), half.end(), bytes->begin() + static_cast<long>(begin + place));
    largest = 0.1f * size;
  }
}

// |d q| + |m| of each weight of a block whose weights are `values`.
inline void AppendTermSizes(DType dtype, const uint8_t* bytes, const float* values,
                            std::vector<float>* sizes) {
  const QuantTraits traits = QuantTraitsOf(dtype);
  QuantBlock block;
  if (traits.bits > 0) ReadQuantBlock(dtype, bytes, &block);
  for (int k = 0; k < TraitsOf(dtype).block_elements; ++k) {
    const float m =
        traits.has_minimum ? HalfToFloat(block.m) * block.minimums[k / traits.sub_elements] : 0.0f;
    sizes->push_back(std::fabs(values[k] - m) + std::fabs(m));
  }
}

inline TestMatrix RandomMatrix(base::Rng* rng, DType dtype, int64_t rows, int64_t columns) {
  TestMatrix matrix{dtype, rows, columns, {}, {}, {}};
  const DTypeTraits traits = TraitsOf(dtype);
  const int64_t blocks = rows * columns / traits.block_elements;
  for (int64_t b = 0; b < blocks; ++b) AppendRandomBlock(rng, dtype, &matrix.bytes);
  matrix.values.resize(static_cast<size_t>(rows * columns));
  Dequantize(dtype, matrix.bytes, absl::MakeSpan(matrix.values));
  for (int64_t b = 0; b < blocks; ++b) {
    AppendTermSizes(dtype, matrix.bytes.data() + b * traits.block_bytes,
                    matrix.values.data() + b * traits.block_elements, &matrix.term_sizes);
  }
  return matrix;
}

inline std::unique_ptr<Matrix> LoadOrDie(Backend* backend, const TestMatrix& matrix) {
  auto loaded = backend->LoadMatrix(matrix.source());
  CHECK(loaded.ok()) << loaded.status().ToString();
  return std::move(loaded).value();
}

// Paged memory of one shape, poisoned, with sequences whose blocks lie scattered over its pages.
class TestKv {
 public:
  struct Shape {
    DType dtype = DType::kF16;
    int32_t layers = 2;
    int32_t kv_heads = 2;
    int32_t head_dim = 64;
    int32_t block_tokens = 16;
    int32_t blocks_per_page = 4;
    int32_t pages = 8;
  };

  explicit TestKv(const Shape& shape)
      : stride_(PagedKv::LayerBlockBytes(shape.dtype, shape.kv_heads, shape.head_dim,
                                         shape.block_tokens)),
        page_bytes_(stride_ * (shape.layers * shape.blocks_per_page + 1)),
        memory_(static_cast<size_t>(page_bytes_ * shape.pages)) {
    kv_.base = memory_.data();
    kv_.dtype = shape.dtype;
    kv_.layers = shape.layers;
    kv_.kv_heads = shape.kv_heads;
    kv_.head_dim = shape.head_dim;
    kv_.block_tokens = shape.block_tokens;
    kv_.blocks_per_page = shape.blocks_per_page;
    kv_.layer_block_bytes = stride_;
    for (int32_t b = 0; b < shape.pages * shape.blocks_per_page; ++b) {
      free_.push_back(b / shape.blocks_per_page * static_cast<int32_t>(page_bytes_ / stride_) +
                      b % shape.blocks_per_page);
    }
  }

  // A table for `tokens` tokens, blocks drawn at random.
  std::vector<int32_t> Table(base::Rng* rng, int32_t tokens) {
    std::vector<int32_t> table;
    for (int32_t t = 0; t < tokens; t += kv_.block_tokens) {
      CHECK(!free_.empty());
      const auto i = static_cast<size_t>(rng->Between(0, static_cast<int64_t>(free_.size()) - 1));
      table.push_back(free_[i]);
      free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return table;
  }

  const PagedKv& kv() const { return kv_; }
  absl::Span<uint8_t> bytes() { return memory_.span(); }

 private:
  const int64_t stride_;
  const int64_t page_bytes_;
  Guarded<uint8_t> memory_;
  PagedKv kv_;
  std::vector<int32_t> free_;
};

// Rows of a step over sequences: `counts[s]` rows of sequence s from position `starts[s]` on.
struct TestRows {
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence_of_row;
  std::vector<const int32_t*> tables;

  void Add(const std::vector<int32_t>& table, int32_t start, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      positions.push_back(start + i);
      sequence_of_row.push_back(static_cast<int32_t>(tables.size()));
    }
    tables.push_back(table.data());
  }
  BatchRows rows() const {
    BatchRows rows;
    rows.row_count = static_cast<int32_t>(positions.size());
    rows.sequence_count = static_cast<int32_t>(tables.size());
    rows.positions = positions.data();
    rows.sequence_of_row = sequence_of_row.data();
    rows.tables = tables.data();
    return rows;
  }
};

inline ::testing::AssertionResult SameBits(const float* a, const float* b, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (std::memcmp(a + i, b + i, sizeof(float)) != 0) {
      return ::testing::AssertionFailure() << "element " << i << ": " << a[i] << " and " << b[i];
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace ebb::kernels
