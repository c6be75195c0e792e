#include "server/vllm/vllm_service.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/sha256.h"
#include "server/field_checks.h"
#include "server/grpc_access.h"
#include "server/grpc_status.h"
#include "server/vllm/vllm_call.h"

namespace ebb::server {
namespace {

namespace wire = ::vllm::grpc::engine;

constexpr size_t kTokenizerChunkBytes = size_t{64} << 10;

std::string HexSha256(absl::string_view bytes) {
  const base::Sha256Digest digest = base::Sha256(bytes);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

int32_t Fit(int64_t number) {
  return static_cast<int32_t>(std::min<int64_t>(number, std::numeric_limits<int32_t>::max()));
}

// Sends an archive piece by piece, or says why there is none. Owns itself.
class ArchiveStream final : public grpc::ServerWriteReactor<wire::GetTokenizerChunk> {
 public:
  // `archive`, if it is there, outlives this.
  ArchiveStream(const absl::StatusOr<std::string>& archive, absl::string_view sha256)
      : sha256_(sha256) {
    if (archive.ok()) {
      left_ = *archive;
      WriteNext();
    } else {
      Finish(ToGrpc(archive.status()));
    }
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    if (!left_.empty()) WriteNext();
  }
  void OnDone() override { delete this; }

 private:
  void WriteNext() {
    const absl::string_view piece = left_.substr(0, kTokenizerChunkBytes);
    left_.remove_prefix(piece.size());
    chunk_.set_data(std::string(piece));
    if (!left_.empty()) return StartWrite(&chunk_);
    chunk_.set_sha256(std::string(sha256_));
    StartWriteAndFinish(&chunk_, grpc::WriteOptions(), grpc::Status::OK);
  }

  absl::string_view left_;
  const absl::string_view sha256_;
  wire::GetTokenizerChunk chunk_;
};

}  // namespace

VllmService::VllmService(VllmOptions options, CallResources* resources, const base::Clock* clock)
    : options_(std::move(options)), resources_(resources), start_(clock->Now()) {
  if (options_.tokenizer_archive->ok()) tokenizer_sha256_ = HexSha256(**options_.tokenizer_archive);
}

grpc::ServerWriteReactor<wire::GenerateResponse>* VllmService::Generate(
    grpc::CallbackServerContext* context, const wire::GenerateRequest* request) {
  last_generate_nanos_ = absl::ToUnixNanos(resources_->clock->Now());
  const auto call = std::make_shared<VllmCall>(resources_, context);
  call->Start(*request, CallerOf(resources_->access, *context));
  return call.get();  // Keeps itself until OnDone.
}

grpc::ServerUnaryReactor* VllmService::Abort(grpc::CallbackServerContext* context,
                                             const wire::AbortRequest* request,
                                             wire::AbortResponse*) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  for (const std::string& id : request->request_ids()) resources_->live_calls->Cancel(id);
  return FinishNow(context);
}

grpc::ServerUnaryReactor* VllmService::HealthCheck(grpc::CallbackServerContext* context,
                                                   const wire::HealthCheckRequest*,
                                                   wire::HealthCheckResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  const HealthReport health = resources_->progress->Check();
  response->set_healthy(health.ready());
  response->set_message(health.message);
  return FinishNow(context);
}

grpc::ServerUnaryReactor* VllmService::GetModelInfo(grpc::CallbackServerContext* context,
                                                    const wire::GetModelInfoRequest*,
                                                    wire::GetModelInfoResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  const v1::GetModelInfoResponse& info = options_.model_info;
  // No path of this machine: a gateway elsewhere could not read it. One that finds nothing there
  // asks GetTokenizer.
  response->set_model_path(info.name());
  response->set_served_model_name(info.name());
  response->set_tokenizer_path(absl::StrCat("/ebb/", info.name()));
  response->set_is_generation(true);
  response->set_max_context_length(static_cast<uint32_t>(info.context_tokens()));
  response->set_max_req_input_len(Fit(info.context_tokens() - 1));
  response->set_vocab_size(static_cast<uint32_t>(info.vocabulary_tokens()));
  response->set_model_type(info.architecture());
  *response->mutable_eos_token_ids() = info.eos_token_ids();
  response->set_bos_token_id(info.bos_token_id());
  response->set_pad_token_id(options_.pad_token_id);
  return FinishNow(context);
}

grpc::ServerUnaryReactor* VllmService::GetServerInfo(grpc::CallbackServerContext* context,
                                                     const wire::GetServerInfoRequest*,
                                                     wire::GetServerInfoResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  const engine::LoadView load = resources_->engine->Load();
  response->set_active_requests(
      static_cast<uint32_t>(load.running_requests + load.waiting_requests));
  response->set_last_receive_timestamp(static_cast<double>(last_generate_nanos_.load()) / 1e9);
  response->set_uptime_seconds(absl::ToDoubleSeconds(resources_->clock->Now() - start_));
  response->set_server_type("ebb");
  response->set_data_parallel_size(1);
  response->set_kv_cache_dtype(options_.kv_dtype);
  response->set_block_size(Fit(resources_->engine->Memory().block_tokens));
  response->set_attention_backend(options_.model_info.kernels());
  response->set_max_num_seqs(options_.running_requests_max);
  return FinishNow(context);
}

void VllmService::FillLoad(wire::SchedulerLoad* load) const {
  const engine::LoadView view = resources_->engine->Load();
  const engine::MemoryView memory = resources_->engine->Memory();
  load->set_num_running_reqs(Fit(view.running_requests));
  load->set_num_waiting_reqs(Fit(view.waiting_requests));
  load->set_num_total_reqs(Fit(view.running_requests + view.waiting_requests));
  load->set_max_running_requests(options_.running_requests_max);
  load->set_utilization(static_cast<double>(view.running_requests) /
                        std::max(options_.running_requests_max, 1));
  const int64_t token_bytes = std::max<int64_t>(options_.model_info.kv_bytes_per_token(), 1);
  load->set_num_used_tokens(Fit(memory.needed_bytes / token_bytes));
  load->set_max_total_num_tokens(Fit(memory.limit_bytes / token_bytes));
  if (memory.limit_bytes > 0) {
    load->set_token_usage(static_cast<double>(memory.needed_bytes) /
                          static_cast<double>(memory.limit_bytes));
  }
}

grpc::ServerUnaryReactor* VllmService::GetLoads(grpc::CallbackServerContext* context,
                                                const wire::GetLoadsRequest* request,
                                                wire::GetLoadsResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  if (request->dp_rank() != 0) {
    return FinishNow(context, FieldError("dp_rank", absl::StrCat("must be 0, the only one, got ",
                                                                 request->dp_rank())));
  }
  response->set_timestamp(
      absl::FormatTime(absl::RFC3339_full, resources_->clock->Now(), absl::UTCTimeZone()));
  response->set_version(options_.version);
  response->set_dp_rank_count(1);
  FillLoad(response->add_loads());
  return FinishNow(context);
}

grpc::ServerWriteReactor<wire::GetTokenizerChunk>* VllmService::GetTokenizer(
    grpc::CallbackServerContext* context, const wire::GetTokenizerRequest*) {
  const absl::StatusOr<std::string> tenant = TenantOf(resources_->access, *context);
  if (!tenant.ok()) return new ArchiveStream(tenant.status(), "");
  return new ArchiveStream(*options_.tokenizer_archive, tokenizer_sha256_);
}

grpc::ServerUnaryReactor* VllmService::FlushCache(grpc::CallbackServerContext* context,
                                                  const wire::FlushCacheRequest*,
                                                  wire::FlushCacheResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  resources_->engine->FlushPrefixCache();
  response->set_success(true);
  return FinishNow(context);
}

}  // namespace ebb::server
