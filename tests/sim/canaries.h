// Wrappers around the engine's interfaces that plant the bugs of Canary.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "device/vmm.h"
#include "engine/step_policy.h"
#include "engine/step_runner.h"
#include "tests/sim/engine_sim.h"

namespace ebb::sim {

class CanaryRunner final : public engine::StepRunner {
 public:
  CanaryRunner(Canary canary, uint64_t seed, engine::StepRunner* inner)
      : canary_(canary), rng_(seed), inner_(inner) {}

  void SetOnDone(std::function<void(engine::Lane)> on_done) override {
    inner_->SetOnDone(std::move(on_done));
  }
  int64_t WorkspaceBytes(engine::Lane lane, const engine::StepShape& shape) const override {
    return inner_->WorkspaceBytes(lane, shape);
  }

  void Abandon(engine::Lane lane) override {
    if (canary_ != Canary::kDeafAbandon) inner_->Abandon(lane);
  }
  void WaitIdle() override { inner_->WaitIdle(); }

  void Submit(engine::Batch batch) override {
    samples_[static_cast<int>(batch.lane)] = false;
    row_count_[static_cast<int>(batch.lane)] = batch.sequences.size();
    for (engine::SequenceRows& rows : batch.sequences) {
      samples_[static_cast<int>(batch.lane)] |= rows.sample;
      if (canary_ == Canary::kWrongSlot && rows.table.size() > 1 && rng_.Chance(0.05)) {
        std::swap(rows.table[0], rows.table[1]);
      }
      if (canary_ == Canary::kStaleTable) {
        std::vector<int32_t>& first_table = tables_[rows.id];
        if (first_table.size() <= rows.table.size()) {
          std::copy(first_table.begin(), first_table.end(), rows.table.begin());
        }
        first_table = rows.table;
      }
      if (canary_ == Canary::kForgottenSeed) rows.output_index = 0;
      if (canary_ == Canary::kIgnoredBans) rows.banned_ids.clear();
      if (canary_ == Canary::kStaleAdjustments && rows.adjustments != nullptr) {
        rows.adjustments = &adjustments_.try_emplace(rows.id, *rows.adjustments).first->second;
      }
    }
    copied_blocks_ += static_cast<int64_t>(batch.copies.size());
    if (canary_ == Canary::kUnpatchedTable) UnpatchTables(batch.moves, &batch);
    if (canary_ == Canary::kSharedWrite) UnpatchTables(batch.copies, &batch);
    if (canary_ == Canary::kForgottenCopy && !batch.moves.empty()) batch.moves.pop_back();
    if (canary_ == Canary::kForgottenFork && !batch.copies.empty()) batch.copies.pop_back();
    inner_->Submit(std::move(batch));
  }

  std::optional<engine::StepResult> TakeResult(engine::Lane lane) override {
    std::optional<engine::StepResult> result = inner_->TakeResult(lane);
    if (!result.has_value()) return result;
    std::vector<engine::SequenceResult>& sequences = result->sequences;
    if (canary_ == Canary::kDoneAbandoned && result->abandoned &&
        !samples_[static_cast<int>(lane)]) {
      result->abandoned = false;
      result->status = absl::OkStatus();
      sequences.resize(row_count_[static_cast<int>(lane)]);
    }
    if (canary_ == Canary::kHiddenLoss) result->device_lost = false;
    if (canary_ == Canary::kLostStep && rng_.Chance(0.05)) return std::nullopt;
    if (canary_ == Canary::kCrossedResults && sequences.size() > 1 && rng_.Chance(0.2)) {
      std::swap(sequences[0].token.id, sequences[1].token.id);
    }
    if (canary_ == Canary::kLostPromptLogprob) {
      for (engine::SequenceResult& sequence : sequences) {
        if (!sequence.prompt_logprobs.empty() && rng_.Chance(0.3)) {
          sequence.prompt_logprobs.pop_back();
        }
      }
    }
    return result;
  }

  // Blocks that steps copied for answers that had shared them.
  int64_t copied_blocks() const { return copied_blocks_; }

 private:
  static void UnpatchTables(const std::vector<kernels::BlockCopy>& copies, engine::Batch* batch) {
    for (const kernels::BlockCopy& copy : copies) {
      for (engine::SequenceRows& rows : batch->sequences) {
        std::replace(rows.table.begin(), rows.table.end(), copy.to, copy.from);
      }
    }
  }

  const Canary canary_;
  base::Rng rng_;
  engine::StepRunner* const inner_;
  int64_t copied_blocks_ = 0;
  std::map<engine::RequestId, std::vector<int32_t>> tables_;
  std::map<engine::RequestId, model::LogitAdjustments> adjustments_;
  // Of the lane's last batch: whether it chooses a token, and its sequences.
  bool samples_[2] = {false, false};
  size_t row_count_[2] = {0, 0};
};

class CanaryVmm final : public device::Vmm {
 public:
  CanaryVmm(Canary canary, uint64_t seed, device::Vmm* inner)
      : canary_(canary), rng_(seed), inner_(inner) {}

  int64_t granularity_bytes() const override { return inner_->granularity_bytes(); }
  absl::StatusOr<uint8_t*> Reserve(int64_t bytes) override { return inner_->Reserve(bytes); }
  absl::Status Free(uint8_t* address, int64_t bytes) override {
    return inner_->Free(address, bytes);
  }
  absl::StatusOr<device::VmmHandle> Create(int64_t bytes) override { return inner_->Create(bytes); }
  absl::Status Map(uint8_t* address, int64_t bytes, device::VmmHandle handle) override {
    if (canary_ == Canary::kEarlyUnmap && !mapped_.empty() && rng_.Chance(0.1)) {
      // Takes the oldest mapping away instead of leaving it alone.
      (void)inner_->Unmap(mapped_.front().first, mapped_.front().second);
      mapped_.erase(mapped_.begin());
    }
    absl::Status status = inner_->Map(address, bytes, handle);
    if (status.ok()) mapped_.emplace_back(address, bytes);
    return status;
  }
  absl::Status SetAccess(uint8_t* address, int64_t bytes) override {
    if (canary_ == Canary::kUnopenedPage && rng_.Chance(0.1)) return absl::OkStatus();
    return inner_->SetAccess(address, bytes);
  }
  absl::Status Unmap(uint8_t* address, int64_t bytes) override {
    for (auto it = mapped_.begin(); it != mapped_.end(); ++it) {
      if (it->first != address) continue;
      mapped_.erase(it);
      break;
    }
    return inner_->Unmap(address, bytes);
  }
  absl::Status Release(device::VmmHandle handle) override {
    if (canary_ == Canary::kLeakedMemory && rng_.Chance(0.1)) return absl::OkStatus();
    return inner_->Release(handle);
  }
  absl::StatusOr<int64_t> FreeBytes() override { return inner_->FreeBytes(); }

 private:
  const Canary canary_;
  base::Rng rng_;
  device::Vmm* const inner_;
  std::vector<std::pair<uint8_t*, int64_t>> mapped_;
};

class CanaryPolicy final : public engine::StepPolicy {
 public:
  CanaryPolicy(Canary canary, const engine::StepPolicy* inner) : canary_(canary), inner_(inner) {}

  absl::Status Accept(const engine::ArrivalView& arrival) const override {
    return inner_->Accept(arrival);
  }
  int32_t ChunkTokensMax(const engine::ChunkTiming& timing) const override {
    return inner_->ChunkTokensMax(timing);
  }
  std::vector<int32_t> PlanChunk(const std::vector<engine::PromptView>& prompts,
                                 int32_t chunk_tokens_max) const override {
    if (canary_ != Canary::kGreedyChunks) return inner_->PlanChunk(prompts, chunk_tokens_max);
    std::vector<engine::PromptView> greedy = prompts;
    for (engine::PromptView& view : greedy) view.room_tokens = view.remaining_tokens;
    return inner_->PlanChunk(greedy, chunk_tokens_max);
  }
  std::vector<size_t> Admit(const engine::AdmissionInput& input) const override {
    std::vector<size_t> admitted = inner_->Admit(input);
    if (canary_ == Canary::kStarvingPolicy) {
      std::vector<size_t> kept;
      for (const size_t index : admitted) {
        const auto blocks = static_cast<int64_t>(input.order[index].demand.mean(0));
        if (blocks % 2 == 0) kept.push_back(index);
      }
      return kept;
    }
    return admitted;
  }
  absl::Time NextDecodeStart(const engine::DecodeTiming& timing) const override {
    return inner_->NextDecodeStart(timing);
  }
  std::unique_ptr<engine::LengthPredictor> MakeLengthPredictor() const override {
    return inner_->MakeLengthPredictor();
  }

 private:
  const Canary canary_;
  const engine::StepPolicy* const inner_;
};

}  // namespace ebb::sim
