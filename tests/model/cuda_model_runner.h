// CudaModelRunner: drives CudaLlama::Forward over keys and values of its own, for tests.
//
// All memory comes from the device, poisoned with NaN, and results are copied back: the same code
// runs on the fake library and on a real device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_stream.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/paged_kv.h"
#include "model/llama_cuda.h"
#include "tests/model/kv_memory.h"
#include "tests/model/model_runner.h"

namespace ebb::model {

enum class CudaAttention {
  kTiles,  // The prefill kernel: any rows.
  kPlan,   // The decode kernel: one row for each sequence.
};

// Keeps each sequence's length. One thread at a time.
class CudaModelRunner {
 public:
  struct Options {
    KvShape shape;  // Its dtype is not looked at.
    bool batch_invariant = false;
    bool high_priority = false;  // Of the stream.
  };

  CudaModelRunner(const CudaLlama& model, const Options& options)
      : model_(model),
        device_(*model.device()),
        options_(options),
        lengths_(options.shape.sequence_count) {
    device::CudaStream::Options stream;
    stream.high_priority = options.high_priority;
    auto made = device::CudaStream::Create(&device_, stream);
    CHECK(made.ok()) << made.status().ToString();
    stream_ = *std::move(made);
    LayOutKv();
  }

  // Appends the parts' tokens to their sequences in one step. Returns the logits of every row, or
  // only of each part's last: [rows or parts, vocab].
  std::vector<float> Run(CudaAttention attention, const std::vector<StepPart>& parts,
                         bool all_rows) {
    std::vector<int32_t> ids, positions, sequence_of_row, logits_rows, lengths;
    std::vector<kernels::cuda::PrefillRows> rows;
    std::vector<int32_t> indices, begins;
    for (size_t p = 0; p < parts.size(); ++p) {
      const StepPart& part = parts[p];
      int32_t& length = lengths_[part.sequence];
      rows.push_back({static_cast<int32_t>(p), static_cast<int32_t>(ids.size()),
                      static_cast<int32_t>(part.tokens.size()), length});
      for (const int32_t token : part.tokens) {
        if (all_rows) logits_rows.push_back(static_cast<int32_t>(ids.size()));
        ids.push_back(token);
        positions.push_back(length++);
        sequence_of_row.push_back(static_cast<int32_t>(p));
      }
      if (!all_rows) logits_rows.push_back(static_cast<int32_t>(ids.size()) - 1);
      lengths.push_back(length);
      begins.push_back(static_cast<int32_t>(indices.size()));
      const std::vector<int32_t>& table = tables_[part.sequence];
      indices.insert(indices.end(), table.begin(), table.end());
    }

    CudaPass pass;
    pass.stream = stream_->native();
    pass.shape.row_count = static_cast<int32_t>(ids.size());
    pass.shape.logits_row_count = static_cast<int32_t>(logits_rows.size());
    pass.ids = Upload(ids);
    pass.positions = Upload(positions);
    pass.sequence_of_row = Upload(sequence_of_row);
    pass.tables = {Upload(indices), Upload(begins)};
    pass.kv = ToCudaKv(kv_);
    pass.logits_rows = Upload(logits_rows);
    pass.shape.batch_invariant = options_.batch_invariant;
    if (attention == CudaAttention::kTiles) {
      std::vector<EbbCudaPrefillTile> tiles;
      kernels::cuda::PlanPrefillTiles(model_.config().heads, model_.config().kv_heads, rows,
                                      &tiles);
      pass.tiles = Upload(tiles);
      pass.tile_count = static_cast<int32_t>(tiles.size());
    } else {
      CHECK_EQ(ids.size(), parts.size());
      SetPlan(lengths, &pass);
    }
    std::vector<float> logits = RunPass(pass);
    inputs_.clear();
    return logits;
  }

  void Forget(int32_t sequence) { lengths_[sequence] = 0; }

 private:
  void LayOutKv() {
    const ModelConfig& config = model_.config();
    const KvShape& shape = options_.shape;
    kv_.dtype = kernels::DType::kBF16;
    kv_.layers = config.layers;
    kv_.kv_heads = config.kv_heads;
    kv_.head_dim = config.head_dim;
    kv_.block_tokens = shape.block_tokens;
    kv_.blocks_per_page = shape.blocks_per_page;
    kv_.layer_block_bytes = kernels::PagedKv::LayerBlockBytes(kv_.dtype, config.kv_heads,
                                                              config.head_dim, shape.block_tokens);
    const int32_t blocks = (shape.tokens_max + shape.block_tokens - 1) / shape.block_tokens;
    const int32_t all_blocks = blocks * shape.sequence_count;
    const int32_t pages = (all_blocks + shape.blocks_per_page - 1) / shape.blocks_per_page;
    // One layer block of padding at the end of a page, as a real page may have.
    const int32_t page_stride = shape.blocks_per_page * config.layers + 1;
    kv_memory_ = Alloc(int64_t{pages} * page_stride * kv_.layer_block_bytes);
    kv_.base = kv_memory_.data();
    std::vector<int32_t> order(all_blocks);
    for (int32_t b = 0; b < all_blocks; ++b) {
      order[b] = b / shape.blocks_per_page * page_stride + b % shape.blocks_per_page;
    }
    if (shape.shuffle_seed != 0) {
      base::Rng rng(shape.shuffle_seed);
      for (size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1],
                  order[static_cast<size_t>(rng.Between(0, static_cast<int64_t>(i) - 1))]);
      }
    }
    for (int32_t s = 0; s < shape.sequence_count; ++s) {
      tables_.emplace_back(order.begin() + s * blocks, order.begin() + (s + 1) * blocks);
    }
  }

  void SetPlan(const std::vector<int32_t>& lengths, CudaPass* pass) {
    kernels::cuda::DecodeShape shape;
    shape.heads = model_.config().heads;
    shape.kv_heads = model_.config().kv_heads;
    shape.block_tokens = options_.shape.block_tokens;
    shape.sm_count = device_.info().sm_count;
    pass->shape.slots_max = kernels::cuda::DecodeSlotsMax(
        shape, static_cast<int32_t>(lengths.size()), options_.shape.tokens_max);
    kernels::cuda::DecodePlan plan;
    kernels::cuda::PlanDecode(shape, lengths, pass->shape.slots_max, &plan);
    pass->plan.split_count = Upload(std::vector<int32_t>{static_cast<int32_t>(plan.splits.size())});
    pass->plan.splits = Upload(plan.splits);
    pass->plan.slot_begins = Upload(plan.slot_begins);
  }

  // Poisoned: every bf16 and float32 in it is a NaN.
  device::CudaBuffer Alloc(int64_t bytes) {
    auto memory = device_.Alloc(std::max<int64_t>(bytes, 1));
    CHECK(memory.ok()) << memory.status().ToString();
    Do([&](EbbCudaStream* stream) {
      return device_.api().fill_bytes(stream, memory->data(), 0xFF, memory->bytes());
    });
    return *std::move(memory);
  }

  template <typename T>
  const T* Upload(const std::vector<T>& values) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    inputs_.push_back(Alloc(bytes));
    if (bytes > 0) {
      Do([&](EbbCudaStream* stream) {
        return device_.api().copy_to_device(stream, inputs_.back().data(), values.data(), bytes);
      });
    }
    return inputs_.back().As<const T>();
  }

  std::vector<float> RunPass(CudaPass pass) {
    const device::CudaBuffer workspace = Alloc(model_.WorkspaceBytes(pass.shape));
    pass.workspace = workspace.data();
    const absl::StatusOr<float*> logits = model_.Forward(pass);
    CHECK(logits.ok()) << logits.status().ToString();
    std::vector<float> out(static_cast<size_t>(pass.shape.logits_row_count) *
                           static_cast<size_t>(model_.config().vocab));
    Do([&](EbbCudaStream* stream) {
      return device_.api().copy_to_host(stream, out.data(), *logits,
                                        static_cast<int64_t>(out.size() * sizeof(float)));
    });
    return out;
  }

  // Queues and waits.
  template <typename Work>
  void Do(const Work& work) {
    absl::Status status = device_.Check(work(stream_->native()), "test");
    CHECK(status.ok()) << status.ToString();
    status = device_.Check(device_.api().stream_synchronize(stream_->native()), "test");
    CHECK(status.ok()) << status.ToString();
  }

  const CudaLlama& model_;
  const device::CudaDevice& device_;
  const Options options_;
  std::unique_ptr<device::CudaStream> stream_;
  device::CudaBuffer kv_memory_;
  kernels::PagedKv kv_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<int32_t> lengths_;
  std::vector<device::CudaBuffer> inputs_;
};

}  // namespace ebb::model
