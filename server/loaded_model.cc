#include "server/loaded_model.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/backend_factory.h"
#include "model/gguf.h"
#include "model/load_error.h"
#include "model/tokenizer_gguf.h"

namespace ebb::server {
namespace {

constexpr absl::string_view kTemplateKey = "tokenizer.chat_template";

// config.model.name, or the file's name without directory and ending.
std::string NameOf(const config::ServerConfig& config) {
  if (!config.model.name.empty()) return config.model.name;
  const std::string& path = config.model.path;
  const size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (absl::EndsWith(name, ".gguf")) name.resize(name.size() - 5);
  return model::Printable(name);
}

// A template that we cannot run leaves the model good for everything but chats; one that is broken
// or too large does not: then the file is not what its maker meant.
absl::StatusOr<model::ChatTemplate> ReadChatTemplate(const model::GgufFile& file, base::Log* log,
                                                     absl::Status* refusal) {
  const absl::StatusOr<absl::string_view> source = file.GetString(kTemplateKey);
  if (absl::IsNotFound(source.status())) {
    return absl::FailedPreconditionError("chat: the model has no chat template; send text instead");
  }
  if (!source.ok()) return *refusal = source.status();
  absl::StatusOr<model::ChatTemplate> parsed = model::ChatTemplate::Parse(*source);
  if (parsed.ok()) return parsed;
  if (!absl::IsUnimplemented(parsed.status())) {
    return *refusal = file.Error(parsed.status().code(), "chat_template",
                                 model::Printable(parsed.status().message()));
  }
  log->Write("chat_template_refused", {{"reason", std::string(parsed.status().message())}});
  return absl::UnimplementedError(
      absl::StrCat("chat: the model's chat template cannot be used: ", parsed.status().message()));
}

absl::StatusOr<std::unique_ptr<ModelTextCodec>> ReadCodec(const model::GgufFile& file,
                                                          base::Log* log) {
  ASSIGN_OR_RETURN(const model::TokenizerData data, model::TokenizerDataFromGguf(file));
  ASSIGN_OR_RETURN(std::unique_ptr<const model::Tokenizer> tokenizer,
                   model::Tokenizer::Create(data));
  absl::Status refusal;
  absl::StatusOr<model::ChatTemplate> chat_template = ReadChatTemplate(file, log, &refusal);
  RETURN_IF_ERROR(refusal);
  return std::make_unique<ModelTextCodec>(std::move(tokenizer), std::move(chat_template));
}

model::LoadProgress LogProgress(const base::Clock& clock, base::Log* log) {
  return [&clock, log, last = clock.Now()](int64_t bytes_done, int64_t bytes_total) mutable {
    const absl::Time now = clock.Now();
    if (now - last < absl::Seconds(1) && bytes_done != bytes_total) return;
    last = now;
    log->Write("loading", {{"bytes_done", bytes_done}, {"bytes_total", bytes_total}});
  };
}

v1::GetModelInfoResponse InfoOf(const LoadedModel& loaded, kernels::DType kv_dtype) {
  const model::ModelConfig& shape = loaded.llama->config();
  const model::Tokenizer& tokenizer = loaded.codec->tokenizer();
  v1::GetModelInfoResponse info;
  info.set_name(loaded.name);
  info.set_architecture(shape.architecture);
  info.set_context_tokens(shape.context_tokens);
  info.set_vocabulary_tokens(shape.vocab);
  info.set_layers(shape.layers);
  info.set_embedding_width(shape.width);
  info.set_kv_bytes_per_token(shape.KvBytesPerToken(kernels::TraitsOf(kv_dtype).block_bytes));
  info.set_has_chat_template(loaded.codec->has_chat_template());
  for (const int32_t id : tokenizer.eos_ids()) info.add_eos_token_ids(id);
  if (tokenizer.bos_id().has_value()) info.set_bos_token_id(*tokenizer.bos_id());
  info.set_kernels(std::string(loaded.backend->name()));
  return info;
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const config::ServerConfig& config,
                                      std::unique_ptr<kernels::Backend> backend,
                                      const base::Clock& clock, base::Log* log) {
  LoadedModel loaded;
  loaded.name = NameOf(config);
  loaded.backend = std::move(backend);
  ASSIGN_OR_RETURN(const std::unique_ptr<model::GgufFile> file,
                   model::GgufFile::Open(config.model.path));
  for (const std::string& warning : file->warnings()) {
    log->Write("model_warning", {{"message", warning}});
  }
  ASSIGN_OR_RETURN(loaded.codec, ReadCodec(*file, log));
  ASSIGN_OR_RETURN(loaded.llama,
                   model::LlamaModel::Load(*file, loaded.backend.get(), LogProgress(clock, log)));
  // Reading the model has compared the two.
  CHECK_EQ(loaded.codec->tokenizer().vocabulary_size(), loaded.llama->config().vocab);
  loaded.info = InfoOf(loaded, KvDTypeOf(config));
  return loaded;
}

absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeBackend(const config::ServerConfig& config) {
  return kernels::MakeCpuBackend(config::ValueOf(config, "kernels.path"), config.kernels.threads);
}

kernels::DType KvDTypeOf(const config::ServerConfig& config) {
  switch (config.kv.dtype) {
    case config::KvDtype::kAuto:
    case config::KvDtype::kF16:
      return kernels::DType::kF16;
    case config::KvDtype::kBf16:
      return kernels::DType::kBF16;
    case config::KvDtype::kF32:
      return kernels::DType::kF32;
  }
  return kernels::DType::kF16;
}

}  // namespace ebb::server
