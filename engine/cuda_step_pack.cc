#include "engine/cuda_step_pack.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "model/sampler.h"

namespace ebb::engine {
namespace {

// What the kernels can do for a sequence; not OK fails it alone.
absl::Status CheckSequence(const SequenceRows& rows, const CudaStepOptions& options) {
  const struct {
    const char* name;
    int32_t count;
  } tops[] = {{"logprobs", rows.sampling.logprobs},
              {"prompt_logprobs", rows.targets.empty() ? -1 : rows.sampling.prompt_logprobs}};
  for (const auto& [name, count] : tops) {
    if (count <= EBB_CUDA_TOP_MAX) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, " is ", count, ": at most ",
                                                   EBB_CUDA_TOP_MAX,
                                                   " alternatives are made on a CUDA device"));
  }
  if (static_cast<int64_t>(rows.banned_ids.size()) > options.banned_ids_max) {
    return absl::InvalidArgumentError(absl::StrCat(rows.banned_ids.size(),
                                                   " token ids are banned: at most ",
                                                   options.banned_ids_max, " can be"));
  }
  return rows.sample ? model::CheckSamplingParams(rows.sampling) : absl::OkStatus();
}

bool IsAdjusted(const SequenceRows& rows) {
  return rows.adjustments != nullptr && !rows.adjustments->entries().empty();
}

// The draw and the filters of a row that chooses a token.
void SetSampling(const SequenceRows& rows, EbbCudaSampling* sampling) {
  const SamplingParams& params = rows.sampling;
  const auto index = static_cast<uint64_t>(static_cast<uint32_t>(rows.output_index));
  sampling->sample = 1;
  sampling->unit = base::ToUnit(base::RandomBits(params.seed, index));
  // Rounding to float must not leave top_p's range, nor make a wild temperature infinite.
  sampling->temperature =
      static_cast<float>(std::min(params.temperature, double{std::numeric_limits<float>::max()}));
  sampling->top_p = std::max(static_cast<float>(params.top_p), std::numeric_limits<float>::min());
  sampling->min_p = static_cast<float>(params.min_p);
  sampling->top_k = params.top_k;
  sampling->top_count = params.logprobs;
}

// Writes one step's parts into its block.
class Packer {
 public:
  Packer(const CudaStepPlanner& planner, const Batch& batch, uint8_t* staging, PackScratch* scratch)
      : planner_(planner), batch_(batch), staging_(staging), scratch_(*scratch) {
    const StepShape shape = ShapeOf(batch);
    packed_.layout = planner.LayOut(batch.lane, shape);
    packed_.in_bucket = planner.FitsBucket(batch.lane, shape);
    scratch_.rows.clear();
    scratch_.lengths.clear();
  }

  PackedStep Pack() {
    for (const SequenceRows& rows : batch_.sequences) AddSequence(rows);
    if (packed_.in_bucket) Pad();
    if (packed_.layout.sizes.slots > 0) {
      AddPlan();
    } else {
      AddTiles();
    }
    packed_.logits_row_count = logits_rows_;
    packed_.copy_bytes =
        packed_.layout.lists + list_entries_ * static_cast<int64_t>(sizeof(int32_t));
    CHECK_LE(packed_.copy_bytes, packed_.layout.staging_bytes);
    return std::move(packed_);
  }

 private:
  template <typename T>
  T* At(int64_t offset) const {
    return reinterpret_cast<T*>(staging_ + offset);
  }
  const CudaStepLayout& layout() const { return packed_.layout; }

  int32_t AddList(absl::Span<const int32_t> list) {
    CHECK_LE(list_entries_ + static_cast<int64_t>(list.size()), layout().sizes.list_entries);
    const auto begin = static_cast<int32_t>(list_entries_);
    if (!list.empty()) {
      std::memcpy(At<int32_t>(layout().lists) + begin, list.data(), list.size() * sizeof(int32_t));
    }
    list_entries_ += static_cast<int64_t>(list.size());
    return begin;
  }

  void AddSequence(const SequenceRows& rows) {
    CHECK(!rows.tokens.empty());
    const auto sequence = static_cast<int32_t>(packed_.sequence_status.size());
    const auto row_count = static_cast<int32_t>(rows.tokens.size());
    const int32_t last_position = rows.first_position + row_count - 1;
    CHECK(rows.first_position >= 0 && last_position < planner_.config().context_tokens);
    const size_t blocks = static_cast<size_t>(last_position / planner_.options().block_tokens) + 1;
    CHECK_GE(rows.table.size(), blocks);
    packed_.sequence_status.push_back(CheckSequence(rows, planner_.options()));
    At<int32_t>(layout().table_begins)[sequence] =
        AddList(absl::MakeConstSpan(rows.table).first(blocks));
    scratch_.rows.push_back({sequence, rows_, row_count, rows.first_position});
    scratch_.lengths.push_back(last_position + 1);
    for (int32_t i = 0; i < row_count; ++i) {
      CHECK(rows.tokens[i] >= 0 && rows.tokens[i] < planner_.config().vocab);
      AddRow(rows.tokens[i], rows.first_position + i, sequence);
      AddLogitsRow(rows, i);
    }
  }

  void AddRow(int32_t id, int32_t position, int32_t sequence) {
    At<int32_t>(layout().ids)[rows_] = id;
    At<int32_t>(layout().positions)[rows_] = position;
    At<int32_t>(layout().sequence_of_row)[rows_] = sequence;
    ++rows_;
  }

  // Row i of the sequence, just added. In a bucket each row has logits, wanted or not.
  void AddLogitsRow(const SequenceRows& rows, int32_t i) {
    const bool wants_target = i < static_cast<int32_t>(rows.targets.size());
    const bool wants_sample = rows.sample && i + 1 == static_cast<int32_t>(rows.tokens.size());
    if (!packed_.in_bucket && !wants_target && !wants_sample) return;
    EbbCudaSampling sampling = NoSampling();
    if (packed_.sequence_status.back().ok()) {
      if (wants_target) {
        sampling.target_id = rows.targets[i];
        sampling.target_top_count = std::max(rows.sampling.prompt_logprobs, 0);
      }
      if (wants_sample) AddChoice(rows, &sampling);
    }
    At<int32_t>(layout().logits_rows)[logits_rows_] = rows_ - 1;
    At<EbbCudaSampling>(layout().sampling)[logits_rows_] = sampling;
    ++logits_rows_;
  }

  // The choice of a token from the row of logits that is being added.
  void AddChoice(const SequenceRows& rows, EbbCudaSampling* sampling) {
    EbbCudaSampling choice = NoSampling();
    SetSampling(rows, &choice);
    choice.banned_begin = AddList(rows.banned_ids);
    choice.banned_count = static_cast<int32_t>(rows.banned_ids.size());
    if (!IsAdjusted(rows)) {
      choice.target_id = sampling->target_id;
      choice.target_top_count = sampling->target_top_count;
      *sampling = choice;
      return;
    }
    if (choice.top_count >= 0) {
      // Log-probabilities are those of the logits as they are: any target gives their sum.
      sampling->target_id = std::max(sampling->target_id, 0);
      sampling->target_top_count = std::max(sampling->target_top_count, choice.top_count);
      choice.top_count = 0;
    }
    packed_.adjusted.push_back({packed_.sequence_status.size() - 1, logits_rows_, choice});
  }

  // Rows that nobody asked for: they store nothing, choose nothing, and read what the first
  // sequence has at position 0, so that every table they look up is a real one.
  void Pad() {
    for (int32_t row = rows_; row < layout().sizes.rows; ++row) {
      At<int32_t>(layout().table_begins)[row] = 0;
      At<int32_t>(layout().logits_rows)[row] = row;
      At<EbbCudaSampling>(layout().sampling)[row] = NoSampling();
      scratch_.rows.push_back({0, row, 1, 0});
      scratch_.lengths.push_back(0);
      AddRow(0, -1, 0);
    }
  }

  void AddTiles() {
    const model::ModelConfig& config = planner_.config();
    kernels::cuda::PlanPrefillTiles(config.heads, config.kv_heads, scratch_.rows, &scratch_.tiles);
    CHECK_LE(static_cast<int32_t>(scratch_.tiles.size()), layout().sizes.tiles);
    packed_.tile_count = static_cast<int32_t>(scratch_.tiles.size());
    std::copy(scratch_.tiles.begin(), scratch_.tiles.end(), At<EbbCudaPrefillTile>(layout().tiles));
  }

  void AddPlan() {
    kernels::cuda::PlanDecode(planner_.decode_shape(), scratch_.lengths, layout().sizes.slots,
                              &scratch_.plan);
    const kernels::cuda::DecodePlan& plan = scratch_.plan;
    CHECK_LE(static_cast<int32_t>(plan.splits.size()), layout().sizes.slots);
    CHECK_EQ(static_cast<int32_t>(plan.slot_begins.size()), layout().sizes.rows + 1);
    *At<int32_t>(layout().split_count) = static_cast<int32_t>(plan.splits.size());
    std::copy(plan.splits.begin(), plan.splits.end(), At<EbbCudaDecodeSplit>(layout().splits));
    std::copy(plan.slot_begins.begin(), plan.slot_begins.end(), At<int32_t>(layout().slot_begins));
  }

  const CudaStepPlanner& planner_;
  const Batch& batch_;
  uint8_t* const staging_;
  PackScratch& scratch_;
  PackedStep packed_;
  int32_t rows_ = 0;
  int32_t logits_rows_ = 0;
  int64_t list_entries_ = 0;
};

std::vector<TokenLogprob> TopOf(const EbbCudaSampled& sampled, int32_t count) {
  std::vector<TokenLogprob> top;
  for (int32_t i = 0; i < std::min(count, sampled.top_count); ++i) {
    top.push_back({sampled.top_ids[i], sampled.top_logprobs[i]});
  }
  return top;
}

// Consumes the sequence's rows from *sampled on.
SequenceResult ReadSequence(const SequenceRows& rows, bool in_bucket, absl::Status status,
                            const EbbCudaSampled** sampled) {
  SequenceResult result;
  result.status = std::move(status);
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    const bool wants_target = i < rows.targets.size();
    const bool wants_sample = rows.sample && i + 1 == rows.tokens.size();
    if (!in_bucket && !wants_target && !wants_sample) continue;
    const EbbCudaSampled& row = *(*sampled)++;
    const bool adjusted = wants_sample && IsAdjusted(rows);
    const bool was_read =
        wants_target || (wants_sample && !adjusted) || (adjusted && rows.sampling.logprobs >= 0);
    if (!result.status.ok() || !was_read) continue;
    result.status = RowStatus(row);
    if (!result.status.ok()) continue;
    if (wants_target) {
      result.prompt_logprobs.push_back(
          {rows.targets[i], row.target_logprob, TopOf(row, rows.sampling.prompt_logprobs)});
    }
    if (wants_sample) {
      result.token = {row.token_id, rows.output_index, row.logprob,
                      TopOf(row, rows.sampling.logprobs)};
    }
  }
  return result;
}

}  // namespace

EbbCudaSampling NoSampling() {
  EbbCudaSampling sampling = {};
  sampling.temperature = 0;
  sampling.top_p = 1;
  sampling.top_count = -1;
  sampling.target_id = -1;
  return sampling;
}

absl::Status RowStatus(const EbbCudaSampled& sampled) {
  switch (sampled.status) {
    case EBB_CUDA_ROW_OK:
      return absl::OkStatus();
    case EBB_CUDA_ROW_NAN:
      return absl::InternalError("a logit is NaN");
    case EBB_CUDA_ROW_INFINITE:
      return absl::InternalError("a logit is +infinity");
    case EBB_CUDA_ROW_EMPTY:
      return absl::InternalError("no token is left to choose");
    default:
      return absl::InternalError(absl::StrCat("a row of logits has status ", sampled.status));
  }
}

PackedStep PackStep(const CudaStepPlanner& planner, const Batch& batch, uint8_t* staging,
                    PackScratch* scratch) {
  CHECK(!batch.sequences.empty());
  return Packer(planner, batch, staging, scratch).Pack();
}

std::vector<SequenceResult> ReadSampled(const Batch& batch, const PackedStep& packed,
                                        const EbbCudaSampled* sampled) {
  std::vector<SequenceResult> results;
  results.reserve(batch.sequences.size());
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    results.push_back(
        ReadSequence(batch.sequences[i], packed.in_bucket, packed.sequence_status[i], &sampled));
  }
  return results;
}

}  // namespace ebb::engine
