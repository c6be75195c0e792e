// ebb_server: the composition root. Reads arguments and settings, loads the model, puts the engine
// together, serves, drains, ends.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "model/load_error.h"
#include "server/access.h"
#include "server/compute.h"
#include "server/drain.h"
#include "server/effective_config.h"
#include "server/engine_stack.h"
#include "server/exit_code.h"
#include "server/flags.h"
#include "server/loaded_model.h"
#include "server/serving.h"
#include "server/tls_files.h"
#include "server/version.h"

namespace ebb::server {
namespace {

ExitCode Fail(ExitCode code, const absl::Status& status) {
  std::cerr << "ebb_server: " << status.message() << std::endl;
  return code;
}

ExitCode RejectModel(const config::ServerConfig& config, const absl::Status& status,
                     base::Log* log) {
  std::string reason = model::LoadErrorReason(status);
  if (reason.empty()) reason = "not_readable";
  log->Write("model_rejected", {{"file", model::Printable(config.model.path)},
                                {"reason", reason},
                                {"status", absl::StatusCodeToString(status.code())},
                                {"message", std::string(status.message())}});
  return Fail(kExitModel, status);
}

// What OpenCompute's error means: settings that cannot be, or a device that cannot be used.
ExitCode CodeOfCompute(const config::ServerConfig& config, const absl::Status& status) {
  const bool wants_cuda = config.device.kind == config::DeviceKind::kCuda;
  return wants_cuda && !absl::IsInvalidArgument(status) ? kExitDevice : kExitConfig;
}

// What an EngineStack's error means for the caller.
ExitCode CodeOf(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? kExitConfig : kExitSystem;
}

// Null where the settings name no such file.
absl::StatusOr<std::unique_ptr<AccessGate>> OpenGate(TokenHolders holders, const std::string& path,
                                                     const base::Clock& clock, base::Log* log) {
  if (path.empty()) return std::unique_ptr<AccessGate>();
  return AccessGate::Open(holders, path, &clock, log);
}

absl::StatusOr<std::unique_ptr<TlsFiles>> OpenTls(const config::ServerConfig& config,
                                                  const base::Clock& clock, base::Log* log) {
  if (config.security.tls_certificate_file.empty()) return std::unique_ptr<TlsFiles>();
  return TlsFiles::Open({config.security.tls_certificate_file, config.security.tls_key_file,
                         config.security.tls_client_ca_file},
                        &clock, log);
}

ExitCode Serve(const config::ServerConfig& config, const base::Clock& clock, base::Log* log) {
  const absl::Time start = clock.Now();
  DrainSwitch drain;
  SignalThread signals(&drain, config.server.drain_grace, config.server.drain_delay);
  log->Write("config", {{"hash", ConfigHash(config)},
                        {"settings", nlohmann::ordered_json::parse(config::Print(config))}});
  const auto users = OpenGate(TokenHolders::kUsers, config.security.tokens_file, clock, log);
  if (!users.ok()) return Fail(kExitConfig, users.status());
  const auto operators =
      OpenGate(TokenHolders::kOperators, config.security.control_tokens_file, clock, log);
  if (!operators.ok()) return Fail(kExitConfig, operators.status());
  const auto tls = OpenTls(config, clock, log);
  if (!tls.ok()) return Fail(kExitConfig, tls.status());
  log->Write("loading", {{"file", model::Printable(config.model.path)}, {"version", kVersion}});

  absl::StatusOr<std::unique_ptr<Compute>> compute = OpenCompute(config, &clock, log);
  if (!compute.ok()) return Fail(CodeOfCompute(config, compute.status()), compute.status());
  absl::StatusOr<LoadedModel> model = LoadModel(config, *std::move(compute), clock, log);
  if (absl::IsResourceExhausted(model.status())) return Fail(kExitSystem, model.status());
  if (!model.ok()) return RejectModel(config, model.status(), log);
  absl::StatusOr<std::unique_ptr<EngineStack>> stack =
      EngineStack::Create(config, *model, &clock, log);
  if (!stack.ok()) return Fail(CodeOf(stack.status()), stack.status());
  const absl::StatusOr<std::unique_ptr<Serving>> serving =
      Serving::Start(config, *model, &(*stack)->engine(), &drain, &clock, log,
                     {users->get(), operators->get(), tls->get()});
  if (!serving.ok()) return Fail(kExitListen, serving.status());

  log->Write("ready", {{"address", (*serving)->address().ToString()},
                       {"http_address", (*serving)->http_address()},
                       {"control_address", (*serving)->control_address().ToString()},
                       {"model", model->name},
                       {"kernels", std::string(model->compute->name())},
                       {"weights_bytes", model->compute->weight_bytes()},
                       {"config_hash", ConfigHash(config)},
                       {"version", kVersion},
                       {"start_seconds", absl::ToDoubleSeconds(clock.Now() - start)}});
  (*serving)->RunUntilDrained();
  (*stack)->SaveLengths();
  const engine::LoadView load = (*stack)->engine().Load();
  log->Write("stopped", {{"requests_total", load.finished_total},
                         {"preemptions_total", load.preemptions_total}});
  const absl::Status health = (*stack)->engine().Health();
  return health.ok() ? kExitOk : Fail(kExitDevice, health);
}

ExitCode Run(const std::vector<std::string>& arguments) {
  const absl::StatusOr<Flags> flags = ParseFlags(arguments);
  if (!flags.ok()) {
    std::cerr << HelpText() << std::endl;
    return Fail(kExitUsage, flags.status());
  }
  if (flags->help || flags->version) {
    std::cout << (flags->help ? std::string(HelpText())
                              : std::string("ebb_server ") + kVersion + "\n");
    return kExitOk;
  }
  const absl::StatusOr<config::ServerConfig> config = EffectiveConfig(*flags);
  if (!config.ok()) return Fail(kExitConfig, config.status());
  if (flags->print_config) std::cout << config::Print(*config);
  if (flags->print_config || flags->check_config) return kExitOk;
  if (config->model.path.empty()) {
    return Fail(kExitUsage, absl::InvalidArgumentError(
                                "no model: give --model FILE, or model.path in the settings"));
  }
  const base::RealClock clock;
  base::StreamLog log(stdout, &clock, static_cast<size_t>(config->log.queue_lines_max));
  return Serve(*config, clock, &log);
}

// The libraries would write a line to standard error, with bytes of the client's, for each
// malformed message or header that anybody sends. The sender has its status.
void SilenceLibraries() {
  google::protobuf::SetLogHandler(nullptr);
  // Who looks for a fault in gRPC asks for its words.
  if (std::getenv("GRPC_VERBOSITY") != nullptr) return;
  gpr_set_log_function([](gpr_log_func_args* line) {
    if (absl::StartsWith(line->message, "assertion failed"))
      std::cerr << line->message << std::endl;
  });
}

// Called when an exception finds no handler, with nothing unwound. Only the system throws in here:
// when it gives no memory or no thread.
[[noreturn]] void EndWithoutHandler() {
  std::string refused;
  try {
    if (std::current_exception() != nullptr) std::rethrow_exception(std::current_exception());
  } catch (const std::bad_alloc&) {
    refused = "memory; give this process more, or lower memory.limit_bytes";
  } catch (const std::system_error& error) {
    refused = std::string("a thread (") + error.what() +
              "); raise the limit of processes (ulimit -u, pids.max), or lower kernels.threads";
  } catch (...) {
    std::abort();
  }
  if (refused.empty()) std::abort();
  std::cerr << "ebb_server: the system refused " << refused << std::endl;
  _exit(kExitSystem);
}

}  // namespace
}  // namespace ebb::server

int main(int argc, char** argv) {
  std::set_terminate(ebb::server::EndWithoutHandler);
  ebb::server::SilenceLibraries();
  ebb::server::BlockSignals();
  return ebb::server::Run(std::vector<std::string>(argv + 1, argv + argc));
}
