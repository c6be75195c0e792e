// OpenModel: a model by its path, whatever kind of file it is.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer.h"
#include "model/weight_source.h"

namespace ebb::model {

struct OpenedModel {
  std::unique_ptr<const WeightSource> weights;
  std::unique_ptr<const Tokenizer> tokenizer;  // As many tokens as weights->config().vocab.
  TokenizerData tokenizer_data;                // What it was made from, to write it out again.
  std::optional<std::string> chat_template;    // The text of a Jinja template; not parsed yet.
  std::string name;                            // The path's last part without its ending.
  std::vector<std::string> warnings;  // What is odd but no reason to refuse; a sentence each.
};

// Opens a GGUF file, a Hugging Face directory (config.json, tokenizer.json, *.safetensors and what
// belongs to them), or random:SHAPE (random_model.h). Everything but the weights themselves is read
// and checked. Errors read as load_error.h says.
absl::StatusOr<OpenedModel> OpenModel(const std::string& path);

}  // namespace ebb::model
