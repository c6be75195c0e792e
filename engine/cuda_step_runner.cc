#include "engine/cuda_step_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/cuda/cuda_status.h"
#include "engine/cuda_kv_copier.h"
#include "engine/largest_step.h"

namespace ebb::engine {

CudaStepRunner::CudaStepRunner(const Parts& parts, const CudaStepOptions& options,
                               const StepRunnerPlace& place)
    : parts_(parts),
      device_(parts.model->device()),
      planner_(parts.model, options),
      layout_(place.kv),
      kv_(model::ToCudaKv(place.kv)),
      prefill_(device_),
      decode_(device_) {
  prefill_.workspace = place.prefill;
  decode_.workspace = place.decode;
}

absl::StatusOr<std::unique_ptr<CudaStepRunner>> CudaStepRunner::Create(
    const Parts& parts, const CudaStepOptions& options, const StepRunnerPlace& place,
    const StepShape& largest_prefill, const StepShape& largest_decode) {
  CHECK_EQ(options.block_tokens, place.kv.block_tokens);
  std::unique_ptr<CudaStepRunner> self(new CudaStepRunner(parts, options, place));
  if (largest_prefill.row_count > 0) {
    RETURN_IF_ERROR(self->OpenLane(Lane::kPrefill, largest_prefill));
  }
  RETURN_IF_ERROR(self->OpenLane(Lane::kDecode, largest_decode));
  RETURN_IF_ERROR(self->WarmUp());
  RETURN_IF_ERROR(self->CaptureGraphs());
  return self;
}

CudaStepRunner::~CudaStepRunner() { WaitIdle(); }

absl::Status CudaStepRunner::OpenLane(Lane lane, const StepShape& largest) {
  LaneState& state = StateOf(lane);
  CHECK_LE(planner_.WorkspaceBytes(lane, largest), state.workspace.bytes);
  ASSIGN_OR_RETURN(state.staging, device_->AllocHost(planner_.StagingBytes(lane, largest)));
  const int64_t sampled_bytes = int64_t{planner_.LayOut(lane, largest).sizes.logits_rows} *
                                static_cast<int64_t>(sizeof(EbbCudaSampled));
  ASSIGN_OR_RETURN(state.sampled, device_->AllocHost(std::max<int64_t>(sampled_bytes, 1)));
  device::CudaStream::Options options;
  options.high_priority = lane == Lane::kDecode;
  ASSIGN_OR_RETURN(state.stream,
                   device::CudaStream::Create(device_, options,
                                              [this, lane](device::Ticket) { Complete(lane); }));
  return absl::OkStatus();
}

// Runs each bucket's pass once, in memory of its own and with every row unused, so that whatever a
// library loads at its first use is there before the capture.
absl::Status CudaStepRunner::WarmUp() {
  // Only plans can be empty: a tile reads keys, and no page is mapped yet. Without plans there is
  // no library's kernel either (EbbCudaLinear::invariant).
  if (planner_.options().batch_invariant) return absl::OkStatus();
  EbbCudaStream* const stream = decode_.stream->native();
  const EbbCudaApi& api = device_->api();
  const int64_t bytes = planner_.LayOutBucket(planner_.buckets().back()).total_bytes;
  ASSIGN_OR_RETURN(const device::CudaBuffer memory, device_->Alloc(bytes));
  const auto run = [&]() -> absl::Status {
    for (const int32_t bucket : planner_.buckets()) {
      const CudaStepLayout layout = planner_.LayOutBucket(bucket);
      uint8_t* const base = memory.data();
      RETURN_IF_ERROR(Check(api.fill_bytes(stream, base, 0, layout.total_bytes), "warming up"));
      RETURN_IF_ERROR(Check(
          api.fill_bytes(stream, base + layout.positions, 0xFF, bucket * int64_t{sizeof(int32_t)}),
          "warming up"));
      RETURN_IF_ERROR(QueuePass(Lane::kDecode, layout, true, 0, base));
    }
    return absl::OkStatus();
  };
  const absl::Status queued = run();
  absl::Status done = Check(api.stream_synchronize(stream), "warming up");
  RETURN_IF_ERROR(queued);
  return done;
}

absl::Status CudaStepRunner::CaptureGraphs() {
  for (const int32_t bucket : planner_.buckets()) {
    const CudaStepLayout layout = planner_.LayOutBucket(bucket);
    CHECK_LE(layout.total_bytes, decode_.workspace.bytes);
    ASSIGN_OR_RETURN(
        device::CudaGraph graph, device::CudaGraph::Capture(device_, decode_.stream->native(), [&] {
          return QueuePass(Lane::kDecode, layout, true, layout.sizes.tiles, decode_.workspace.base);
        }));
    decode_.graphs.push_back(std::move(graph));
  }
  return absl::OkStatus();
}

void CudaStepRunner::SetOnDone(std::function<void(Lane lane)> on_done) {
  on_done_ = std::move(on_done);
}

int64_t CudaStepRunner::WorkspaceBytes(Lane lane, const StepShape& shape) const {
  return planner_.WorkspaceBytes(lane, shape);
}

void CudaStepRunner::Submit(Batch batch) {
  LaneState& state = StateOf(batch.lane);
  {
    base::MutexLock lock(&state.mutex);
    CHECK(!state.in_flight);
    state.in_flight = true;
  }
  const Lane lane = batch.lane;
  state.batch = std::move(batch);
  const CudaStepLayout layout = planner_.LayOut(lane, ShapeOf(state.batch));
  CHECK_LE(layout.total_bytes, state.workspace.bytes);
  CHECK_LE(layout.staging_bytes, state.staging.bytes());
  state.packed = PackStep(planner_, state.batch, state.staging.data(), &state.scratch);
  if (!state.packed.adjusted.empty()) PackAdjusted(&state);
  if (parts_.gate != nullptr) parts_.gate->BeginLaunch();
  state.started = parts_.clock->Now();
  state.stream->Launch([this, lane, &state] { state.launched = QueueStep(lane); });
}

void CudaStepRunner::PackAdjusted(LaneState* state) {
  const absl::Status status = state->adjust.Pack(state->batch, state->packed);
  if (status.ok()) return;
  for (const AdjustedRow& row : state->packed.adjusted) {
    state->packed.sequence_status[row.sequence] = status;
  }
  state->packed.adjusted.clear();
}

absl::Status CudaStepRunner::QueueStep(Lane lane) {
  LaneState& state = StateOf(lane);
  const PackedStep& packed = state.packed;
  EbbCudaStream* const stream = state.stream->native();
  RETURN_IF_ERROR(QueueCopies(state.batch, stream));
  RETURN_IF_ERROR(Check(device_->api().copy_to_device(stream, state.workspace.base,
                                                      state.staging.data(), packed.copy_bytes),
                        "copying a step's rows"));
  if (packed.in_bucket) {
    const std::vector<int32_t>& buckets = planner_.buckets();
    const auto bucket = std::lower_bound(buckets.begin(), buckets.end(), packed.layout.sizes.rows);
    RETURN_IF_ERROR(state.graphs[static_cast<size_t>(bucket - buckets.begin())].Launch(stream));
  } else {
    RETURN_IF_ERROR(QueuePass(lane, packed.layout, false, packed.tile_count, state.workspace.base));
  }
  if (packed.logits_row_count == 0) return absl::OkStatus();
  const int64_t sampled_bytes =
      packed.logits_row_count * static_cast<int64_t>(sizeof(EbbCudaSampled));
  CHECK_LE(sampled_bytes, state.sampled.bytes());
  RETURN_IF_ERROR(Check(
      device_->api().copy_to_host(stream, state.sampled.data(),
                                  state.workspace.base + packed.layout.sampled, sampled_bytes),
      "copying a step's tokens"));
  if (packed.adjusted.empty()) return absl::OkStatus();
  uint8_t* const base = state.workspace.base;
  return state.adjust.Queue(stream, packed, base, LogitsIn(packed.layout, base),
                            SampleOf(packed.layout, base));
}

absl::Status CudaStepRunner::QueueCopies(const Batch& batch, EbbCudaStream* stream) const {
  absl::Status status;
  for (const std::vector<kernels::BlockCopy>* copies : {&batch.moves, &batch.copies}) {
    for (const kernels::BlockCopy& copy : *copies) {
      kernels::ForEachPart(layout_, copy, [&](uint8_t* to, const uint8_t* from, int64_t bytes) {
        if (!status.ok()) return;
        status = Check(device_->api().copy_on_device(stream, to, from, bytes), "copying a block");
      });
    }
  }
  return status;
}

// Queues the pass and the choice of tokens over a workspace at `base` whose staging part is filled
// when they run.
absl::Status CudaStepRunner::QueuePass(Lane lane, const CudaStepLayout& layout, bool in_bucket,
                                       int32_t tile_count, uint8_t* base) const {
  const auto ints = [base](int64_t offset) {
    return reinterpret_cast<const int32_t*>(base + offset);
  };
  model::CudaPass pass;
  pass.stream = StateOf(lane).stream->native();
  pass.shape = PassShapeOf(layout);
  pass.ids = ints(layout.ids);
  pass.positions = ints(layout.positions);
  pass.sequence_of_row = ints(layout.sequence_of_row);
  pass.tables = {ints(layout.lists), ints(layout.table_begins)};
  pass.kv = kv_;
  pass.tiles = reinterpret_cast<const EbbCudaPrefillTile*>(base + layout.tiles);
  pass.tile_count = tile_count;
  pass.plan.split_count = ints(layout.split_count);
  pass.plan.splits = reinterpret_cast<const EbbCudaDecodeSplit*>(base + layout.splits);
  pass.plan.slot_begins = ints(layout.slot_begins);
  pass.logits_rows = in_bucket ? nullptr : ints(layout.logits_rows);
  pass.workspace = base + layout.pass;
  pass.sm_target = lane == Lane::kPrefill ? planner_.options().prefill_sm_target : 0;
  ASSIGN_OR_RETURN(float* const logits, parts_.model->Forward(pass));
  if (logits == nullptr) return absl::OkStatus();
  const EbbCudaSample sample = SampleOf(layout, base);
  CHECK(sample.logits == logits);
  return Check(device_->api().sample(pass.stream, &sample), "sample");
}

model::CudaPassShape CudaStepRunner::PassShapeOf(const CudaStepLayout& layout) const {
  return {layout.sizes.rows, layout.sizes.logits_rows, layout.sizes.slots,
          planner_.options().batch_invariant};
}

float* CudaStepRunner::LogitsIn(const CudaStepLayout& layout, uint8_t* base) const {
  return parts_.model->LogitsIn(PassShapeOf(layout), base + layout.pass);
}

EbbCudaSample CudaStepRunner::SampleOf(const CudaStepLayout& layout, uint8_t* base) const {
  EbbCudaSample sample = {};
  sample.logits = LogitsIn(layout, base);
  sample.sampling = reinterpret_cast<const EbbCudaSampling*>(base + layout.sampling);
  sample.banned = reinterpret_cast<const int32_t*>(base + layout.lists);
  sample.out = reinterpret_cast<EbbCudaSampled*>(base + layout.sampled);
  sample.scratch = base + layout.sample_scratch;
  sample.scratch_bytes = layout.sample_scratch_bytes;
  sample.rows = layout.sizes.logits_rows;
  sample.vocabulary = planner_.config().vocab;
  return sample;
}

// On the stream's waiter thread: the step has completed, or the device is lost.
void CudaStepRunner::Complete(Lane lane) {
  if (parts_.gate != nullptr) parts_.gate->EndLaunch();
  LaneState& state = StateOf(lane);
  StepResult result;
  result.started = state.started;
  result.ended = parts_.clock->Now();
  result.status = device_->lost() ? device_->loss() : state.launched;
  if (result.status.ok()) result.status = state.stream->status();
  result.device_lost = device_->lost() || device::IsDeviceLost(result.status);
  if (result.status.ok()) {
    const auto* const sampled = state.sampled.As<const EbbCudaSampled>();
    result.sequences = ReadSampled(state.batch, state.packed, sampled);
    state.adjust.Read(state.batch, state.packed, sampled, &result.sequences);
  }
  {
    base::MutexLock lock(&state.mutex);
    state.result = std::move(result);
  }
  // From here on the loop may already be filling the state again.
  if (on_done_) on_done_(lane);
}

std::optional<StepResult> CudaStepRunner::TakeResult(Lane lane) {
  LaneState& state = StateOf(lane);
  base::MutexLock lock(&state.mutex);
  if (!state.result.has_value()) return std::nullopt;
  std::optional<StepResult> result = std::move(state.result);
  state.result.reset();
  state.in_flight = false;
  return result;
}

void CudaStepRunner::WaitIdle() {
  for (LaneState* state : {&prefill_, &decode_}) {
    if (state->stream != nullptr) state->stream->Wait(state->stream->submitted());
  }
}

CudaStepOptions CudaStepRunnerFactory::StepOptionsOf(const LocalEngineOptions& options) const {
  CudaStepOptions step;
  step.running_sequences_max = options.queue.running_sequences_max;
  step.block_tokens = options.memory.block_tokens;
  step.banned_ids_max = options_.banned_ids_max;
  step.batch_invariant = options_.batch_invariant;
  step.prefill_sm_target = options_.prefill_sm_target;
  return step;
}

int64_t CudaStepRunnerFactory::WorkspaceBytesMax(const LocalEngineOptions& options,
                                                 Lane lane) const {
  const StepShape largest = LargestStep(options, lane);
  if (largest.row_count == 0) return 0;
  return CudaStepPlanner(parts_.model, StepOptionsOf(options)).WorkspaceBytes(lane, largest);
}

absl::StatusOr<std::unique_ptr<StepRunner>> CudaStepRunnerFactory::Make(
    const LocalEngineOptions& options, const StepRunnerPlace& place) const {
  constexpr int32_t kBlockTokensMin = 8;  // EbbCudaKv's bounds.
  constexpr int32_t kBlockTokensMax = 256;
  const int32_t block_tokens = options.memory.block_tokens;
  if (block_tokens < kBlockTokensMin || block_tokens > kBlockTokensMax) {
    return absl::InvalidArgumentError(absl::StrCat("blocks of ", block_tokens,
                                                   " tokens: a CUDA device takes ", kBlockTokensMin,
                                                   " to ", kBlockTokensMax));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<CudaStepRunner> runner,
                   CudaStepRunner::Create(parts_, StepOptionsOf(options), place,
                                          LargestStep(options, Lane::kPrefill),
                                          LargestStep(options, Lane::kDecode)));
  return runner;
}

absl::StatusOr<std::unique_ptr<KvCopier>> CudaStepRunnerFactory::MakeCopier(
    const LocalEngineOptions&, const kernels::PagedKv& kv) const {
  return CudaKvCopier::Create(parts_.model->device(), parts_.gate, kv);
}

}  // namespace ebb::engine
