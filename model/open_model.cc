#include "model/open_model.h"

#include <utility>

#include "absl/strings/match.h"
#include "base/status_macros.h"
#include "model/gguf.h"
#include "model/gguf_weights.h"
#include "model/tokenizer_gguf.h"

namespace ebb::model {
namespace {

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
  ASSIGN_OR_RETURN(const TokenizerData data, TokenizerDataFromGguf(*file));
  ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Create(data));
  if (file->Has(kTemplateKey)) {
    ASSIGN_OR_RETURN(const absl::string_view text, file->GetString(kTemplateKey));
    model.chat_template = std::string(text);
  }
  ASSIGN_OR_RETURN(model.weights, GgufWeightSource(file));
  return model;
}

}  // namespace

absl::StatusOr<OpenedModel> OpenModel(const std::string& path) { return OpenGguf(path); }

}  // namespace ebb::model
