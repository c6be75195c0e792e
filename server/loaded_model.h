// LoadedModel: a model made ready to serve: its codec, its weights on what computes it, and what
// GetModelInfo tells of it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "model/model_config.h"
#include "proto/ebb.pb.h"
#include "server/compute.h"
#include "server/model_text_codec.h"

namespace ebb::server {

struct LoadedModel {
  std::string name;
  model::ModelConfig config;
  std::unique_ptr<Compute> compute;
  std::unique_ptr<ModelTextCodec> codec;
  std::string kv_dtype;                      // Of keys and values: "f16".
  std::optional<std::string> chat_template;  // As the model has it, whether we can run it or not.
  v1::GetModelInfoResponse info;
  // tokenizer.json and tokenizer_config.json in a zip archive, for gateways that tokenize; or why
  // they cannot be written.
  absl::StatusOr<std::string> tokenizer_archive = absl::UnimplementedError("no model is loaded");
};

// Reads config.model.path onto `compute`. Progress goes to the log, a line a second at most. Errors
// are those of the model's own reading (load_error.h) and of Compute::Load.
absl::StatusOr<LoadedModel> LoadModel(const config::ServerConfig& config,
                                      std::unique_ptr<Compute> compute, const base::Clock& clock,
                                      base::Log* log);

}  // namespace ebb::server
