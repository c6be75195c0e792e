#include "model/llama_cuda.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/status_macros.h"

namespace ebb::model {
namespace {

using base::Checked;

constexpr uint64_t kAlignment = 256;

// Hands out aligned parts of one range; with a null base it only measures.
class Carver {
 public:
  explicit Carver(uint8_t* base) : base_(base) {}

  template <typename T>
  T* Take(int64_t rows, int64_t columns) {
    const uint64_t begin = used_bytes_;
    used_bytes_ =
        (Checked(begin) + Checked(rows) * columns * sizeof(T)).RoundUp(kAlignment).value();
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + begin);
  }
  uint64_t used_bytes() const { return used_bytes_; }

 private:
  uint8_t* const base_;
  uint64_t used_bytes_ = 0;
};

int32_t QkvWidth(const ModelConfig& config) {
  return (config.heads + 2 * config.kv_heads) * config.head_dim;
}

absl::Status Unsupported(absl::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat("the CUDA kernels cannot run this model: ", what, "; the CPU form can"));
}

}  // namespace

absl::Status CheckCudaSupports(const ModelConfig& config) {
  const int32_t head_dim = config.head_dim;
  if (head_dim != 32 && head_dim != 64 && head_dim != 96 && head_dim != 128) {
    return Unsupported(absl::StrCat("heads of ", head_dim, " dimensions (32, 64, 96 or 128 work)"));
  }
  const struct {
    const char* name;
    int32_t value;
  } widths[] = {
      {"width", config.width}, {"ffn_width", config.ffn_width}, {"vocabulary", config.vocab}};
  for (const auto& [name, value] : widths) {
    if (value % 8 == 0) continue;
    return Unsupported(absl::StrCat("a ", name, " of ", value, " (multiples of 8 work)"));
  }
  const int32_t group = config.heads / config.kv_heads;
  if (group > EBB_CUDA_PREFILL_TILE_ROWS) {
    return Unsupported(absl::StrCat(group, " query heads for one key head (up to ",
                                    EBB_CUDA_PREFILL_TILE_ROWS, " work)"));
  }
  return absl::OkStatus();
}

EbbCudaKv ToCudaKv(const kernels::PagedKv& kv) {
  CHECK(kv.dtype == kernels::DType::kBF16);
  EbbCudaKv cuda = {};
  cuda.base = kv.base;
  cuda.layer_stride_bytes = kv.blocks_per_page * kv.layer_block_bytes;
  cuda.index_stride_bytes = kv.layer_block_bytes;
  cuda.value_offset_bytes = kv.layer_block_bytes / 2;
  cuda.layers = kv.layers;
  cuda.kv_heads = kv.kv_heads;
  cuda.head_dim = kv.head_dim;
  cuda.block_tokens = kv.block_tokens;
  return cuda;
}

struct CudaLlama::Workspace {
  float* x = nullptr;              // [rows, width]: the residual stream.
  uint16_t* normed = nullptr;      // [rows, width]
  uint16_t* qkv = nullptr;         // [rows, (heads + 2 * kv_heads) * head_dim]
  uint16_t* q = nullptr;           // [rows, heads * head_dim]
  uint16_t* mixed = nullptr;       // [rows, heads * head_dim]: what attention gives.
  uint16_t* gate_up = nullptr;     // [rows, 2 * ffn_width]; this and ffn lie over the three above,
  uint16_t* ffn = nullptr;         // [rows, ffn_width]      which are spent by then.
  float* partials = nullptr;       // [slots_max, heads, head_dim]
  float* partial_stats = nullptr;  // [slots_max, heads, 2]
  float* logits = nullptr;         // [logits_rows, vocab]
  uint8_t* scratch = nullptr;      // Of matrix products.
  int64_t scratch_bytes = 0;
  int64_t total_bytes = 0;
};

CudaLlama::CudaLlama(ModelConfig config, device::CudaDevice* device,
                     std::unique_ptr<CudaLlamaWeights> weights)
    : config_(std::move(config)),
      device_(device),
      weights_(std::move(weights)),
      scratch_bytes_(device->api().linear_scratch_bytes(device->context())) {}

absl::StatusOr<std::unique_ptr<CudaLlama>> CudaLlama::Load(const WeightSource& source,
                                                           device::CudaDevice* device,
                                                           const CudaLoadProgress& progress) {
  RETURN_IF_ERROR(CheckCudaSupports(source.config()));
  ASSIGN_OR_RETURN(std::unique_ptr<CudaLlamaWeights> weights,
                   CudaLlamaWeights::Load(source, device, progress));
  return std::unique_ptr<CudaLlama>(new CudaLlama(source.config(), device, std::move(weights)));
}

CudaLlama::Workspace CudaLlama::LayOut(const CudaPassShape& shape, uint8_t* base) const {
  const int64_t rows = shape.row_count;
  const int64_t q_width = int64_t{config_.heads} * config_.head_dim;
  Workspace w;
  Carver carver(base);
  // What grows with the logits and the scratch of fixed size stand last.
  w.x = carver.Take<float>(rows, config_.width);
  w.normed = carver.Take<uint16_t>(rows, config_.width);
  uint8_t* const shared = base == nullptr ? nullptr : base + carver.used_bytes();
  Carver attention(shared);
  w.qkv = attention.Take<uint16_t>(rows, QkvWidth(config_));
  w.q = attention.Take<uint16_t>(rows, q_width);
  w.mixed = attention.Take<uint16_t>(rows, q_width);
  w.partials = attention.Take<float>(shape.slots_max, q_width);
  w.partial_stats = attention.Take<float>(shape.slots_max, int64_t{2} * config_.heads);
  Carver feed_forward(shared);
  w.gate_up = feed_forward.Take<uint16_t>(rows, int64_t{2} * config_.ffn_width);
  w.ffn = feed_forward.Take<uint16_t>(rows, config_.ffn_width);
  carver.Take<uint8_t>(
      1, static_cast<int64_t>(std::max(attention.used_bytes(), feed_forward.used_bytes())));
  w.logits = carver.Take<float>(shape.logits_row_count, config_.vocab);
  // Only the kernels of others need any.
  w.scratch_bytes = shape.batch_invariant ? 0 : scratch_bytes_;
  w.scratch = carver.Take<uint8_t>(1, w.scratch_bytes);
  w.total_bytes = static_cast<int64_t>(carver.used_bytes());
  return w;
}

int64_t CudaLlama::WorkspaceBytes(const CudaPassShape& shape) const {
  CHECK_GT(shape.row_count, 0);
  CHECK(shape.logits_row_count >= 0 && shape.logits_row_count <= shape.row_count);
  CHECK_GE(shape.slots_max, 0);
  return LayOut(shape, nullptr).total_bytes;
}

absl::StatusOr<float*> CudaLlama::Forward(const CudaPass& pass) const {
  CHECK_GT(pass.shape.row_count, 0);
  CHECK(pass.shape.slots_max > 0 || pass.tile_count > 0);
  CHECK(!pass.shape.batch_invariant || pass.shape.slots_max == 0);
  CHECK(pass.kv.layers == config_.layers && pass.kv.kv_heads == config_.kv_heads &&
        pass.kv.head_dim == config_.head_dim);
  CHECK_EQ(reinterpret_cast<uintptr_t>(pass.workspace) % kAlignment, 0u);
  const Workspace w = LayOut(pass.shape, pass.workspace);
  RETURN_IF_ERROR(Embed(pass, w));
  for (int32_t layer = 0; layer < config_.layers; ++layer) {
    RETURN_IF_ERROR(RunLayer(pass, layer, w));
  }
  if (pass.shape.logits_row_count == 0) return nullptr;
  RETURN_IF_ERROR(Head(pass, w));
  return w.logits;
}

float* CudaLlama::LogitsIn(const CudaPassShape& shape, uint8_t* workspace) const {
  return LayOut(shape, workspace).logits;
}

absl::Status CudaLlama::Embed(const CudaPass& pass, const Workspace& w) const {
  EbbCudaEmbed op = {};
  op.ids = pass.ids;
  op.table = weights_->embedding();
  op.x = w.x;
  op.rows = pass.shape.row_count;
  op.width = config_.width;
  return device_->Check(device_->api().embed(pass.stream, &op), "embed");
}

absl::Status CudaLlama::Norm(const CudaPass& pass, const float* weight, const Workspace& w) const {
  EbbCudaRmsNorm op = {};
  op.x = w.x;
  op.weight = weight;
  op.out = w.normed;
  op.rows = pass.shape.row_count;
  op.width = config_.width;
  op.epsilon = config_.rms_epsilon;
  return device_->Check(device_->api().rms_norm(pass.stream, &op), "rms_norm");
}

// `op` has weight, x, y, shape and output; the rest is the pass's.
absl::Status CudaLlama::Linear(const CudaPass& pass, const Workspace& w, EbbCudaLinear op) const {
  op.scratch = w.scratch;
  op.scratch_bytes = w.scratch_bytes;
  op.sm_target = pass.sm_target;
  op.invariant = pass.shape.batch_invariant ? 1 : 0;
  return device_->Check(device_->api().linear(pass.stream, &op), "linear");
}

absl::Status CudaLlama::RunLayer(const CudaPass& pass, int32_t layer_index,
                                 const Workspace& w) const {
  const CudaLlamaLayer& layer = weights_->layer(layer_index);
  RETURN_IF_ERROR(Norm(pass, layer.attention_norm, w));
  EbbCudaLinear qkv = {};
  qkv.weight = layer.qkv;
  qkv.x = w.normed;
  qkv.y = w.qkv;
  qkv.rows = pass.shape.row_count;
  qkv.outputs = QkvWidth(config_);
  qkv.inputs = config_.width;
  qkv.output = EBB_CUDA_BF16;
  RETURN_IF_ERROR(Linear(pass, w, qkv));

  EbbCudaRopeStore rope = {};
  rope.qkv = w.qkv;
  rope.bias = layer.qkv_bias;
  rope.q_norm = layer.q_norm;
  rope.k_norm = layer.k_norm;
  rope.frequencies = weights_->rope_frequencies();
  rope.positions = pass.positions;
  rope.sequence_of_row = pass.sequence_of_row;
  rope.q_out = w.q;
  rope.tables = pass.tables;
  rope.kv = pass.kv;
  rope.layer = layer_index;
  rope.rows = pass.shape.row_count;
  rope.heads = config_.heads;
  rope.pair_count = static_cast<int32_t>(config_.rope_frequencies.size());
  rope.norm_epsilon = config_.rms_epsilon;
  RETURN_IF_ERROR(device_->Check(device_->api().rope_store(pass.stream, &rope), "rope_store"));
  RETURN_IF_ERROR(Attention(pass, layer_index, w));

  EbbCudaLinear out = {};
  out.weight = layer.attention_out;
  out.x = w.mixed;
  out.y = w.x;
  out.rows = pass.shape.row_count;
  out.outputs = config_.width;
  out.inputs = config_.heads * config_.head_dim;
  out.output = EBB_CUDA_F32_ACCUMULATE;
  RETURN_IF_ERROR(Linear(pass, w, out));
  return FeedForward(pass, layer_index, w);
}

absl::Status CudaLlama::Attention(const CudaPass& pass, int32_t layer, const Workspace& w) const {
  if (pass.shape.slots_max == 0) {
    EbbCudaPrefillAttention op = {};
    op.q = w.q;
    op.out = w.mixed;
    op.tiles = pass.tiles;
    op.tables = pass.tables;
    op.kv = pass.kv;
    op.layer = layer;
    op.heads = config_.heads;
    op.tile_count = pass.tile_count;
    return device_->Check(device_->api().prefill_attention(pass.stream, &op), "prefill_attention");
  }
  EbbCudaDecodeAttention op = {};
  op.q = w.q;
  op.out = w.mixed;
  op.plan = pass.plan;
  op.partials = w.partials;
  op.partial_stats = w.partial_stats;
  op.tables = pass.tables;
  op.kv = pass.kv;
  op.layer = layer;
  op.heads = config_.heads;
  op.lanes = pass.shape.row_count;
  op.slots_max = pass.shape.slots_max;
  return device_->Check(device_->api().decode_attention(pass.stream, &op), "decode_attention");
}

absl::Status CudaLlama::FeedForward(const CudaPass& pass, int32_t layer_index,
                                    const Workspace& w) const {
  const CudaLlamaLayer& layer = weights_->layer(layer_index);
  RETURN_IF_ERROR(Norm(pass, layer.ffn_norm, w));
  EbbCudaLinear gate_up = {};
  gate_up.weight = layer.gate_up;
  gate_up.x = w.normed;
  gate_up.y = w.gate_up;
  gate_up.rows = pass.shape.row_count;
  gate_up.outputs = 2 * config_.ffn_width;
  gate_up.inputs = config_.width;
  gate_up.output = EBB_CUDA_BF16;
  RETURN_IF_ERROR(Linear(pass, w, gate_up));

  EbbCudaSwiGlu swiglu = {};
  swiglu.gate_up = w.gate_up;
  swiglu.out = w.ffn;
  swiglu.rows = pass.shape.row_count;
  swiglu.ffn_width = config_.ffn_width;
  RETURN_IF_ERROR(device_->Check(device_->api().swiglu(pass.stream, &swiglu), "swiglu"));

  EbbCudaLinear down = {};
  down.weight = layer.down;
  down.x = w.ffn;
  down.y = w.x;
  down.rows = pass.shape.row_count;
  down.outputs = config_.width;
  down.inputs = config_.ffn_width;
  down.output = EBB_CUDA_F32_ACCUMULATE;
  return Linear(pass, w, down);
}

absl::Status CudaLlama::Head(const CudaPass& pass, const Workspace& w) const {
  EbbCudaRmsNorm norm = {};
  norm.x = w.x;
  norm.weight = weights_->output_norm();
  norm.gather = pass.logits_rows;
  norm.out = w.normed;
  norm.rows = pass.shape.logits_row_count;
  norm.width = config_.width;
  norm.epsilon = config_.rms_epsilon;
  RETURN_IF_ERROR(device_->Check(device_->api().rms_norm(pass.stream, &norm), "rms_norm"));
  EbbCudaLinear head = {};
  head.weight = weights_->head();
  head.x = w.normed;
  head.y = w.logits;
  head.rows = pass.shape.logits_row_count;
  head.outputs = config_.vocab;
  head.inputs = config_.width;
  head.output = EBB_CUDA_F32;
  return Linear(pass, w, head);
}

}  // namespace ebb::model
