#include "tests/sim/describe.h"

#include <sstream>

namespace ebb::sim {
namespace {

using engine::Lane;
using memory::PageState;

void DescribeLane(engine::EngineCore* core, const memory::Accounts& accounts, Lane which,
                  std::ostream* text) {
  const engine::LaneState& lane = core->lane(which);
  const memory::AccountId account = engine::AccountOf(which);
  memory::Workspace& workspace = core->workspace(which);
  *text << "\n  " << memory::AccountName(account) << ": demand " << accounts.demand(account)
        << " granted " << accounts.granted(account) << " used " << accounts.used(account)
        << (lane.in_flight ? ", in flight" : "") << (lane.spared ? ", spared" : "")
        << (lane.window.has_value() ? ", window open" : "")
        << (lane.window.has_value() && lane.window->starved ? ", starved" : "")
        << ", workspace demand " << workspace.demand_bytes() << " usable "
        << workspace.usable_bytes() << ", draining "
        << workspace.pool()->count(PageState::kDraining);
}

}  // namespace

std::string Describe(engine::LocalEngine* engine, memory::KvMemory& memory) {
  engine::EngineCore& core = engine->core();
  base::MutexLock lock(&core.mutex);
  std::ostringstream text;
  const memory::GrowthBounds& bounds = memory.budget().bounds();
  const int64_t page_bytes = memory.geometry().page_bytes();
  text << "\n  limit " << bounds.limit_bytes / page_bytes << " held "
       << bounds.held_bytes / page_bytes << " free " << bounds.free_bytes / page_bytes
       << " headroom " << bounds.headroom_bytes / page_bytes << " pages; mapped "
       << memory.pages().count(PageState::kMapped) << ", draining "
       << memory.pages().count(PageState::kDraining) << ", prepared "
       << memory.pages().count(PageState::kPrepared) << ", usable blocks "
       << memory.blocks().usable_blocks() << ", limit blocks " << core.LimitBlocks(0);
  for (const Lane which : core.lanes.all()) {
    DescribeLane(&core, memory.accounts(), which, &text);
  }
  for (const engine::Sequence* sequence : core.order()) {
    text << "\n  request " << sequence->id << ": state " << static_cast<int>(sequence->state())
         << " tokens " << sequence->tokens.size() << " of which prompt "
         << sequence->prompt_tokens() << " computed " << sequence->computed_tokens << " blocks "
         << sequence->table.block_count() << (sequence->in_step ? " in a step" : "")
         << " preemptions " << sequence->preemptions;
  }
  return text.str();
}

}  // namespace ebb::sim
