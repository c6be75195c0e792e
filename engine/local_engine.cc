#include "engine/local_engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::engine {

absl::StatusOr<std::unique_ptr<LocalEngine>> LocalEngine::Create(const LocalEngineOptions& options,
                                                                 const EngineParts& parts) {
  RETURN_IF_ERROR(Validate(options));
  std::unique_ptr<LocalEngine> engine(new LocalEngine(options, parts));
  EngineCore& core = *engine->core_;
  for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
    const int64_t bytes = core.WorkspaceBytesMax(lane);
    CHECK_LE(bytes, core.workspace(lane).bytes_max()) << "the workspace is reserved too small";
  }
  if (core.LimitBlocks() < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "limit_bytes of ", options.memory.limit_bytes, " has no room for one KV page of ",
        parts.memory->geometry().page_bytes(), " bytes beside workspaces of ",
        core.WorkspaceBytesMax(Lane::kPrefill), " and ", core.WorkspaceBytesMax(Lane::kDecode),
        ": raise it, or lower chunk_tokens_max or running_sequences_max"));
  }
  parts.runner->SetOnDone([wakeups = &core.wakeups](Lane lane) { wakeups->Wake(ActorOf(lane)); });
  return engine;
}

LocalEngine::LocalEngine(const LocalEngineOptions& options, const EngineParts& parts)
    : core_(std::make_unique<EngineCore>(options, parts)),
      windows_(core_.get()),
      prefill_(core_.get(), &windows_),
      decode_(core_.get(), &windows_),
      keeper_(core_.get()) {}

absl::StatusOr<RequestId> LocalEngine::Submit(Request request, std::shared_ptr<RequestSink> sink) {
  return core_->Submit(std::move(request), std::move(sink));
}

void LocalEngine::Cancel(RequestId id) { core_->Cancel(id); }

absl::StatusOr<LimitAnswer> LocalEngine::SetMemoryLimit(int64_t bytes, absl::Duration timeout) {
  if (bytes < 0) return absl::InvalidArgumentError("a memory limit cannot be negative");
  if (bytes > core_->options.memory.ceiling_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a limit of ", bytes, " bytes is above memory.ceiling_bytes, ",
                     core_->options.memory.ceiling_bytes, ", which was fixed at start"));
  }
  {
    base::MutexLock lock(&core_->mutex);
    RETURN_IF_ERROR(core_->health());
    core_->memory().SetLimit(bytes);
  }
  core_->wakeups.WakeAll();
  const absl::Time until = core_->Now() + timeout;
  base::MutexLock lock(&core_->mutex);
  for (;;) {
    RETURN_IF_ERROR(core_->health());
    const memory::LimitState state = core_->memory().limit_state();
    const absl::Duration left = until - core_->Now();
    if (state.applied() || left <= absl::ZeroDuration()) {
      return LimitAnswer{state.applied(), state.limit_bytes, state.held_bytes,
                         state.deferred_bytes()};
    }
    core_->limit_changed.WaitFor(&core_->mutex,
                                 absl::ToChronoNanoseconds(std::min(left, absl::Hours(1))));
  }
}

MemoryView LocalEngine::Memory() const { return core_->Memory(); }
LoadView LocalEngine::Load() const { return core_->Load(); }

void LocalEngine::Drain(absl::Duration grace) {
  core_->BeginDrain(grace);
  core_->WaitUntilEmpty();
}

}  // namespace ebb::engine
