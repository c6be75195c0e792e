// StepPolicy: what goes into the next steps, and when. Declared here, decided in scheduler/.
//
// Pure: numbers in, a decision out; the engine carries it out. All lists are in the one order over
// unfinished requests, first first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/length_predictor.h"
#include "engine/step_runner.h"
#include "memory/demand_curve.h"

namespace ebb::engine {

// A prompt that is being prefilled.
struct PromptView {
  int32_t remaining_tokens = 0;  // Not yet computed; at least 1.
  int32_t room_tokens = 0;       // Of these, how many its blocks and the grant have room for.
  bool prompt_logprobs = false;  // Each of its rows needs logits.
};

// A sequence before or behind others, for admission.
struct DemandView {
  bool running = false;         // It has started and was not preempted since.
  int32_t sequences = 1;        // It is, or will be, so many.
  memory::DemandCurve demand;   // Blocks that it will hold.
  bool immune = false;          // It may not be preempted now: counted wherever it stands.
  absl::Time place;             // Its place in the order: when its turn would be.
  int64_t resident_tokens = 0;  // Of one that has never run: so many need not be computed.
};

struct AdmissionInput {
  int64_t capacity_blocks = 0;    // What the limit and the device allow, held blocks included.
  std::vector<DemandView> order;  // All unfinished requests.
};

// How many prompt tokens a step may take. Valid during the call.
struct ChunkTiming {
  // The step also makes tokens of decoding sequences, which wait for it.
  bool beside_decode_rows = false;
  // The predicted time of the step when it takes so many prompt tokens; 0 is allowed.
  std::function<absl::Duration(int32_t prompt_tokens)> predicted_step;
};

// When the decode loop may take its next step.
struct DecodeTiming {
  bool prefill_in_flight = false;
  absl::Time last_step_ended = absl::InfinitePast();  // InfinitePast: none since it was idle.
  absl::Duration predicted_step;
};

// A request that has just arrived.
struct ArrivalView {
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;
  int64_t waiting_requests = 0;
  int64_t waiting_prompt_tokens = 0;  // To be prefilled for them.
  // When a full queue will have room again, about; looks at all that wait.
  std::function<absl::Duration()> retry_after;
  int64_t limit_blocks = 0;  // Blocks that the memory limit has room for, nothing else running.
  int64_t context_tokens_max = 0;
  int64_t block_tokens = 0;
};

// Immutable; the engine calls it under its mutex.
class StepPolicy {
 public:
  virtual ~StepPolicy() = default;

  // RESOURCE_EXHAUSTED when the queue is full or the request could never fit; INVALID_ARGUMENT when
  // the model's context is too short for it. The message holds both numbers.
  virtual absl::Status Accept(const ArrivalView& arrival) const = 0;

  // Prompt tokens that go into the next step, at most; at least 1.
  virtual int32_t ChunkTokensMax(const ChunkTiming& timing) const = 0;

  // For each prompt, how many tokens of it go into the next step; 0: none. Together no more than
  // chunk_tokens_max.
  virtual std::vector<int32_t> PlanChunk(const std::vector<PromptView>& prompts,
                                         int32_t chunk_tokens_max) const = 0;

  // Indices into input.order of those that start or resume now.
  virtual std::vector<size_t> Admit(const AdmissionInput& input) const = 0;

  // Decode's next step starts at this time, or earlier when prefill has nothing in flight.
  virtual absl::Time NextDecodeStart(const DecodeTiming& timing) const = 0;

  // For one engine, which tells it of every answer.
  virtual std::unique_ptr<LengthPredictor> MakeLengthPredictor() const = 0;
};

}  // namespace ebb::engine
