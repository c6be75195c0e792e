#include "server/serving.h"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "model/tokenizer.h"
#include "server/effective_config.h"
#include "server/version.h"

namespace ebb::server {
namespace {

// After a drain, readers that are still busy with answers already made get this long.
constexpr absl::Duration kReadersTime = absl::Seconds(5);
// Clients often ask again as soon as they have their answer: so long the server goes on saying
// UNAVAILABLE, for gRPC itself answers CANCELLED to a call that comes while it closes.
constexpr absl::Duration kLingerTime = absl::Milliseconds(200);
// What is left then (health watchers, stuck readers) is cancelled after this.
constexpr absl::Duration kFlushTime = absl::Milliseconds(200);
// Where clients of OpenAI's API expect a server of one's own.
constexpr int kHttpPort = 8000;
// How often the engine is asked how it gets on, and health is told.
constexpr absl::Duration kWatchTime = absl::Milliseconds(250);
// Calls may stay open after the engine is done with them, while their readers read.
constexpr size_t kCallsPerRequestMax = 4;

RequestLimits Limits(const config::ServerConfig& config, const LoadedModel& model) {
  RequestLimits limits;
  limits.model_name = model.name;
  limits.context_tokens = model.config.context_tokens;
  limits.vocabulary_tokens = model.config.vocab;
  limits.answers_max = std::min(engine::kAnswersMax, config.scheduler.running_sequences_max);
  limits.max_tokens_default = config.requests.max_tokens_default;
  limits.logprobs_max = config.requests.logprobs_max;
  limits.stop_strings_max = config.requests.stop_strings_max;
  limits.stop_string_bytes_max = config.requests.stop_string_bytes_max;
  limits.stop_token_ids_max = config.requests.stop_token_ids_max;
  return limits;
}

QuotaLimits LimitsOfTenants(const config::ServerConfig& config) {
  return {config.quotas.requests_per_minute, config.quotas.tokens_per_minute,
          config.quotas.concurrent_requests};
}

std::optional<std::string> TokenText(const model::Tokenizer& tokenizer,
                                     std::optional<int32_t> token_id) {
  if (!token_id.has_value()) return std::nullopt;
  return std::string(tokenizer.TokenBytes(*token_id));
}

HttpModelInfo InfoForHttp(const LoadedModel& model, const base::Clock& clock) {
  const model::Tokenizer& tokenizer = model.codec->tokenizer();
  HttpModelInfo info;
  info.name = model.name;
  info.context_tokens = model.config.context_tokens;
  info.created_seconds = absl::ToUnixSeconds(clock.Now());
  info.bos_token = TokenText(tokenizer, tokenizer.bos_id());
  info.eos_token = TokenText(tokenizer, tokenizer.eos_id());
  info.pad_token = TokenText(tokenizer, tokenizer.pad_id());
  info.chat_template = model.chat_template;
  return info;
}

uint64_t RandomSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

Serving::Serving(const config::ServerConfig& config, const LoadedModel& model,
                 engine::Engine* engine, DrainSwitch* drain, const base::Clock* clock,
                 base::Log* log, const Guards& guards)
    : engine_(engine),
      drain_(drain),
      clock_(clock),
      log_(log),
      guards_(guards),
      progress_(engine, clock, config.server.stall),
      reader_(Limits(config, model), model.codec.get()),
      live_calls_(kCallsPerRequestMax *
                  static_cast<size_t>(config.scheduler.queue_requests_max +
                                      config.scheduler.running_sequences_max)),
      refusals_(clock, log),
      quotas_(LimitsOfTenants(config), clock, &request_metrics_),
      metrics_(MakeMetricsOptions(config, model), engine, &request_metrics_, &refusals_,
               &progress_),
      inference_(&resources_),
      control_(MakeControlOptions(config, model), engine, clock),
      vllm_(MakeVllmOptions(config, model), &resources_, clock),
      kserve_({model.name, kVersion}, &resources_),
      http_api_(&resources_, &metrics_, InfoForHttp(model, *clock), kVersion) {
  resources_.engine = engine;
  resources_.reader = &reader_;
  resources_.codec = model.codec.get();
  resources_.live_calls = &live_calls_;
  resources_.pump = &pump_;
  resources_.clock = clock;
  resources_.refusals = &refusals_;
  resources_.quotas = &quotas_;
  resources_.access = guards.users;
  resources_.progress = &progress_;
  resources_.metrics = &request_metrics_;
  resources_.process_seed = RandomSeed();
}

ControlOptions Serving::MakeControlOptions(const config::ServerConfig& config,
                                           const LoadedModel& model) {
  ControlOptions options;
  options.gate = ControlGate(guards_.users, guards_.operators);
  options.refusals = &refusals_;
  options.model_info = model.info;
  options.version = kVersion;
  options.config_hash = ConfigHash(config);
  options.memory_ceiling_bytes = config.memory.ceiling_bytes;
  // Nothing waits longer for memory than for a window of either queue and its unmapping.
  options.limit_timeout =
      std::max(config.prefill_window.max, config.decode_window.max) + absl::Seconds(1);
  options.drain_grace = config.server.drain_grace;
  options.drain = [this](absl::Duration grace) { drain_->Request(grace); };
  options.is_draining = [this] { return progress_.draining(); };
  return options;
}

MetricsOptions Serving::MakeMetricsOptions(const config::ServerConfig& config,
                                           const LoadedModel& model) {
  MetricsOptions options;
  options.version = kVersion;
  options.config_hash = ConfigHash(config);
  options.model_name = model.name;
  options.kernels = model.info.kernels();
  options.kv_bytes_per_token = model.info.kv_bytes_per_token();
  options.vllm_aliases = config.metrics.vllm_aliases;
  return options;
}

VllmOptions Serving::MakeVllmOptions(const config::ServerConfig& config, const LoadedModel& model) {
  VllmOptions options;
  options.model_info = model.info;
  options.pad_token_id = model.codec->tokenizer().pad_id().value_or(0);
  options.version = kVersion;
  options.kv_dtype = model.kv_dtype;
  options.running_requests_max = config.scheduler.running_sequences_max;
  options.tokenizer_archive = &model.tokenizer_archive;
  return options;
}

absl::StatusOr<std::unique_ptr<Serving>> Serving::Start(const config::ServerConfig& config,
                                                        const LoadedModel& model,
                                                        engine::Engine* engine, DrainSwitch* drain,
                                                        const base::Clock* clock, base::Log* log,
                                                        const Guards& guards) {
  std::unique_ptr<Serving> serving(new Serving(config, model, engine, drain, clock, log, guards));
  // Whatever is left to do is to say so.
  engine->SetOnLost([drain] { drain->Request(absl::ZeroDuration()); });
  RETURN_IF_ERROR(serving->StartGrpc(config));
  RETURN_IF_ERROR(serving->StartHttp(config));
  serving->StartWatching(config);
  return serving;
}

absl::Status Serving::StartGrpc(const config::ServerConfig& config) {
  GrpcServerOptions options;
  options.tls = guards_.tls;
  options.message_bytes_max = config.server.message_bytes_max;
  const NamedService control = {&control_, v1::Control::service_full_name()};
  std::vector<NamedService> services = {
      {&inference_, v1::Inference::service_full_name()},
      {&vllm_, ::vllm::grpc::engine::VllmEngine::service_full_name()},
      {&kserve_, ::inference::GRPCInferenceService::service_full_name()}};
  if (config.server.control_listen.empty()) {
    services.push_back(control);
  } else {
    const bool asks_tokens = guards_.users != nullptr || guards_.operators != nullptr;
    options.reflection = !asks_tokens;
    ASSIGN_OR_RETURN(options.listen, ParseControlAddress(config.server.control_listen));
    ASSIGN_OR_RETURN(control_server_, GrpcServer::Start(options, {control}));
    WarnBeyondLoopback(control_server_->address(), asks_tokens);
  }
  options.reflection = guards_.users == nullptr;
  ASSIGN_OR_RETURN(options.listen, ParseListenAddress(config.server.listen));
  ASSIGN_OR_RETURN(server_, GrpcServer::Start(options, services));
  WarnBeyondLoopback(address(), guards_.users != nullptr);
  return absl::OkStatus();
}

absl::Status Serving::StartHttp(const config::ServerConfig& config) {
  const std::string& where = config.server.http_listen;
  if (where == "off") return absl::OkStatus();
  const bool is_auto = where == "auto";
  HttpServerOptions options;
  options.tls = guards_.tls;
  options.body_bytes_max = config.server.message_bytes_max;
  if (is_auto) {
    ASSIGN_OR_RETURN(options.listen, ParseListenAddress(config.server.listen));
    if (options.listen.port != 0) options.listen.port = kHttpPort;
  } else {
    ASSIGN_OR_RETURN(options.listen, ParseListenAddress(where));
  }
  options.hosts = HostNames(options.listen, config.server.http_hosts);
  absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(options, &http_api_);
  const bool is_taken = is_auto && options.listen.port != 0 && !server.ok();
  if (is_taken) {
    // Several servers on one machine, each started for its gRPC port, all start.
    options.listen.port = 0;
    server = HttpServer::Start(options, &http_api_);
  }
  RETURN_IF_ERROR(server.status());
  http_server_ = *std::move(server);
  if (is_taken) {
    log_->Write("warning",
                {{"message", absl::StrCat("HTTP is on a free port, for port ", kHttpPort,
                                          " is taken; choose one with server.http_listen")},
                 {"address", http_address()}});
  }
  WarnBeyondLoopback(http_server_->address(), guards_.users != nullptr);
  return absl::OkStatus();
}

void Serving::WarnBeyondLoopback(const ListenAddress& address, bool asks_tokens) {
  if (address.is_loopback) return;
  std::string message;
  const TlsFiles* const tls = guards_.tls;
  if (!asks_tokens && (tls == nullptr || !tls->asks_clients())) {
    message = absl::StrCat("listening beyond this machine without ",
                           tls == nullptr ? "encryption or " : "",
                           "authentication: whoever reaches the port can use and stop this server");
  } else if (tls == nullptr) {
    message =
        "listening beyond this machine without encryption: whoever sees the traffic learns the "
        "tokens";
  } else {
    return;
  }
  log_->Write("warning", {{"message", message}, {"address", address.ToString()}});
}

const ListenAddress& Serving::control_address() const {
  return control_server_ == nullptr ? address() : control_server_->address();
}

std::string Serving::http_address() const {
  return http_server_ == nullptr ? "" : http_server_->address().ToString();
}

void Serving::StartWatching(const config::ServerConfig& config) {
  if (config.log.stats > absl::ZeroDuration()) {
    stats_log_ = std::make_unique<StatsLog>(engine_, clock_, log_, config.log.stats);
  }
  asking_ = std::make_unique<Ticker>(kWatchTime, [this] {
    progress_.Poll();
    if (stats_log_ != nullptr) stats_log_->Tick();
  });
  telling_ = std::make_unique<Ticker>(kWatchTime, [this] { TellHealth(); });
}

void Serving::TellHealth() {
  base::MutexLock lock(&told_mutex_);
  const HealthReport report = progress_.Check();
  const HealthState before = std::exchange(told_state_, report.state);
  const bool was_ready = before == HealthState::kReady;
  if (report.ready() != was_ready) {
    server_->SetServing(report.ready());
    if (control_server_ != nullptr) control_server_->SetServing(report.ready());
  }
  const bool stalls = report.state == HealthState::kStalled;
  if (report.state != before && (stalls || before == HealthState::kStalled)) {
    log_->Write("health", {{"state", HealthStateName(report.state)}, {"message", report.message}});
  }
}

absl::Duration Serving::WaitForDrain() {
  const absl::Duration delay = drain_->WaitForRequest();
  progress_.SetDraining();
  TellHealth();
  if (delay > absl::ZeroDuration()) {
    log_->Write("not_ready", {{"delay_seconds", absl::ToDoubleSeconds(delay)}});
  }
  return drain_->WaitOutDelay();
}

void Serving::RunUntilDrained() {
  const absl::Duration grace = WaitForDrain();
  live_calls_.Close();
  if (http_server_ != nullptr) http_server_->SetClosing();
  const engine::LoadView load = engine_->Load();
  log_->Write("draining", {{"grace_seconds", absl::ToDoubleSeconds(grace)},
                           {"waiting_requests", load.waiting_requests},
                           {"running_requests", load.running_requests}});
  std::atomic<bool> hurried = false;
  std::thread hurries([this, &hurried] {
    drain_->ServeHurries([this, &hurried](absl::Duration shorter) {
      hurried = true;
      log_->Write("draining", {{"grace_seconds", absl::ToDoubleSeconds(shorter)}});
      engine_->Drain(shorter);
    });
  });
  engine_->Drain(grace);
  const bool lost = !engine_->Health().ok();
  live_calls_.WaitUntilEmpty(hurried || lost ? absl::Seconds(1) : kReadersTime);
  if (!hurried) absl::SleepFor(kLingerTime);
  drain_->Stop();
  hurries.join();
  telling_.reset();
  server_->Shutdown(kFlushTime);
  if (control_server_ != nullptr) control_server_->Shutdown(kFlushTime);
  if (http_server_ != nullptr) http_server_->Shutdown(kFlushTime);
}

}  // namespace ebb::server
