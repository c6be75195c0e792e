// Random attention problems with their answers in double: sequences of bf16 keys and values, laid
// out in paged memory as the kernels see it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "device/cuda/cuda_api.h"
#include "tests/kernels/cuda/bf16.h"

namespace ebb::kernels::cuda {

inline constexpr uint16_t kBf16Nan = 0xFFFF;

struct AttentionShape {
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;

  int64_t row_width() const { return int64_t{heads} * head_dim; }
};

// The keys and values of one sequence.
struct AttentionSequence {
  std::vector<uint16_t> keys;    // [length, kv_heads, head_dim]
  std::vector<uint16_t> values;  // as keys
  int32_t length = 0;
};

inline AttentionSequence RandomSequence(base::Rng& rng, const AttentionShape& shape,
                                        int32_t length) {
  const int64_t count = int64_t{length} * shape.kv_heads * shape.head_dim;
  return {RandomBf16(rng, count, 1.5), RandomBf16(rng, count, 1.0), length};
}

// What a row of one head should be, and how far each element may be off.
struct AttentionAnswer {
  std::vector<double> out;
  std::vector<double> tolerance;
};

// `query` [head_dim] attends to the first `visible` positions. With u = kBf16Rounding, an element
// may err by
//   u * sum(weight * |value|)   the weights are rounded to bf16 before they meet the values
// + u * |out|                   the result is rounded to bf16
// + 2^-13 * sum(weight * |value|)  float32: scores and exponents (sums of at most 128 products of
//                               scores below 40 err by some 2^-24 * 128 * 40), sums, the division
inline AttentionAnswer Answer(const AttentionShape& shape, const AttentionSequence& sequence,
                              int32_t head, int32_t visible, const uint16_t* query) {
  const int32_t kv_head = head / (shape.heads / shape.kv_heads);
  const auto at = [&](int32_t position) {
    return (int64_t{position} * shape.kv_heads + kv_head) * shape.head_dim;
  };
  std::vector<double> weights(visible);
  for (int32_t p = 0; p < visible; ++p) {
    double score = 0;
    for (int32_t d = 0; d < shape.head_dim; ++d) {
      score += Bf16ToDouble(query[d]) * Bf16ToDouble(sequence.keys[at(p) + d]);
    }
    weights[p] = score / std::sqrt(static_cast<double>(shape.head_dim));
  }
  const double maximum = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - maximum);

  AttentionAnswer answer;
  for (int32_t d = 0; d < shape.head_dim; ++d) {
    double out = 0;
    double size = 0;
    for (int32_t p = 0; p < visible; ++p) {
      const double term = weights[p] / sum * Bf16ToDouble(sequence.values[at(p) + d]);
      out += term;
      size += std::abs(term);
    }
    answer.out.push_back(out);
    answer.tolerance.push_back((kBf16Rounding + 0x1p-13) * size + kBf16Rounding * std::abs(out));
  }
  return answer;
}

enum class KvLayout { kPages, kLayerByLayer };

// Paged memory that holds the sequences in one of its layers, in blocks at random places. All else
// is NaN: other layers, blocks of nobody, and the rest of each sequence's last block.
struct PagedImage {
  std::vector<uint16_t> memory;
  EbbCudaKv kv = {};  // Without its base.
  int32_t layer = 0;
  std::vector<int32_t> indices;  // No more entries than the sequences have blocks.
  std::vector<int32_t> begins;

  // Where a position's key is in `memory`; its value is value_offset_bytes further.
  int64_t KeyAt(int32_t sequence, int32_t position, int32_t kv_head) const {
    const int32_t index = indices[begins[sequence] + position / kv.block_tokens];
    const int64_t bytes = layer * kv.layer_stride_bytes + index * kv.index_stride_bytes;
    return bytes / 2 +
           (int64_t{kv_head} * kv.block_tokens + position % kv.block_tokens) * kv.head_dim;
  }

  // Writes the keys and values of sequence `s`, whose blocks the table already names.
  void Store(int32_t s, const AttentionSequence& sequence) {
    const size_t bytes = size_t{2} * kv.head_dim;
    for (int32_t p = 0; p < sequence.length; ++p) {
      for (int32_t h = 0; h < kv.kv_heads; ++h) {
        const int64_t from = (int64_t{p} * kv.kv_heads + h) * kv.head_dim;
        const int64_t to = KeyAt(s, p, h);
        std::memcpy(&memory[to], &sequence.keys[from], bytes);
        std::memcpy(&memory[to + kv.value_offset_bytes / 2], &sequence.values[from], bytes);
      }
    }
  }
};

inline PagedImage MakeImage(base::Rng& rng, const AttentionShape& shape,
                            const std::vector<AttentionSequence>& sequences, KvLayout layout) {
  PagedImage image;
  const auto blocks_of = [&](const AttentionSequence& sequence) {
    return (sequence.length + shape.block_tokens - 1) / shape.block_tokens;
  };
  int32_t block_count = 0;
  for (const AttentionSequence& sequence : sequences) block_count += blocks_of(sequence);

  EbbCudaKv& kv = image.kv;
  kv.layers = 3;
  kv.kv_heads = shape.kv_heads;
  kv.head_dim = shape.head_dim;
  kv.block_tokens = shape.block_tokens;
  image.layer = static_cast<int32_t>(rng.Between(0, kv.layers - 1));
  constexpr int32_t kBlocksPerPage = 2;
  const int32_t pages = block_count / kBlocksPerPage + 2;
  const int64_t half_bytes = int64_t{2} * shape.kv_heads * shape.block_tokens * shape.head_dim;
  std::vector<int32_t> places(pages * kBlocksPerPage);
  std::iota(places.begin(), places.end(), 0);
  if (layout == KvLayout::kPages) {
    // A page: all layers, two blocks each, then padding; indices count halves of a layer's part.
    kv.value_offset_bytes = half_bytes;
    kv.index_stride_bytes = 2 * half_bytes;
    kv.layer_stride_bytes = kBlocksPerPage * kv.index_stride_bytes;
    const int32_t page_indices = kv.layers * kBlocksPerPage + 1;
    for (int32_t& place : places) {
      place = place / kBlocksPerPage * page_indices + place % kBlocksPerPage;
    }
    image.memory.assign(pages * page_indices * kv.index_stride_bytes / 2, kBf16Nan);
  } else {
    // A stretch for each layer: all keys, then all values.
    kv.index_stride_bytes = half_bytes;
    kv.value_offset_bytes = half_bytes * static_cast<int64_t>(places.size());
    kv.layer_stride_bytes = 2 * kv.value_offset_bytes;
    image.memory.assign(kv.layers * kv.layer_stride_bytes / 2, kBf16Nan);
  }
  for (size_t i = places.size(); i > 1; --i) {
    std::swap(places[i - 1], places[rng.Between(0, static_cast<int64_t>(i) - 1)]);
  }

  for (size_t s = 0; s < sequences.size(); ++s) {
    image.begins.push_back(static_cast<int32_t>(image.indices.size()));
    for (int32_t b = 0; b < blocks_of(sequences[s]); ++b) {
      image.indices.push_back(places.back());
      places.pop_back();
    }
    image.Store(static_cast<int32_t>(s), sequences[s]);
  }
  return image;
}

// A random shape that the kernels serve, of at most `group_max` query heads for each key head.
inline AttentionShape RandomShape(base::Rng& rng, int32_t group_max) {
  constexpr int32_t kGroups[] = {1, 3, 4, 7, 8, 16, 17, 64, 100, 128};
  AttentionShape shape;
  shape.kv_heads = static_cast<int32_t>(rng.Between(1, 2));
  int32_t group = group_max + 1;
  while (group > group_max) group = kGroups[rng.Between(0, std::size(kGroups) - 1)];
  shape.heads = shape.kv_heads * group;
  shape.head_dim = 32 * static_cast<int32_t>(rng.Between(1, 4));
  shape.block_tokens = 8 << rng.Between(0, 5);
  return shape;
}

}  // namespace ebb::kernels::cuda
