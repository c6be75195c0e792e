#include "engine/cuda_step_adjust.h"

#include <algorithm>
#include <cstring>

#include "absl/types/span.h"
#include "base/status_macros.h"
#include "engine/cuda_step_places.h"
#include "model/logit_adjustments.h"

namespace ebb::engine {
namespace {

using model::LogitAdjustment;

static_assert(sizeof(LogitAdjustment) == sizeof(EbbCudaLogitAdjustment) &&
              offsetof(LogitAdjustment, token_id) == offsetof(EbbCudaLogitAdjustment, token_id) &&
              offsetof(LogitAdjustment, bias) == offsetof(EbbCudaLogitAdjustment, bias) &&
              offsetof(LogitAdjustment, repetition) ==
                  offsetof(EbbCudaLogitAdjustment, repetition) &&
              offsetof(LogitAdjustment, penalty) == offsetof(EbbCudaLogitAdjustment, penalty));

absl::Span<const LogitAdjustment> EntriesOf(const Batch& batch, const AdjustedRow& row) {
  return batch.sequences[row.sequence].adjustments->entries();
}

}  // namespace

absl::Status CudaStepAdjust::LayOut(int64_t adjusted_rows, int64_t logits_rows,
                                    int64_t adjustments) {
  CudaStepPlaces places;
  layout_.rows = places.Take<EbbCudaAdjustedRow>(adjusted_rows);
  layout_.sampling = places.Take<EbbCudaSampling>(logits_rows);
  layout_.sampled = places.Take<EbbCudaSampled>(logits_rows);
  layout_.adjustments = places.Take<EbbCudaLogitAdjustment>(adjustments);
  layout_.before = places.Take<float>(adjustments);
  if (places.end() <= memory_.bytes()) return absl::OkStatus();
  // Twice as much, for histories grow by a token a step.
  memory_ = device::CudaHostBuffer();
  ASSIGN_OR_RETURN(memory_, device_->AllocHost(2 * places.end()));
  return absl::OkStatus();
}

absl::Status CudaStepAdjust::Pack(const Batch& batch, const PackedStep& packed) {
  const int32_t logits_rows = packed.layout.sizes.logits_rows;
  int64_t total = 0;
  for (const AdjustedRow& row : packed.adjusted) {
    total += static_cast<int64_t>(EntriesOf(batch, row).size());
  }
  RETURN_IF_ERROR(LayOut(static_cast<int64_t>(packed.adjusted.size()), logits_rows, total));
  std::fill_n(At<EbbCudaSampling>(layout_.sampling), logits_rows, NoSampling());
  EbbCudaAdjustedRow* out = At<EbbCudaAdjustedRow>(layout_.rows);
  int64_t begin = 0;
  count_max_ = 0;
  for (const AdjustedRow& row : packed.adjusted) {
    const absl::Span<const LogitAdjustment> entries = EntriesOf(batch, row);
    const auto count = static_cast<int32_t>(entries.size());
    std::memcpy(At<EbbCudaLogitAdjustment>(layout_.adjustments) + begin, entries.data(),
                entries.size() * sizeof(LogitAdjustment));
    *out++ = {begin, count, row.logits_row};
    At<EbbCudaSampling>(layout_.sampling)[row.logits_row] = row.sampling;
    begin += count;
    count_max_ = std::max(count_max_, count);
  }
  return absl::OkStatus();
}

absl::Status CudaStepAdjust::Queue(EbbCudaStream* stream, const PackedStep& packed, uint8_t* base,
                                   float* logits, const EbbCudaSample& sample) const {
  const EbbCudaApi& api = device_->api();
  const int64_t rows = packed.layout.sizes.logits_rows;
  RETURN_IF_ERROR(
      device_->Check(api.copy_to_device(stream, base + packed.layout.sampling,
                                        At<EbbCudaSampling>(layout_.sampling),
                                        rows * static_cast<int64_t>(sizeof(EbbCudaSampling))),
                     "copying the choice of adjusted rows"));
  EbbCudaAdjustLogits adjust = {};
  adjust.logits = logits;
  adjust.rows = At<EbbCudaAdjustedRow>(layout_.rows);
  adjust.adjustments = At<EbbCudaLogitAdjustment>(layout_.adjustments);
  adjust.before = At<float>(layout_.before);
  adjust.row_count = static_cast<int32_t>(packed.adjusted.size());
  adjust.count_max = count_max_;
  adjust.vocabulary = sample.vocabulary;
  RETURN_IF_ERROR(device_->Check(api.adjust_logits(stream, &adjust), "adjust_logits"));
  RETURN_IF_ERROR(device_->Check(api.sample(stream, &sample), "sample, of adjusted rows"));
  return device_->Check(
      api.copy_to_host(stream, At<EbbCudaSampled>(layout_.sampled), base + packed.layout.sampled,
                       rows * static_cast<int64_t>(sizeof(EbbCudaSampled))),
      "copying the tokens of adjusted rows");
}

void CudaStepAdjust::Read(const Batch& batch, const PackedStep& packed,
                          const EbbCudaSampled* sampled,
                          std::vector<SequenceResult>* results) const {
  int64_t begin = 0;
  for (const AdjustedRow& row : packed.adjusted) {
    const SequenceRows& rows = batch.sequences[row.sequence];
    SequenceResult& result = (*results)[row.sequence];
    const int64_t own_begin = begin;
    begin += static_cast<int64_t>(rows.adjustments->entries().size());
    if (!result.status.ok()) continue;
    const EbbCudaSampled& chosen = At<EbbCudaSampled>(layout_.sampled)[row.logits_row];
    result.status = RowStatus(chosen);
    if (!result.status.ok()) continue;
    Token& token = result.token;
    token.id = chosen.token_id;
    token.index = rows.output_index;
    if (rows.sampling.logprobs < 0) continue;
    // As the kernel does it: from the logit before it was adjusted, and the sum of that row.
    const int64_t adjustment = rows.adjustments->Find(chosen.token_id);
    const float logit =
        adjustment < 0 ? chosen.logit : At<float>(layout_.before)[own_begin + adjustment];
    token.logprob = static_cast<float>(logit - sampled[row.logits_row].log_total);
  }
}

}  // namespace ebb::engine
