// CudaLlama: the forward pass of a llama-family model on a CUDA device, out of paged keys and
// values.
//
//   ids -> embed -> layers x [ norm, q k v, bias + norm + rope + store, attention, out (+)
//                              norm, gate up, swiglu, down (+) ] -> norm, head -> logits
//                                                       (only the rows that are asked for)
//
// bf16 weights and activations; the residual stream, sums and logits are float32. Forward only
// queues: it makes no decision from what lies on the device, so a captured pass can be replayed
// with other contents of the same buffers.
//
// Owned by the composition root; immutable. Forward may be called for several streams at once, each
// with its own workspace.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/cuda/cuda_device.h"
#include "kernels/paged_kv.h"
#include "model/llama_cuda_weights.h"
#include "model/model_config.h"
#include "model/weight_source.h"

namespace ebb::model {

// What of a pass decides its workspace.
struct CudaPassShape {
  int32_t row_count = 0;         // At least 1.
  int32_t logits_row_count = 0;  // At most row_count.
  int32_t slots_max = 0;         // Partial results of decode attention; 0: attention by tiles.
  // A row's bits depend on nothing but the row and its sequence. REQUIRES: attention by tiles.
  bool batch_invariant = false;
};

// One pass. Pointers name device memory, which the caller fills before the pass runs and leaves in
// place until it has.
struct CudaPass {
  EbbCudaStream* stream = nullptr;
  CudaPassShape shape;

  const int32_t* ids = nullptr;              // [rows], each in [0, vocab).
  const int32_t* positions = nullptr;        // [rows], in [0, context); negative: the row is unused
  const int32_t* sequence_of_row = nullptr;  // [rows], an index into tables.
  EbbCudaTables tables = {};
  EbbCudaKv kv = {};

  // Attention by tiles: any number of rows of a sequence.
  const EbbCudaPrefillTile* tiles = nullptr;
  int32_t tile_count = 0;
  // Attention by plan, where shape.slots_max > 0: one row for each sequence, its lane.
  EbbCudaDecodePlan plan = {};

  // Rows whose logits are wanted: [logits_row_count], ascending. Null: the first ones.
  const int32_t* logits_rows = nullptr;

  uint8_t* workspace = nullptr;  // At least WorkspaceBytes(shape); aligned to 256.
  int32_t sm_target = 0;         // As in EbbCudaLinear.
};

class CudaLlama {
 public:
  // UNIMPLEMENTED, naming what, when the kernels cannot run such a model; else as
  // CudaLlamaWeights::Load. The source is not needed afterwards; the device outlives the model.
  static absl::StatusOr<std::unique_ptr<CudaLlama>> Load(
      const WeightSource& source, device::CudaDevice* device,
      const CudaLoadProgress& progress = nullptr);

  const ModelConfig& config() const { return config_; }
  device::CudaDevice* device() const { return device_; }
  int64_t weight_bytes() const { return weights_->bytes(); }

  // Grows with each number of the shape.
  int64_t WorkspaceBytes(const CudaPassShape& shape) const;

  // Queues a pass: stores the rows' keys and values, and computes logits [logits_row_count, vocab],
  // which lie in the workspace until its next use. Returns where (null when none are wanted).
  absl::StatusOr<float*> Forward(const CudaPass& pass) const;
  // Where such a pass over this workspace leaves its logits.
  float* LogitsIn(const CudaPassShape& shape, uint8_t* workspace) const;

 private:
  struct Workspace;

  CudaLlama(ModelConfig config, device::CudaDevice* device,
            std::unique_ptr<CudaLlamaWeights> weights);
  Workspace LayOut(const CudaPassShape& shape, uint8_t* base) const;
  absl::Status Embed(const CudaPass& pass, const Workspace& workspace) const;
  absl::Status RunLayer(const CudaPass& pass, int32_t layer, const Workspace& workspace) const;
  absl::Status Attention(const CudaPass& pass, int32_t layer, const Workspace& workspace) const;
  absl::Status FeedForward(const CudaPass& pass, int32_t layer, const Workspace& workspace) const;
  absl::Status Head(const CudaPass& pass, const Workspace& workspace) const;
  absl::Status Norm(const CudaPass& pass, const float* weight, const Workspace& workspace) const;
  absl::Status Linear(const CudaPass& pass, const Workspace& workspace, EbbCudaLinear op) const;

  const ModelConfig config_;
  device::CudaDevice* const device_;
  const std::unique_ptr<CudaLlamaWeights> weights_;
  const int64_t scratch_bytes_;  // Of matrix products.
};

// UNIMPLEMENTED, naming the first that is missing, unless the kernels can run such a model.
absl::Status CheckCudaSupports(const ModelConfig& config);

// The same layout of keys and values as the CUDA kernels read it. REQUIRES: kv.dtype is kBF16.
EbbCudaKv ToCudaKv(const kernels::PagedKv& kv);

}  // namespace ebb::model
