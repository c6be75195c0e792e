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
  for (const Lane lane : core.lanes.all()) {
    const int64_t bytes = core.WorkspaceBytesMax(lane);
    CHECK_LE(bytes, core.workspace(lane).bytes_max()) << "the workspace is reserved too small";
  }
  if (core.LimitBlocks(core.WorkspaceBytesMax()) < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "limit_bytes of ", options.memory.limit_bytes, " has no room for one KV page of ",
        parts.memory->geometry().page_bytes(), " bytes beside ", core.WorkspaceBytesMax(),
        " of workspace: raise it, or lower chunk_tokens_max or running_sequences_max"));
  }
  if (core.swaps().on()) {
    engine->swap_ = std::make_unique<SwapActor>(&core, &engine->windows_);
    parts.swapper->SetOnDone([wakeups = &core.wakeups] { wakeups->Wake(Actor::kSwap); });
  }
  parts.runner->SetOnDone([wakeups = &core.wakeups](Lane lane) { wakeups->Wake(ActorOf(lane)); });
  return engine;
}

LocalEngine::LocalEngine(const LocalEngineOptions& options, const EngineParts& parts)
    : core_(std::make_unique<EngineCore>(options, parts)),
      windows_(core_.get()),
      relief_(core_.get(), &windows_),
      keeper_(core_.get(), &relief_) {
  for (const Lane lane : core_->lanes.all()) {
    loops_.emplace_back(core_.get(), &windows_, &relief_, lane);
  }
}

absl::StatusOr<RequestId> LocalEngine::Submit(Request request, std::shared_ptr<RequestSink> sink) {
  return core_->Submit(std::move(request), std::move(sink));
}

void LocalEngine::Cancel(RequestId id) { core_->Cancel(id); }

absl::StatusOr<Relief::Call> LocalEngine::BeginMemoryLimit(const LimitChange& change) {
  if (change.bytes < 0) return absl::InvalidArgumentError("a memory limit cannot be negative");
  if (change.bytes > core_->options.memory.ceiling_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a limit of ", change.bytes, " bytes is above memory.ceiling_bytes, ",
                     core_->options.memory.ceiling_bytes, ", which was fixed at start"));
  }
  if (change.deadline < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a memory limit's deadline cannot be negative");
  }
  Outbox outbox;
  Relief::Call call;
  {
    base::MutexLock lock(&core_->mutex);
    RETURN_IF_ERROR(core_->health());
    call = relief_.Begin(change, core_->Now(), &outbox);
  }
  core_->Deliver(&outbox);
  return call;
}

LimitAnswer LocalEngine::MemoryLimitAnswer(const Relief::Call& call) {
  base::MutexLock lock(&core_->mutex);
  return relief_.Answer(call, core_->Now());
}

absl::StatusOr<LimitAnswer> LocalEngine::SetMemoryLimit(const LimitChange& change) {
  ASSIGN_OR_RETURN(const Relief::Call call, BeginMemoryLimit(change));
  base::MutexLock lock(&core_->mutex);
  for (;;) {
    RETURN_IF_ERROR(core_->health());
    const absl::Time now = core_->Now();
    if (relief_.IsDone(call, now)) return relief_.Answer(call, now);
    // Here too, for the keeper may be in a long call to the device.
    const absl::Time next = std::min(call.deadline, relief_.Hurry(now));
    core_->limit_changed.WaitFor(&core_->mutex,
                                 absl::ToChronoNanoseconds(std::min(next - now, absl::Hours(1))));
  }
}

MemoryView LocalEngine::Memory() const { return core_->Memory(); }
LoadView LocalEngine::Load() const { return core_->Load(); }
void LocalEngine::FlushPrefixCache() {
  {
    base::MutexLock lock(&core_->mutex);
    if (core_->memory().prefix_cache() == nullptr) return;
    core_->memory().prefix_cache()->Clear();
  }
  core_->wakeups.Wake(Actor::kKeeper);
}

std::vector<WindowView> LocalEngine::RecentWindows() const { return core_->RecentWindows(); }
std::string LocalEngine::SaveLengths() const { return core_->SaveLengths(); }

void LocalEngine::Drain(absl::Duration grace) {
  core_->BeginDrain(grace);
  core_->WaitUntilEmpty();
}

}  // namespace ebb::engine
