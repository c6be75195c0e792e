// LoadedModel: a model file made ready to serve: its codec, its weights in a backend's layout, and
// what GetModelInfo tells of it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "kernels/backend.h"
#include "model/llama.h"
#include "proto/ebb.pb.h"
#include "server/model_text_codec.h"

namespace ebb::server {

struct LoadedModel {
  std::string name;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<ModelTextCodec> codec;
  std::unique_ptr<model::LlamaModel> llama;  // Uses the backend.
  v1::GetModelInfoResponse info;
};

// Reads config.model.path onto `backend`. Progress goes to the log, a line a second at most. Errors
// are those of the model's own reading (load_error.h).
absl::StatusOr<LoadedModel> LoadModel(const config::ServerConfig& config,
                                      std::unique_ptr<kernels::Backend> backend,
                                      const base::Clock& clock, base::Log* log);

// The backend that config.kernels asks for.
absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeBackend(const config::ServerConfig& config);

// How keys and values are kept.
kernels::DType KvDTypeOf(const config::ServerConfig& config);

}  // namespace ebb::server
