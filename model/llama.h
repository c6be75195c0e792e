// LlamaModel: the forward pass of a llama-family model over paged keys and values.
//
//   tokens -> embed -> layers x [ norm, q k v, rope + store, attention, out (+)
//                                 norm, gate up, swiglu, down (+) ] -> norm, head -> logits
//                                                            (only the rows that are asked for)
//
// Owned by the composition root; weights are immutable. Forward may run in both lanes at once, one
// call per lane at a time, each with its own workspace.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/paged_kv.h"
#include "model/model_config.h"
#include "model/weight_source.h"
#include "model/weights.h"

namespace ebb::model {

// One step. Whatever it points to must stay in place until Forward returns.
struct ForwardInput {
  kernels::Lane lane = kernels::Lane::kDecode;
  absl::Span<const int32_t> tokens;  // [rows.row_count], each in [0, vocab).
  kernels::BatchRows rows;           // Positions in [0, context); see kernels/backend.h.
  kernels::PagedKv kv;               // Its layers, kv_heads and head_dim are the model's.
  // Rows whose logits are wanted: ascending, no row twice. May be empty.
  absl::Span<const int32_t> logits_rows;
  // At least WorkspaceBytes(rows.row_count, logits_rows.size()); aligned to 64.
  absl::Span<uint8_t> workspace;
  // Looked at between layers when not null; once true, Forward stops with ABORTED. Keys and values
  // of this step's positions are then undefined.
  const std::atomic<bool>* abandon = nullptr;
};

class LlamaModel {
 public:
  // Reads, checks and packs all weights. `backend` outlives the model. `progress` is told the bytes
  // of weights done and in all, after each weight. Peak memory: the packed weights and one weight
  // of the source, which is not needed afterwards.
  static absl::StatusOr<std::unique_ptr<LlamaModel>> Load(const WeightSource& source,
                                                          kernels::Backend* backend,
                                                          const LoadProgress& progress = nullptr);

  const ModelConfig& config() const { return config_; }
  // Bytes that the weights hold in the backend's layout.
  int64_t weight_bytes() const { return weights_.held_bytes; }

  // Bytes of workspace of a step; grows with both arguments.
  // REQUIRES: row_count > 0, 0 <= logits_row_count <= row_count.
  size_t WorkspaceBytes(int32_t row_count, int32_t logits_row_count) const;

  // Stores the rows' keys and values, and computes logits [logits_rows.size(), vocab], which lie in
  // the workspace (the result points at them) until its next use. Row-invariant as
  // kernels/backend.h says. ABORTED when abandoned; a bad input is our bug.
  absl::StatusOr<float*> Forward(const ForwardInput& input) const;

 private:
  struct Workspace;

  LlamaModel(ModelConfig config, LlamaWeights weights, kernels::Backend* backend);
  Workspace LayOut(int32_t row_count, int32_t logits_row_count, uint8_t* base) const;
  void CheckInput(const ForwardInput& input) const;
  void RunLayer(const ForwardInput& input, int32_t layer, const Workspace& workspace) const;
  void RunHead(const ForwardInput& input, const Workspace& workspace) const;

  const ModelConfig config_;
  const LlamaWeights weights_;
  kernels::Backend* const backend_;
};

}  // namespace ebb::model
