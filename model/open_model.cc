#include "model/open_model.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/gguf.h"
#include "model/gguf_weights.h"
#include "model/hf_config.h"
#include "model/hf_files.h"
#include "model/hf_weights.h"
#include "model/json_fields.h"
#include "model/load_error.h"
#include "model/random_model.h"
#include "model/tokenizer_gguf.h"
#include "model/tokenizer_hf.h"

namespace ebb::model {
namespace {

constexpr absl::string_view kRandomPrefix = "random:";
constexpr absl::string_view kTemplateKey = "tokenizer.chat_template";

std::string NameOfPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (absl::EndsWith(name, ".gguf")) name.resize(name.size() - 5);
  return name;
}

absl::StatusOr<OpenedModel> OpenGguf(const std::string& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  OpenedModel model;
  model.name = NameOfPath(path);
  model.warnings = file->warnings();
  ASSIGN_OR_RETURN(model.tokenizer_data, TokenizerDataFromGguf(*file));
  ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Create(model.tokenizer_data));
  if (file->Has(kTemplateKey)) {
    ASSIGN_OR_RETURN(const absl::string_view text, file->GetString(kTemplateKey));
    model.chat_template = std::string(text);
  }
  ASSIGN_OR_RETURN(model.weights, GgufWeightSource(file));
  return model;
}

// tokenizer_config.json's chat_template: a text, or a list of named ones, of which "default" is
// taken.
absl::StatusOr<std::optional<std::string>> ReadTemplate(const JsonFields& fields) {
  constexpr absl::string_view kKey = "chat_template";
  std::optional<std::string> text;
  const std::optional<JsonValue> value = fields.Find(kKey);
  if (!value.has_value()) return text;
  if (!value->IsArray()) {
    RETURN_IF_ERROR(fields.ReadOptionalString(kKey, &text.emplace()));
    return text;
  }
  RETURN_IF_ERROR(value->ForEachElement([&](JsonValue element) {
    if (!element.IsObject()) return fields.Error("type", "chat_template must hold objects.");
    const JsonFields entry(fields.file(), element);
    std::string name;
    RETURN_IF_ERROR(entry.ReadOptionalString("name", &name));
    if (name != "default") return absl::OkStatus();
    return entry.ReadOptionalString("template", &text.emplace());
  }));
  return text;
}

// A file of its own goes before tokenizer_config.json, as in transformers.
absl::StatusOr<std::optional<std::string>> FindTemplate(const std::string& directory) {
  if (IsThere(directory, kHfChatTemplate)) return ReadText(directory, kHfChatTemplate);
  ASSIGN_OR_RETURN(const auto json, ReadOptionalJson(directory, kHfTokenizerConfig));
  if (json == nullptr) return std::optional<std::string>();
  ASSIGN_OR_RETURN(const JsonFields fields, FieldsOf(*json));
  return ReadTemplate(fields);
}

absl::StatusOr<OpenedModel> OpenHfDirectory(std::string directory) {
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  OpenedModel model;
  model.name = NameOfPath(directory);
  ASSIGN_OR_RETURN(const auto json, ReadJson(directory, kHfConfig));
  ASSIGN_OR_RETURN(ModelConfig config, ReadHfConfig(*json));
  const int32_t vocab = config.vocab;
  ASSIGN_OR_RETURN(model.weights, HfWeightSource(directory, std::move(config), &model.warnings));
  ASSIGN_OR_RETURN(model.tokenizer_data, TokenizerDataFromHf(directory, vocab));
  ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Create(model.tokenizer_data));
  ASSIGN_OR_RETURN(model.chat_template, FindTemplate(directory));
  return model;
}

absl::StatusOr<OpenedModel> OpenRandom(const std::string& path) {
  OpenedModel model;
  model.name = path.substr(kRandomPrefix.size());
  ASSIGN_OR_RETURN(model.weights, RandomWeightSource(path));
  const ModelConfig& config = model.weights->config();
  model.tokenizer_data =
      ByteTokenizerData(path, config.architecture == "llama" ? "llama-bpe" : "qwen2", config.vocab);
  ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Create(model.tokenizer_data));
  model.chat_template = kChatMlTemplate;
  return model;
}

bool IsDirectory(const std::string& path) {
  struct stat info;
  return path.find('\0') == std::string::npos && stat(path.c_str(), &info) == 0 &&
         S_ISDIR(info.st_mode);
}

}  // namespace

absl::StatusOr<OpenedModel> OpenModel(const std::string& path) {
  if (absl::StartsWith(path, kRandomPrefix)) return OpenRandom(path);
  if (IsDirectory(path)) return OpenHfDirectory(path);
  if (absl::EndsWith(path, ".safetensors")) {
    return LoadError(absl::StatusCode::kInvalidArgument, path, "not_a_model", kNoOffset,
                     "a .safetensors file alone says nothing of the model's shape. Name the "
                     "directory that holds it, with config.json and tokenizer.json.");
  }
  return OpenGguf(path);
}

}  // namespace ebb::model
