// The files of a Hugging Face model directory: their names, and how large each may be.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json_document.h"

namespace ebb::model {

struct HfFile {
  absl::string_view name;
  uint64_t bytes_max;
};

inline constexpr HfFile kHfConfig = {"config.json", 1 << 20};
inline constexpr HfFile kHfGenerationConfig = {"generation_config.json", 1 << 20};
inline constexpr HfFile kHfTokenizer = {"tokenizer.json", 32 << 20};
inline constexpr HfFile kHfTokenizerConfig = {"tokenizer_config.json", 16 << 20};
inline constexpr HfFile kHfChatTemplate = {"chat_template.jinja", 1 << 20};
inline constexpr HfFile kHfWeights = {"model.safetensors", UINT64_MAX};
inline constexpr HfFile kHfWeightsIndex = {"model.safetensors.index.json", 16 << 20};

// "directory/name".
std::string PathOf(const std::string& directory, const HfFile& file);
bool IsThere(const std::string& directory, const HfFile& file);

// The file as JSON: what JsonDocument::ReadFile answers.
absl::StatusOr<std::unique_ptr<const JsonDocument>> ReadJson(const std::string& directory,
                                                             const HfFile& file);
// Null when there is no such file.
absl::StatusOr<std::unique_ptr<const JsonDocument>> ReadOptionalJson(const std::string& directory,
                                                                     const HfFile& file);

// The file's text, at most bytes_max long.
absl::StatusOr<std::string> ReadText(const std::string& directory, const HfFile& file);

}  // namespace ebb::model
