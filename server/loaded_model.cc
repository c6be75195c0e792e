#include "server/loaded_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/dtype.h"
#include "model/load_error.h"
#include "model/open_model.h"
#include "model/tokenizer_hf_write.h"
#include "server/vllm/zip_archive.h"

namespace ebb::server {
namespace {

// A template that we cannot run leaves the model good for everything but chats; one that is broken
// or too large does not: then the file is not what its maker meant.
absl::StatusOr<model::ChatTemplate> ReadChatTemplate(const model::OpenedModel& opened,
                                                     base::Log* log, absl::Status* refusal) {
  if (!opened.chat_template.has_value()) {
    return absl::FailedPreconditionError("chat: the model has no chat template; send text instead");
  }
  absl::StatusOr<model::ChatTemplate> parsed = model::ChatTemplate::Parse(*opened.chat_template);
  if (parsed.ok()) return parsed;
  if (!absl::IsUnimplemented(parsed.status())) {
    return *refusal =
               model::LoadError(parsed.status().code(), opened.weights->name(), "chat_template",
                                model::kNoOffset, model::Printable(parsed.status().message()));
  }
  log->Write("chat_template_refused", {{"reason", std::string(parsed.status().message())}});
  return absl::UnimplementedError(
      absl::StrCat("chat: the model's chat template cannot be used: ", parsed.status().message()));
}

absl::StatusOr<std::unique_ptr<ModelTextCodec>> MakeCodec(model::OpenedModel* opened,
                                                          const base::Clock& clock,
                                                          base::Log* log) {
  absl::Status refusal;
  absl::StatusOr<model::ChatTemplate> chat_template = ReadChatTemplate(*opened, log, &refusal);
  RETURN_IF_ERROR(refusal);
  return std::make_unique<ModelTextCodec>(std::move(opened->tokenizer), std::move(chat_template),
                                          &clock);
}

model::LoadProgress LogProgress(const base::Clock& clock, base::Log* log) {
  return [&clock, log, last = clock.Now()](int64_t bytes_done, int64_t bytes_total) mutable {
    const absl::Time now = clock.Now();
    if (now - last < absl::Seconds(1) && bytes_done != bytes_total) return;
    last = now;
    log->Write("loading", {{"bytes_done", bytes_done}, {"bytes_total", bytes_total}});
  };
}

absl::StatusOr<std::string> ArchiveTokenizer(const model::OpenedModel& opened) {
  ASSIGN_OR_RETURN(std::string tokenizer, model::TokenizerJsonText(opened.tokenizer_data));
  std::string config = model::TokenizerConfigText(
      *opened.tokenizer, opened.weights->config().context_tokens, opened.chat_template);
  return ZipOf(
      {{"tokenizer.json", std::move(tokenizer)}, {"tokenizer_config.json", std::move(config)}});
}

v1::GetModelInfoResponse InfoOf(const LoadedModel& loaded) {
  const model::ModelConfig& shape = loaded.config;
  const model::Tokenizer& tokenizer = loaded.codec->tokenizer();
  v1::GetModelInfoResponse info;
  info.set_name(loaded.name);
  info.set_architecture(shape.architecture);
  info.set_context_tokens(shape.context_tokens);
  info.set_vocabulary_tokens(shape.vocab);
  info.set_layers(shape.layers);
  info.set_embedding_width(shape.width);
  info.set_kv_bytes_per_token(
      shape.KvBytesPerToken(kernels::TraitsOf(loaded.compute->kv_dtype()).block_bytes));
  info.set_has_chat_template(loaded.codec->has_chat_template());
  for (const int32_t id : tokenizer.eos_ids()) info.add_eos_token_ids(id);
  if (tokenizer.bos_id().has_value()) info.set_bos_token_id(*tokenizer.bos_id());
  info.set_kernels(std::string(loaded.compute->name()));
  return info;
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const config::ServerConfig& config,
                                      std::unique_ptr<Compute> compute, const base::Clock& clock,
                                      base::Log* log) {
  LoadedModel loaded;
  loaded.compute = std::move(compute);
  ASSIGN_OR_RETURN(model::OpenedModel opened, model::OpenModel(config.model.path));
  for (const std::string& warning : opened.warnings) {
    log->Write("model_warning", {{"message", warning}});
  }
  loaded.name = config.model.name.empty() ? model::Printable(opened.name) : config.model.name;
  loaded.config = opened.weights->config();
  loaded.tokenizer_archive = ArchiveTokenizer(opened);
  loaded.chat_template = opened.chat_template;
  ASSIGN_OR_RETURN(loaded.codec, MakeCodec(&opened, clock, log));
  RETURN_IF_ERROR(loaded.compute->Load(*opened.weights, LogProgress(clock, log)));
  // Opening the model has compared the two.
  CHECK_EQ(loaded.codec->tokenizer().vocabulary_size(), loaded.config.vocab);
  loaded.kv_dtype = std::string(kernels::TraitsOf(loaded.compute->kv_dtype()).name);
  loaded.info = InfoOf(loaded);
  return loaded;
}

}  // namespace ebb::server
