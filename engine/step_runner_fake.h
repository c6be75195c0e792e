// FakeStepRunner: a StepRunner whose "model" is a hash of what the block tables really lead to.
//
// Every position's cell lies in the KV memory itself (in the keys of the first layer, a copy in
// the values of the last), so that a wrong table, a block used twice or given away too early, or a
// page unmapped under a step changes the tokens or faults:
//
//   before(p) = fold of the cells 0 .. p-1, read through the table
//   cell(p)   = hash(before(p), token at p)
//   next      = hash(before(p + 1))          the token that follows position p
//
// Like the real thing it is row-invariant: chunks, batches and addresses do not matter.
// Steps run on streams: with FakeStream when the test says so, with HostStream in real threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "device/stream.h"
#include "device/vmm_fake.h"
#include "engine/step_runner.h"
#include "kernels/paged_kv.h"

namespace ebb::engine {

// Each lane is used by one thread at a time.
class FakeStepRunner final : public StepRunner {
 public:
  struct Options {
    // A block's keys must have room for 8 bytes a token: kv_heads * head_dim * element >= 8.
    kernels::PagedKv kv;
    uint8_t* workspace_base[2] = {nullptr, nullptr};  // Prefill, decode.
    device::Stream* stream[2] = {nullptr, nullptr};
    device::FakeVmm* vmm = nullptr;  // Backed. Told which ranges a step uses.
    const base::Clock* clock = nullptr;
    int32_t vocabulary_size = 64;
    int64_t workspace_row_bytes = 64;
  };
  explicit FakeStepRunner(const Options& options) : options_(options) {}

  void SetOnDone(std::function<void(Lane lane)> on_done) override { on_done_ = std::move(on_done); }
  int64_t WorkspaceBytes(Lane lane, const StepShape& shape) const override;
  void Submit(Batch batch) override;
  std::optional<StepResult> TakeResult(Lane lane) override;
  // The step leaves rubbish in the cells of its positions.
  void Abandon(Lane lane) override;
  void WaitIdle() override;

  // The lane's next step to run fails as a whole with this status.
  void FailNext(Lane lane, absl::Status status);
  // The lane's next step to run fails for its first sequence alone.
  void FailNextSequence(Lane lane, absl::Status status);

  // From now on every step, those in flight too, completes with this status and device_lost.
  void LoseDevice(absl::Status status);
  // Whether the lane's step in flight was told to stop.
  bool is_told_to_stop(Lane lane);
  // Steps that completed as abandoned.
  int64_t abandoned_count() const { return abandoned_count_; }
  // Steps that failed, as a whole or for a sequence, as was asked for.
  int64_t failed_count() const { return failed_count_; }
  // Steps submitted so far.
  int64_t submit_count() const { return submit_count_; }

  // The token that follows `tokens` in a quiet world, computed without any memory: what the answers
  // are compared with.
  static int32_t NextToken(const std::vector<int32_t>& tokens, int32_t output_index,
                           const SamplingParams& sampling, const std::vector<int32_t>& banned,
                           int32_t vocabulary_size,
                           const model::LogitAdjustments* adjustments = nullptr);
  // The log-probability of `next` after `tokens` in that world.
  static float LogprobOf(const std::vector<int32_t>& tokens, int32_t next);

 private:
  struct LaneState {
    Batch batch;
    std::vector<uint64_t> uses;  // Names of ranges in use at the fake device.
    base::Mutex mutex;
    bool in_flight ABSL_GUARDED_BY(mutex) = false;
    bool abandon ABSL_GUARDED_BY(mutex) = false;
    absl::Status fail ABSL_GUARDED_BY(mutex);
    absl::Status fail_sequence ABSL_GUARDED_BY(mutex);
    std::optional<StepResult> result ABSL_GUARDED_BY(mutex);
  };

  void BeginUses(LaneState* state);
  StepResult RunStep(LaneState* state);
  void MoveBlocks(const std::vector<kernels::BlockCopy>& moves) const;
  SequenceResult RunSequence(const SequenceRows& rows) const;
  void SpoilCells(const SequenceRows& rows) const;

  const Options options_;
  std::function<void(Lane)> on_done_;
  LaneState lanes_[2];
  std::atomic<int64_t> submit_count_ = 0;
  std::atomic<int64_t> abandoned_count_ = 0;
  std::atomic<int64_t> failed_count_ = 0;
  mutable base::Mutex loss_mutex_;
  absl::Status loss_ ABSL_GUARDED_BY(loss_mutex_);
};

}  // namespace ebb::engine
