// What tests of a CudaStepRunner stand on: a device of the fake library, a tiny model, and address
// ranges whose pages a test maps and unmaps by hand.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_vmm.h"
#include "engine/cuda_step_runner.h"
#include "gtest/gtest.h"
#include "kernels/cuda/library/fake_api.h"
#include "memory/kv_geometry.h"
#include "model/llama_cuda.h"
#include "model/open_model.h"
#include "tests/model/cuda_model_runner.h"

namespace ebb::engine {

// Log-probabilities are summed by other means than the sampler's (integers, or floats in another
// order): they differ in the last bits of a float32 of size 6.
inline constexpr float kLogprobTolerance = 2e-5f;

inline std::vector<int32_t> RandomIds(uint64_t seed, int count) {
  base::Rng rng(seed);
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(rng.Between(0, 300)));
  return ids;
}

inline void ExpectSameToken(const Token& got, const Token& want) {
  EXPECT_EQ(got.id, want.id);
  EXPECT_EQ(got.logprob, want.logprob);
  ASSERT_EQ(got.top.size(), want.top.size());
  for (size_t i = 0; i < want.top.size(); ++i) {
    EXPECT_EQ(got.top[i].token_id, want.top[i].token_id);
    EXPECT_EQ(got.top[i].logprob, want.top[i].logprob);
  }
}

// A reserved range of pages. Unmaps and frees everything at the end.
class PageRange {
 public:
  PageRange(device::Vmm* vmm, int64_t page_bytes, int64_t page_count)
      : vmm_(vmm), page_bytes_(page_bytes), page_count_(page_count) {
    auto base = vmm->Reserve(page_bytes * page_count);
    CHECK(base.ok()) << base.status().ToString();
    base_ = *base;
  }
  ~PageRange() {
    UnmapAll();
    CHECK(vmm_->Free(base_, page_bytes_ * page_count_).ok());
  }
  PageRange(const PageRange&) = delete;
  PageRange& operator=(const PageRange&) = delete;

  uint8_t* base() const { return base_; }
  int64_t bytes() const { return page_bytes_ * page_count_; }
  void Map(int64_t page) {
    auto handle = vmm_->Create(page_bytes_);
    CHECK(handle.ok()) << handle.status().ToString();
    uint8_t* const address = base_ + page * page_bytes_;
    CHECK(vmm_->Map(address, page_bytes_, *handle).ok());
    CHECK(vmm_->SetAccess(address, page_bytes_).ok());
    handles_[page] = *handle;
  }
  void Unmap(int64_t page) {
    CHECK(vmm_->Unmap(base_ + page * page_bytes_, page_bytes_).ok());
    CHECK(vmm_->Release(handles_.at(page)).ok());
    handles_.erase(page);
  }
  void UnmapAll() {
    while (!handles_.empty()) Unmap(handles_.begin()->first);
  }
  // Maps what is not mapped of the first bytes.
  void MapFirst(int64_t bytes) {
    for (int64_t page = 0; page * page_bytes_ < bytes; ++page) {
      if (handles_.count(page) == 0) Map(page);
    }
  }

 private:
  device::Vmm* const vmm_;
  const int64_t page_bytes_;
  const int64_t page_count_;
  uint8_t* base_ = nullptr;
  std::map<int64_t, device::VmmHandle> handles_;
};

class CudaRunnerTest : public testing::Test {
 protected:
  static constexpr int32_t kBlockTokens = 16;
  static constexpr int64_t kKvPages = 4;

  void SetUp() override {
    auto device = device::CudaDevice::Open(&library_, 0);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto vmm = device::CudaVmm::Create(device_.get());
    ASSERT_TRUE(vmm.ok()) << vmm.status();
    vmm_ = *std::move(vmm);
    auto opened = model::OpenModel("tests/golden/tiny_llama");
    ASSERT_TRUE(opened.ok()) << opened.status();
    auto model = model::CudaLlama::Load(*opened->weights, device_.get());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }

  static LocalEngineOptions EngineOptions() {
    LocalEngineOptions options;
    options.queue.running_sequences_max = 5;
    options.step.chunk_tokens_max = 48;
    options.step.logits_rows_max = 48;
    options.memory.block_tokens = kBlockTokens;
    return options;
  }

  // Makes the runner over ranges of which nothing is mapped.
  void MakeRunner(bool batch_invariant, device::LaunchGate* gate = nullptr) {
    memory::KvShape shape;
    shape.layers = model_->config().layers;
    shape.block_tokens = kBlockTokens;
    shape.layer_block_bytes = kernels::PagedKv::LayerBlockBytes(
        kernels::DType::kBF16, model_->config().kv_heads, model_->config().head_dim, kBlockTokens);
    auto geometry = memory::KvGeometry::Create(shape, vmm_->granularity_bytes(), 4);
    ASSERT_TRUE(geometry.ok()) << geometry.status();
    geometry_ = std::make_unique<memory::KvGeometry>(*geometry);
    kv_ = std::make_unique<PageRange>(vmm_.get(), geometry_->page_bytes(), kKvPages);

    CudaStepRunner::Parts parts;
    parts.model = model_.get();
    parts.clock = &clock_;
    parts.gate = gate;
    CudaStepRunnerFactory::Options options;
    options.batch_invariant = batch_invariant;
    options.banned_ids_max = 4;
    const CudaStepRunnerFactory factory(parts, options);
    StepRunnerPlace place;
    place.kv.base = kv_->base();
    place.kv.dtype = factory.kv_dtype();
    place.kv.layers = shape.layers;
    place.kv.kv_heads = model_->config().kv_heads;
    place.kv.head_dim = model_->config().head_dim;
    place.kv.block_tokens = kBlockTokens;
    place.kv.blocks_per_page = geometry_->blocks_per_page();
    place.kv.layer_block_bytes = shape.layer_block_bytes;
    for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
      const int64_t page = vmm_->granularity_bytes();
      const int64_t bytes = factory.WorkspaceBytesMax(EngineOptions(), lane);
      workspaces_[static_cast<int>(lane)] =
          std::make_unique<PageRange>(vmm_.get(), page, (bytes + page - 1) / page);
    }
    place.prefill = {workspace(Lane::kPrefill).base(), workspace(Lane::kPrefill).bytes()};
    place.decode = {workspace(Lane::kDecode).base(), workspace(Lane::kDecode).bytes()};
    auto runner = factory.Make(EngineOptions(), place);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }
  PageRange& workspace(Lane lane) { return *workspaces_[static_cast<int>(lane)]; }

  // Rows of a sequence that lies in these blocks.
  SequenceRows Rows(const std::vector<int32_t>& blocks, int32_t first_position,
                    std::vector<int32_t> tokens, bool sample) const {
    SequenceRows rows;
    rows.first_position = first_position;
    const int32_t end = first_position + static_cast<int32_t>(tokens.size());
    for (int32_t b = 0; b * kBlockTokens < end; ++b) {
      rows.table.push_back(geometry_->TableIndex(blocks.at(static_cast<size_t>(b))));
    }
    rows.tokens = std::move(tokens);
    rows.sample = sample;
    rows.sampling.temperature = 0;
    rows.sampling.logprobs = 3;
    return rows;
  }

  // The logits of each row of the ids, by the model alone.
  std::vector<float> Logits(const std::vector<int32_t>& ids, bool batch_invariant) const {
    model::CudaModelRunner::Options options;
    options.batch_invariant = batch_invariant;
    model::CudaModelRunner runner(*model_, options);
    return runner.Run(model::CudaAttention::kTiles, {{0, ids}}, /*all_rows=*/true);
  }
  absl::Span<const float> RowOf(const std::vector<float>& logits, size_t row) const {
    const auto vocab = static_cast<size_t>(model_->config().vocab);
    return absl::MakeConstSpan(logits).subspan(row * vocab, vocab);
  }

  // Maps what the step's workspace lacks, and submits it.
  void Submit(Lane lane, std::vector<SequenceRows> sequences) {
    Batch batch;
    batch.lane = lane;
    batch.sequences = std::move(sequences);
    SubmitBatch(std::move(batch));
  }
  void SubmitBatch(Batch batch) {
    workspace(batch.lane).MapFirst(runner_->WorkspaceBytes(batch.lane, ShapeOf(batch)));
    runner_->Submit(std::move(batch));
  }
  StepResult Run(Lane lane, std::vector<SequenceRows> sequences) {
    Batch batch;
    batch.lane = lane;
    batch.sequences = std::move(sequences);
    return RunBatch(std::move(batch));
  }
  StepResult RunBatch(Batch batch) {
    const Lane lane = batch.lane;
    SubmitBatch(std::move(batch));
    runner_->WaitIdle();
    std::optional<StepResult> result = runner_->TakeResult(lane);
    CHECK(result.has_value());
    return *std::move(result);
  }

  const device::CudaLibrary library_{EbbCudaFakeApi()};
  base::RealClock clock_;
  // In order of construction; destroyed in reverse.
  std::unique_ptr<device::CudaDevice> device_;
  std::unique_ptr<device::CudaVmm> vmm_;
  std::unique_ptr<model::CudaLlama> model_;
  std::unique_ptr<memory::KvGeometry> geometry_;
  std::unique_ptr<PageRange> kv_;
  std::unique_ptr<PageRange> workspaces_[2];
  std::unique_ptr<StepRunner> runner_;
};

}  // namespace ebb::engine
