#include "engine/keeper_actor.h"

#include <algorithm>
#include <string>
#include <utility>

#include "device/device_lost.h"

namespace ebb::engine {

KeeperActor::KeeperActor(EngineCore* core, Relief* relief)
    : core_(core),
      sharing_(core),
      relief_(relief),
      keeper_(memory::PageKeeper::Options(), core->parts.memory, core->parts.vmm, core->parts.clock,
              &core->mutex) {}

Pass KeeperActor::RunOnce() {
  {
    base::MutexLock lock(&core_->mutex);
    if (core_->device_lost()) return {};
  }
  const SharingActor::Pass shared = sharing_.Renew();
  const memory::PageKeeper::Pass kept = keeper_.RunOnce();
  absl::Time next_run = kept.next_run;
  Outbox outbox;
  {
    base::MutexLock lock(&core_->mutex);
    if (shared.owes) relief_->Press(core_->Now());
    relief_->Act(core_->Now(), &outbox);
    next_run = std::min(next_run, relief_->Hurry(core_->Now()));
    memory::KvMemory& memory = core_->memory();
    if (std::optional<memory::Miss> miss = memory.TakeMiss(); miss.has_value()) {
      outbox.lines.push_back({"memory_refused",
                              {{"bound", std::string(memory::BoundName(miss->bound))},
                               {"pool", miss->pool},
                               {"missing_pages", miss->missing_pages},
                               {"reason", std::string(miss->status.message())}}});
      if (device::IsDeviceLost(miss->status)) core_->NoteDeviceLost(miss->status, &outbox);
    }
    if (kept.progressed) {
      core_->limit_changed.SignalAll();
      const absl::Span<const Lane> lanes = core_->lanes.all();
      const bool windows_open = std::any_of(lanes.begin(), lanes.end(), [this](Lane lane) {
        return core_->lane(lane).window.has_value();
      });
      // Between windows, only the keeper changes what is held.
      if (!windows_open && core_->options.log.windows) {
        const MemoryView view = core_->MemoryLocked();
        outbox.lines.push_back({"memory_idle",
                                {{"held_bytes", view.held_bytes},
                                 {"needed_bytes", view.needed_bytes},
                                 {"limit_bytes", view.limit_bytes},
                                 {"preemptions_total", core_->preemptions_total()},
                                 {"pages_mapped", view.pages_mapped}}});
      }
    }
  }
  if (kept.progressed || shared.changed) core_->WakeLoops();
  core_->Deliver(&outbox);
  return {kept.progressed, std::min(next_run, shared.next_run)};
}

absl::Status KeeperActor::Shutdown() { return keeper_.Shutdown(); }

}  // namespace ebb::engine
