#include "engine/engine_threads.h"

#include "absl/time/time.h"

namespace ebb::engine {

EngineThreads::EngineThreads(LocalEngine* engine) : engine_(engine) {
  for (const Lane lane : engine_->core().lanes.all()) {
    threads_.emplace_back([this, lane] {
      Run(ActorOf(lane), [this, lane] { return engine_->loop(lane).RunOnce(); });
    });
  }
  threads_.emplace_back(
      [this] { Run(Actor::kKeeper, [this] { return engine_->keeper().RunOnce(); }); });
  if (engine_->swap() != nullptr) {
    threads_.emplace_back(
        [this] { Run(Actor::kSwap, [this] { return engine_->swap()->RunOnce(); }); });
  }
}

EngineThreads::~EngineThreads() {
  engine_->Drain(absl::ZeroDuration());
  stopping_ = true;
  engine_->wakeups().WakeAll();
  for (std::thread& thread : threads_) thread.join();
}

void EngineThreads::Run(Actor actor, const std::function<Pass()>& run_once) {
  Wakeups& wakeups = engine_->wakeups();
  while (!stopping_) {
    // Read before the pass: what happens during it is not slept over.
    const uint64_t seen = wakeups.Version(actor);
    const Pass pass = run_once();
    if (pass.progressed || stopping_) continue;
    wakeups.WaitPast(actor, seen, pass.next_run - engine_->core().Now());
  }
}

}  // namespace ebb::engine
