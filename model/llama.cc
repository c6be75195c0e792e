#include "model/llama.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/status_macros.h"

namespace ebb::model {
namespace {

using base::Checked;

constexpr size_t kAlignment = 64;

// Hands out aligned parts of one range; with a null base it only measures.
class Carver {
 public:
  explicit Carver(uint8_t* base) : base_(base) {}

  float* Floats(int64_t rows, int64_t columns) {
    return reinterpret_cast<float*>(Bytes(Checked(rows) * columns * sizeof(float)));
  }
  uint8_t* Bytes(Checked bytes) {
    const size_t begin = used_bytes_;
    used_bytes_ = (Checked(begin) + bytes).RoundUp(kAlignment).value();
    return base_ == nullptr ? nullptr : base_ + begin;
  }
  size_t used_bytes() const { return used_bytes_; }

 private:
  uint8_t* const base_;
  size_t used_bytes_ = 0;
};

// Tells the backend the begin and end of a step, also when it is abandoned.
class Step {
 public:
  Step(kernels::Backend* backend, kernels::Lane lane) : backend_(backend), lane_(lane) {
    backend_->BeginStep(lane_);
  }
  ~Step() { backend_->EndStep(lane_); }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

 private:
  kernels::Backend* const backend_;
  const kernels::Lane lane_;
};

kernels::HeadTransform TransformOf(const ModelConfig& config, const LlamaLayer& layer) {
  const auto data_or_null = [](const std::vector<float>& values) {
    return values.empty() ? nullptr : values.data();
  };
  kernels::HeadTransform transform;
  transform.rope.frequencies = config.rope_frequencies;
  transform.q_bias = data_or_null(layer.q_bias);
  transform.k_bias = data_or_null(layer.k_bias);
  transform.v_bias = data_or_null(layer.v_bias);
  transform.q_norm = data_or_null(layer.q_norm);
  transform.k_norm = data_or_null(layer.k_norm);
  transform.norm_epsilon = config.rms_epsilon;
  return transform;
}

}  // namespace

struct LlamaModel::Workspace {
  float* x = nullptr;  // [rows, width]: the residual stream.
  float* q = nullptr;  // [rows, heads * head_dim]
  float* k = nullptr;  // [rows, kv_heads * head_dim]
  float* v = nullptr;
  float* attention = nullptr;  // [rows, heads * head_dim]
  float* ffn = nullptr;        // [rows, ffn_width]; lies over q, k, v, which are spent by then.
  float* picked = nullptr;     // [logits_rows, width]
  float* logits = nullptr;     // [logits_rows, vocab]
  kernels::OpContext op;
  size_t total_bytes = 0;
};

LlamaModel::LlamaModel(ModelConfig config, LlamaWeights weights, kernels::Backend* backend)
    : config_(std::move(config)), weights_(std::move(weights)), backend_(backend) {}

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaModel::Load(const WeightSource& source,
                                                             kernels::Backend* backend,
                                                             const LoadProgress& progress) {
  ASSIGN_OR_RETURN(LlamaWeights weights, LoadLlamaWeights(source, backend, progress));
  return std::unique_ptr<LlamaModel>(new LlamaModel(source.config(), std::move(weights), backend));
}

LlamaModel::Workspace LlamaModel::LayOut(int32_t row_count, int32_t logits_row_count,
                                         uint8_t* base) const {
  const int64_t q_width = int64_t{config_.heads} * config_.head_dim;
  const int64_t kv_width = int64_t{config_.kv_heads} * config_.head_dim;
  Workspace w;
  Carver carver(base);
  w.x = carver.Floats(row_count, config_.width);
  const size_t shared_begin = carver.used_bytes();
  w.q = carver.Floats(row_count, q_width);
  w.k = carver.Floats(row_count, kv_width);
  w.v = carver.Floats(row_count, kv_width);
  w.attention = carver.Floats(row_count, q_width);
  const size_t attention_bytes = carver.used_bytes() - shared_begin;
  Carver over(base == nullptr ? nullptr : base + shared_begin);
  w.ffn = over.Floats(row_count, config_.ffn_width);
  if (over.used_bytes() > attention_bytes) {
    carver.Bytes(Checked(over.used_bytes() - attention_bytes));
  }
  w.picked = carver.Floats(logits_row_count, config_.width);
  w.logits = carver.Floats(logits_row_count, config_.vocab);
  const int64_t columns_max =
      std::max({int64_t{config_.width}, q_width, int64_t{config_.ffn_width}});
  const size_t scratch_bytes = backend_->ScratchBytes(row_count, columns_max);
  w.op.scratch = absl::MakeSpan(carver.Bytes(Checked(scratch_bytes)), scratch_bytes);
  w.total_bytes = carver.used_bytes();
  return w;
}

size_t LlamaModel::WorkspaceBytes(int32_t row_count, int32_t logits_row_count) const {
  CHECK_GT(row_count, 0);
  CHECK(logits_row_count >= 0 && logits_row_count <= row_count);
  return LayOut(row_count, logits_row_count, nullptr).total_bytes;
}

void LlamaModel::CheckInput(const ForwardInput& input) const {
  const int32_t row_count = input.rows.row_count;
  CHECK_GT(row_count, 0);
  CHECK_EQ(input.tokens.size(), static_cast<size_t>(row_count));
  CHECK_EQ(input.kv.layers, config_.layers);
  CHECK_EQ(input.kv.kv_heads, config_.kv_heads);
  CHECK_EQ(input.kv.head_dim, config_.head_dim);
  CHECK_EQ(reinterpret_cast<uintptr_t>(input.workspace.data()) % kAlignment, 0u);
  for (int32_t row = 0; row < row_count; ++row) {
    CHECK(input.tokens[row] >= 0 && input.tokens[row] < config_.vocab) << "token of row " << row;
    CHECK(input.rows.positions[row] >= 0 && input.rows.positions[row] < config_.context_tokens)
        << "position of row " << row;
    CHECK(input.rows.sequence_of_row[row] >= 0 &&
          input.rows.sequence_of_row[row] < input.rows.sequence_count);
  }
  int32_t previous = -1;
  for (const int32_t row : input.logits_rows) {
    CHECK(row > previous && row < row_count) << "logits row " << row;
    previous = row;
  }
}

absl::StatusOr<float*> LlamaModel::Forward(const ForwardInput& input) const {
  CheckInput(input);
  const int32_t logits_row_count = static_cast<int32_t>(input.logits_rows.size());
  Workspace w = LayOut(input.rows.row_count, logits_row_count, input.workspace.data());
  CHECK_LE(w.total_bytes, input.workspace.size());
  w.op.lane = input.lane;

  const Step step(backend_, input.lane);
  backend_->Embed(w.op, *weights_.embedding, input.tokens, w.x);
  for (int32_t layer = 0; layer < config_.layers; ++layer) {
    if (input.abandon != nullptr && input.abandon->load(std::memory_order_relaxed)) {
      return absl::AbortedError("the step was abandoned");
    }
    RunLayer(input, layer, w);
  }
  if (logits_row_count > 0) RunHead(input, w);
  return w.logits;
}

void LlamaModel::RunLayer(const ForwardInput& input, int32_t layer_index,
                          const Workspace& w) const {
  const LlamaLayer& layer = weights_.layers[layer_index];
  const int32_t row_count = input.rows.row_count;
  const kernels::RmsNorm attention_norm{layer.attention_norm.data(), config_.rms_epsilon};
  const kernels::RmsNorm ffn_norm{layer.ffn_norm.data(), config_.rms_epsilon};
  const kernels::RmsNorm no_norm;
  const kernels::HeadTransform transform = TransformOf(config_, layer);

  const kernels::LinearOutput qkv[] = {
      {layer.q.get(), w.q}, {layer.k.get(), w.k}, {layer.v.get(), w.v}};
  backend_->Linear(w.op, w.x, row_count, attention_norm, qkv);
  backend_->RopeAndStore(w.op, input.rows, transform, layer_index, config_.heads, w.q, w.k, w.v,
                         input.kv);
  backend_->Attention(w.op, input.rows, layer_index, config_.heads, w.q, input.kv, w.attention);
  const kernels::LinearOutput attention_out[] = {{layer.attention_out.get(), w.x, true}};
  backend_->Linear(w.op, w.attention, row_count, no_norm, attention_out);

  backend_->SwiGlu(w.op, w.x, row_count, ffn_norm, *layer.gate, *layer.up, w.ffn);
  const kernels::LinearOutput down[] = {{layer.down.get(), w.x, true}};
  backend_->Linear(w.op, w.ffn, row_count, no_norm, down);
}

void LlamaModel::RunHead(const ForwardInput& input, const Workspace& w) const {
  const int64_t width = config_.width;
  for (size_t i = 0; i < input.logits_rows.size(); ++i) {
    std::memcpy(w.picked + i * width, w.x + input.logits_rows[i] * width, width * sizeof(float));
  }
  const kernels::RmsNorm norm{weights_.output_norm.data(), config_.rms_epsilon};
  const kernels::LinearOutput head[] = {{&weights_.head(), w.logits}};
  backend_->Linear(w.op, w.picked, static_cast<int32_t>(input.logits_rows.size()), norm, head);
}

}  // namespace ebb::model
