#include "model/llama_cuda_weights.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/status_macros.h"
#include "model/cuda_upload.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

using base::Checked;

constexpr uint64_t kAlignment = 256;

// A weight's place in the one piece of memory.
struct Place {
  WeightId id;
  WeightShape shape;
  int64_t begin = 0;
  int64_t bytes = 0;
};

struct Places {
  std::vector<Place> weights;  // In the order of WeightsOf.
  int64_t frequencies_begin = 0;
  int64_t total_bytes = 0;
};

// Whether a weight lies directly behind the one before it, as one matrix or vector with it.
bool Continues(WeightKind kind) {
  return kind == WeightKind::kK || kind == WeightKind::kV || kind == WeightKind::kKBias ||
         kind == WeightKind::kVBias || kind == WeightKind::kUp;
}

Places PlacesOf(const ModelConfig& config) {
  Places places;
  Checked end(0);
  for (const WeightId& id : WeightsOf(config)) {
    Place place;
    place.id = id;
    place.shape = ShapeOf(config, id.kind);
    const uint64_t element_bytes = place.shape.is_vector ? sizeof(float) : sizeof(uint16_t);
    const Checked bytes = Checked(place.shape.rows) * place.shape.columns * element_bytes;
    const Checked begin = Continues(id.kind) ? end : end.RoundUp(kAlignment);
    place.begin = static_cast<int64_t>(begin.value());
    place.bytes = static_cast<int64_t>(bytes.value());
    end = begin + bytes;
    places.weights.push_back(place);
  }
  const Checked begin = end.RoundUp(kAlignment);
  places.frequencies_begin = static_cast<int64_t>(begin.value());
  end = (begin + Checked(config.rope_frequencies.size()) * sizeof(float)).RoundUp(kAlignment);
  places.total_bytes = static_cast<int64_t>(end.value());
  return places;
}

absl::Status CheckRoom(int64_t needed_bytes, const device::CudaDevice& device) {
  ASSIGN_OR_RETURN(const int64_t free_bytes, device.FreeBytes());
  if (needed_bytes <= free_bytes) return absl::OkStatus();
  constexpr int64_t kMiB = int64_t{1} << 20;
  return absl::ResourceExhaustedError(absl::StrCat(
      "the weights take ", needed_bytes / kMiB, " MiB in bf16 and the device has ",
      free_bytes / kMiB,
      " MiB free: end what else uses it, choose another device, or serve a smaller model"));
}

absl::Status LoadOne(const WeightSource& source, const Place& place, uint8_t* to,
                     CudaUpload* upload) {
  if (!place.shape.is_vector) {
    if (const std::optional<RandomFill> random = source.Random(place.id.kind, place.id.layer);
        random.has_value()) {
      return upload->FillRandom(*random, place.shape.rows * place.shape.columns, to);
    }
  }
  ASSIGN_OR_RETURN(const WeightTensor tensor, source.Read(place.id.kind, place.id.layer));
  CHECK_EQ(tensor.rows * tensor.columns, place.shape.rows * place.shape.columns);
  const absl::Status status = place.shape.is_vector
                                  ? upload->CopyFloats(ToFloats(tensor), to)
                                  : upload->CopyAsBf16(tensor.dtype, tensor.bytes, to);
  if (!absl::IsInvalidArgument(status)) return status;
  return LoadError(absl::StatusCode::kInvalidArgument, source.name(), "nonfinite", kNoOffset,
                   absl::StrCat(NameOf(place.id), ": ", status.message(),
                                ". bf16 has no such number: the CPU form serves this file."));
}

}  // namespace

int64_t CudaLlamaWeights::BytesOf(const ModelConfig& config) {
  return PlacesOf(config).total_bytes;
}

absl::StatusOr<std::unique_ptr<CudaLlamaWeights>> CudaLlamaWeights::Load(
    const WeightSource& source, device::CudaDevice* device, const CudaLoadProgress& progress) {
  const ModelConfig& config = source.config();
  const Places places = PlacesOf(config);
  RETURN_IF_ERROR(CheckRoom(places.total_bytes, *device));
  std::unique_ptr<CudaLlamaWeights> self(new CudaLlamaWeights());
  ASSIGN_OR_RETURN(self->memory_, device->Alloc(places.total_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<CudaUpload> upload, CudaUpload::Create(device));
  uint8_t* const base = self->memory_.data();
  int64_t done_bytes = 0;
  for (const Place& place : places.weights) {
    RETURN_IF_ERROR(LoadOne(source, place, base + place.begin, upload.get()));
    done_bytes = place.begin + place.bytes;
    if (progress) progress(done_bytes, places.total_bytes);
  }
  RETURN_IF_ERROR(upload->CopyFloats(config.rope_frequencies, base + places.frequencies_begin));
  RETURN_IF_ERROR(upload->Finish());
  if (progress && done_bytes < places.total_bytes) progress(places.total_bytes, places.total_bytes);
  self->Point(config);
  return self;
}

void CudaLlamaWeights::Point(const ModelConfig& config) {
  const Places places = PlacesOf(config);
  layers_.resize(config.layers);
  uint8_t* const base = memory_.data();
  for (const Place& place : places.weights) {
    const auto* const matrix = reinterpret_cast<const uint16_t*>(base + place.begin);
    const auto* const vector = reinterpret_cast<const float*>(base + place.begin);
    CudaLlamaLayer& layer = layers_[place.id.layer];
    switch (place.id.kind) {
      case WeightKind::kEmbedding:
        embedding_ = matrix;
        break;
      case WeightKind::kOutputNorm:
        output_norm_ = vector;
        break;
      case WeightKind::kHead:
        head_ = matrix;
        break;
      case WeightKind::kAttentionNorm:
        layer.attention_norm = vector;
        break;
      case WeightKind::kQ:
        layer.qkv = matrix;
        break;
      case WeightKind::kQBias:
        layer.qkv_bias = vector;
        break;
      case WeightKind::kQNorm:
        layer.q_norm = vector;
        break;
      case WeightKind::kKNorm:
        layer.k_norm = vector;
        break;
      case WeightKind::kAttentionOut:
        layer.attention_out = matrix;
        break;
      case WeightKind::kFfnNorm:
        layer.ffn_norm = vector;
        break;
      case WeightKind::kGate:
        layer.gate_up = matrix;
        break;
      case WeightKind::kDown:
        layer.down = matrix;
        break;
      case WeightKind::kK:  // These lie behind the ones that are pointed to.
      case WeightKind::kV:
      case WeightKind::kKBias:
      case WeightKind::kVBias:
      case WeightKind::kUp:
        break;
    }
  }
  if (head_ == nullptr) head_ = embedding_;
  rope_frequencies_ = reinterpret_cast<const float*>(base + places.frequencies_begin);
}

}  // namespace ebb::model
