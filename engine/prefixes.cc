#include "engine/prefixes.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "base/check.h"

namespace ebb::engine {
namespace {

// The blocks before that of its last token, which it computes itself.
int64_t FindableBlocks(const Sequence& sequence, int32_t block_tokens) {
  return (static_cast<int64_t>(sequence.tokens.size()) - 1) / block_tokens;
}

// One whose blocks are being copied has them.
bool Reads(const Sequence& sequence) {
  return sequence.chain.has_value() && !sequence.wants_prompt_logprobs() && !sequence.copying();
}

}  // namespace

void AdmitPrefix(EngineCore* core, Sequence* sequence) {
  if (!Reads(*sequence)) return;
  core->memory().prefix_cache()->NoteQuery(static_cast<int64_t>(sequence->tokens.size()));
  AdoptPrefix(core, sequence);
}

void AdoptPrefix(EngineCore* core, Sequence* sequence) {
  CHECK(sequence->state() == SequenceState::kPrefilling && !sequence->in_step);
  if (!Reads(*sequence)) return;
  memory::PrefixCache& cache = *core->memory().prefix_cache();
  const int32_t block_tokens = core->memory().geometry().block_tokens();
  const int64_t known = sequence->place.blocks;
  if (sequence->computed_tokens != known * block_tokens) return;
  sequence->chain->Follow(sequence->tokens);
  std::vector<memory::PrefixHit> hits =
      cache.Find(*sequence->chain, sequence->tokens, sequence->place,
                 FindableBlocks(*sequence, block_tokens) - known);
  if (hits.empty()) return;
  std::vector<memory::BlockId> blocks;
  blocks.reserve(hits.size());
  for (const memory::PrefixHit& hit : hits) blocks.push_back(hit.block);
  // A step that was abandoned leaves blocks without contents.
  sequence->table.ShrinkTo(sequence->computed_tokens);
  hits.resize(static_cast<size_t>(sequence->table.Adopt(blocks)));
  cache.NoteHits(hits, &sequence->place);
  core->NoteShared(true);  // Whoever shares a block may be gone before charges are settled.
  const auto tokens = static_cast<int32_t>(hits.size()) * block_tokens;
  sequence->computed_tokens += tokens;
  if (sequence->preemptions == 0) sequence->cached_tokens += tokens;
}

void SealBlocks(EngineCore* core, Sequence* sequence) {
  if (!sequence->chain.has_value()) return;
  const int32_t block_tokens = core->memory().geometry().block_tokens();
  const int64_t full = sequence->computed_tokens / block_tokens;
  if (sequence->place.blocks >= full || sequence->place.lost) return;
  sequence->chain->Follow(sequence->tokens);
  memory::PrefixCache& cache = *core->memory().prefix_cache();
  while (sequence->place.blocks < full && !sequence->place.lost) {
    const auto index = static_cast<size_t>(sequence->place.blocks);
    cache.Add(*sequence->chain, sequence->tokens, sequence->table.blocks()[index],
              &sequence->place);
  }
}

void ForgetBlocks(EngineCore* core, const Sequence& sequence) {
  if (!sequence.chain.has_value()) return;
  for (const memory::BlockId block : sequence.table.blocks()) {
    core->memory().prefix_cache()->Forget(block);
  }
}

memory::PrefixCache::Residence ResidenceOf(EngineCore* core, const Sequence& sequence) {
  if (!Reads(sequence)) return {};
  const int32_t block_tokens = core->memory().geometry().block_tokens();
  return core->memory().prefix_cache()->ResidenceOf(*sequence.chain,
                                                    FindableBlocks(sequence, block_tokens));
}

void SettleCharges(EngineCore* core) {
  if (core->memory().prefix_cache() == nullptr || core->lanes.one()) return;
  const memory::BlockPool& pool = core->memory().blocks();
  // Without sharing, since the last time too, all are where they belong.
  const bool shared = pool.shared_blocks() > 0;
  if (!core->NoteShared(shared) && !shared) return;
  std::unordered_set<memory::BlockId> seen;
  std::vector<memory::BlockId> mine;
  for (const Sequence* sequence : core->order()) {
    mine.clear();
    const int64_t count = std::min(sequence->maybe_shared_blocks(), sequence->table.block_count());
    for (const memory::BlockId block : sequence->table.blocks().first(static_cast<size_t>(count))) {
      if (pool.references(block) == 1 || seen.insert(block).second) mine.push_back(block);
    }
    const memory::AccountId account = sequence->table.account();
    const memory::AccountId other = account == memory::AccountId::kPrefill
                                        ? memory::AccountId::kDecode
                                        : memory::AccountId::kPrefill;
    core->memory().accounts().HandOver(mine, 0, other, account);
  }
}

ComingPrefixes::ComingPrefixes(const EngineCore& core)
    : block_tokens_(core.parts.memory->geometry().block_tokens()) {}

bool ComingPrefixes::Have(const Sequence& prompt) const {
  if (!Reads(prompt) || prompt.computed_tokens % block_tokens_ != 0) return false;
  const int64_t next = prompt.computed_tokens / block_tokens_;
  const int64_t end = std::min(FindableBlocks(prompt, block_tokens_), prompt.chain->block_count());
  return next < end && !prompt.place.lost && digests_.contains(prompt.chain->digest(next));
}

void ComingPrefixes::Add(const Sequence& prompt, int32_t tokens_max) {
  if (!prompt.chain.has_value() || prompt.place.lost) return;
  const int64_t end = std::min<int64_t>(prompt.chain->block_count(),
                                        (prompt.computed_tokens + tokens_max) / block_tokens_);
  for (int64_t block = prompt.computed_tokens / block_tokens_; block < end; ++block) {
    digests_.insert(prompt.chain->digest(block));
  }
}

}  // namespace ebb::engine
