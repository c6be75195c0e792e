// StepRunner: the engine's only way to the model. One step is one forward pass of one lane.
//
//   loop ──Submit(batch)──> StepRunner ──> (the lane's stream computes)
//   loop <──TakeResult()─── StepRunner <── on_done: "look again"
//
// A lane has at most one step in flight. Where there are two lanes, they run side by side.
//
// When the device is lost, steps in flight still complete: with device_lost, as does every step
// that is submitted after.
//
// Forms: ModelStepRunner (a model and a sampler on the host's processors), CudaStepRunner (a CUDA
// device), FakeStepRunner (tests).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/request.h"
#include "kernels/backend.h"
#include "kernels/copy_blocks.h"
#include "model/logit_adjustments.h"

namespace ebb::engine {

using kernels::Lane;

// One sequence's rows of a step: consecutive positions from first_position.
struct SequenceRows {
  RequestId id = 0;
  int32_t first_position = 0;
  std::vector<int32_t> tokens;  // One for each row; at least one.
  // PagedKv indices of the blocks that hold positions 0 .. first_position + tokens.size() - 1.
  std::vector<int32_t> table;

  // Whether the last row's logits choose a token, and how.
  bool sample = false;
  SamplingParams sampling;
  int32_t output_index = 0;         // The token's index in its sequence; fixes the random number.
  std::vector<int32_t> banned_ids;  // Never chosen.
  // Of the last row's logits, or null. Its owner leaves it as it is until the step has completed.
  const model::LogitAdjustments* adjustments = nullptr;

  // For row i < targets.size(): the log-probability of targets[i], the token that follows it in
  // the prompt, with sampling.prompt_logprobs alternatives. Empty: none wanted.
  std::vector<int32_t> targets;
};

// The rows of a step.
struct Batch {
  Lane lane = Lane::kDecode;
  // Blocks that are copied before anything else of the step: its tables name the new places. None
  // is both read and written, and nobody else touches the new places before the step has completed.
  // What moved is gone from its old place; what is copied is still read there by others.
  std::vector<kernels::BlockCopy> moves;
  std::vector<kernels::BlockCopy> copies;
  std::vector<SequenceRows> sequences;
};

// What a step says of one sequence, in the order of Batch::sequences.
struct SequenceResult {
  absl::Status status;  // Not OK: this sequence alone failed; nothing else here is valid.
  Token token;          // Valid when `sample` was set. Its index is the output index.
  std::vector<PromptLogprob> prompt_logprobs;  // One for each target.
};

struct StepResult {
  absl::Status status;       // Not OK: no sequence of the batch has a result.
  bool device_lost = false;  // No step will run in this process again.
  bool abandoned = false;    // `status` is ABORTED: the step did not end, and can be had again.
  std::vector<SequenceResult> sequences;
  absl::Time started;
  absl::Time ended;
};

// How large a batch is; what memory and time a step needs follows from it.
struct StepShape {
  int32_t row_count = 0;
  int32_t sequence_count = 0;
  int32_t logits_row_count = 0;  // Rows whose logits are needed.
  int64_t context_tokens = 0;    // Positions that the rows attend to, summed over the rows.
};

// Thread-compatible for each lane; the lanes may be used from two threads at once.
class StepRunner {
 public:
  virtual ~StepRunner() = default;

  // Called, from any thread and possibly inside Submit, each time a step of `lane` has completed.
  // Set once, before the first Submit. It must not call back into the runner.
  virtual void SetOnDone(std::function<void(Lane lane)> on_done) = 0;

  // Bytes of the lane's workspace that a step of this shape writes.
  virtual int64_t WorkspaceBytes(Lane lane, const StepShape& shape) const = 0;

  // Starts a step. REQUIRES: no step of batch.lane is in flight, its workspace is mapped, and
  // so are all blocks named by the tables, moves and copies until the step has completed.
  virtual void Submit(Batch batch) = 0;

  // The completed step's result, once; nothing while it runs or when none was submitted.
  virtual std::optional<StepResult> TakeResult(Lane lane) = 0;

  // Lets the lane's step in flight complete early if it can, as abandoned: keys and values of its
  // positions are then undefined. Without effect when none is in flight, or when the form cannot:
  // a step that a device has been given runs to its end. Any thread; never blocks.
  virtual void Abandon(Lane) {}

  // Returns when every step that was submitted has completed and its on_done has returned.
  // REQUIRES: nobody submits meanwhile.
  virtual void WaitIdle() = 0;
};

// What the engine must know of the model.
struct ModelLimits {
  int32_t vocabulary_size = 0;
  int32_t context_tokens_max = 0;
  std::vector<int32_t> end_ids;  // End of sequence, end of turn: these end an answer.
};

StepShape ShapeOf(const Batch& batch);

}  // namespace ebb::engine
