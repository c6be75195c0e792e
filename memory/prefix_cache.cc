#include "memory/prefix_cache.h"

#include <cmath>
#include <utility>

#include "base/check.h"

namespace ebb::memory {

PrefixCache::PrefixCache(const Options& options, BlockPool* pool, const Readers* readers)
    : options_(options),
      pool_(pool),
      readers_(readers),
      node_of_(static_cast<size_t>(options.block_count), nullptr) {
  CHECK_GE(options.block_tokens, 1);
  CHECK_GE(options.floor_blocks, 0);
}

// ---- finding

absl::Span<const int32_t> PrefixCache::TokensOf(absl::Span<const int32_t> tokens,
                                                int64_t block) const {
  const auto count = static_cast<size_t>(options_.block_tokens);
  return tokens.subspan(static_cast<size_t>(block) * count, count);
}

const PrefixCache::Node* PrefixCache::NodeAt(const PrefixChain& chain,
                                             absl::Span<const int32_t> tokens, int64_t block,
                                             PrefixNodeId before) const {
  const auto found = nodes_.find(chain.digest(block));
  if (found == nodes_.end()) return nullptr;
  const Node& node = *found->second;
  const PrefixNodeId node_before = node.before == nullptr ? 0 : node.before->id;
  if (node_before != before || node.tokens != TokensOf(tokens, block)) return nullptr;
  if (block == 0 && node.salt != chain.salt()) return nullptr;
  return &node;
}

bool PrefixCache::IsThere(const Node& node) const {
  if (moving_.empty()) return true;
  const auto found = moving_.find(node.id);
  return found == moving_.end() || readers_->HavePassed(found->second);
}

std::vector<PrefixHit> PrefixCache::Find(const PrefixChain& chain, absl::Span<const int32_t> tokens,
                                         const PrefixPlace& place, int64_t blocks_max) const {
  std::vector<PrefixHit> hits;
  if (place.lost) return hits;
  const int64_t end = std::min(chain.block_count(), place.blocks + blocks_max);
  PrefixNodeId before = place.node;
  for (int64_t block = place.blocks; block < end; ++block) {
    const Node* node = NodeAt(chain, tokens, block, before);
    if (node == nullptr || !IsThere(*node)) break;
    hits.push_back({node->block, node->id});
    before = node->id;
  }
  return hits;
}

void PrefixCache::NoteHits(absl::Span<const PrefixHit> hits, PrefixPlace* place) {
  for (const PrefixHit& hit : hits) {
    Node* node = node_of_.at(static_cast<size_t>(hit.block));
    CHECK(node != nullptr && node->id == hit.node);
    CHECK_GT(pool_->references(hit.block), 0);
    node->last_use = now_;
    ++node->hits;
    ++place->blocks;
    place->node = node->id;
  }
  totals_.hit_tokens += static_cast<int64_t>(hits.size()) * options_.block_tokens;
}

PrefixCache::Residence PrefixCache::ResidenceOf(const PrefixChain& chain,
                                                int64_t blocks_max) const {
  // Where a block is, all before it are; who uses it, mostly uses those too.
  const auto count_while = [&](int64_t end, auto holds) {
    int64_t low = 0;
    while (low < end) {
      const int64_t middle = low + (end - low) / 2;
      const auto found = nodes_.find(chain.digest(middle));
      const bool there = found != nodes_.end() && holds(*found->second);
      if (there) low = middle + 1;
      if (!there) end = middle;
    }
    return low;
  };
  Residence residence;
  residence.blocks =
      count_while(std::min(chain.block_count(), blocks_max), [](const Node&) { return true; });
  residence.used_blocks = count_while(
      residence.blocks, [this](const Node& node) { return pool_->references(node.block) > 0; });
  return residence;
}

// ---- adding

void PrefixCache::Add(const PrefixChain& chain, absl::Span<const int32_t> tokens, BlockId block,
                      PrefixPlace* place) {
  CHECK_GT(pool_->references(block), 0);
  if (place->lost) return;
  const int64_t index = place->blocks;
  Node* before = nullptr;
  if (index > 0) {
    const auto found = nodes_.find(chain.digest(index - 1));
    place->lost = found == nodes_.end() || found->second->id != place->node;
    if (place->lost) return;
    before = found->second.get();
  }
  auto [entry, is_new] = nodes_.try_emplace(chain.digest(index));
  if (!is_new) {
    const Node* node = NodeAt(chain, tokens, index, place->node);
    // Another block's digest is the same: this one, and what is behind it, stays unknown.
    place->lost = node == nullptr;
    if (place->lost) return;
    place->node = node->id;
    ++place->blocks;
    return;
  }
  entry->second = std::make_unique<Node>();
  Node* node = entry->second.get();
  node->id = next_id_++;
  node->digest = chain.digest(index);
  node->block = block;
  node->before = before;
  if (before != nullptr) before->behind.push_back(node);
  const absl::Span<const int32_t> own = TokensOf(tokens, index);
  node->tokens.assign(own.begin(), own.end());
  if (index == 0) node->salt = chain.salt();
  node->depth = index;
  node->last_use = now_;
  CHECK(!Has(block)) << "block " << block;
  node_of_[static_cast<size_t>(block)] = node;
  place->node = node->id;
  ++place->blocks;
  ++totals_.added_blocks;
}

void PrefixCache::Forget(BlockId block) {
  Node* node = node_of_.at(static_cast<size_t>(block));
  if (node != nullptr) totals_.evicted_blocks += Remove(node);
}

int64_t PrefixCache::Remove(Node* node) {
  if (node->before != nullptr) {
    std::vector<Node*>& siblings = node->before->behind;
    siblings.erase(std::find(siblings.begin(), siblings.end(), node));
  }
  int64_t released = 0;
  std::vector<Node*> doomed = {node};
  while (!doomed.empty()) {
    Node* next = doomed.back();
    doomed.pop_back();
    doomed.insert(doomed.end(), next->behind.begin(), next->behind.end());
    if (kept_.erase(RankOf(*next)) > 0) {
      pool_->Release(next->block);
      ++released;
    }
    node_of_[static_cast<size_t>(next->block)] = nullptr;
    moving_.erase(next->id);
    const PrefixDigest digest = next->digest;
    nodes_.erase(digest);
  }
  return released;
}

// ---- moving and giving back

void PrefixCache::Move(BlockId from, BlockId to) {
  CHECK(!Has(to)) << "block " << to;
  Node* node = std::exchange(node_of_.at(static_cast<size_t>(from)), nullptr);
  if (node == nullptr) return;
  node_of_.at(static_cast<size_t>(to)) = node;
  node->block = to;
  moving_[node->id] = readers_->Snapshot();
}

void PrefixCache::EvictPage(PageId page) {
  const BlockId first = page * options_.blocks_per_page;
  for (BlockId block = first; block < first + options_.blocks_per_page; ++block) {
    if (pool_->kept(block)) Forget(block);
  }
}

std::vector<PageId> PrefixCache::EmptyPagesColdestFirst() const {
  std::map<PageId, Rank> warmest;
  for (const auto& [rank, node] : kept_) {
    const PageId page = node->block / options_.blocks_per_page;
    if (pool_->used_in_page(page) == 0) warmest[page] = rank;
  }
  std::vector<std::pair<Rank, PageId>> pages;
  pages.reserve(warmest.size());
  for (const auto& [page, rank] : warmest) pages.emplace_back(rank, page);
  std::sort(pages.begin(), pages.end());
  std::vector<PageId> found;
  found.reserve(pages.size());
  for (const auto& [rank, page] : pages) found.push_back(page);
  return found;
}

void PrefixCache::Expire(absl::Time now) {
  set_now(now);
  while (static_cast<int64_t>(kept_.size()) > options_.floor_blocks && next_expiry() <= now_) {
    totals_.expired_blocks += Remove(kept_.begin()->second);
  }
  for (auto moving = moving_.begin(); moving != moving_.end();) {
    moving = readers_->HavePassed(moving->second) ? moving_.erase(moving) : std::next(moving);
  }
}

absl::Time PrefixCache::next_expiry() const {
  if (static_cast<int64_t>(kept_.size()) <= options_.floor_blocks) return absl::InfiniteFuture();
  return std::get<absl::Time>(kept_.begin()->first);
}

void PrefixCache::Clear() {
  std::vector<BlockId> firsts;
  for (const auto& [digest, node] : nodes_) {
    if (node->before == nullptr) firsts.push_back(node->block);
  }
  for (const BlockId block : firsts) Forget(block);
  CHECK(nodes_.empty() && kept_.empty());
}

// ---- the pool's side

PrefixCache::Rank PrefixCache::RankOf(const Node& node) const {
  const double lives = 1 + std::log2(1 + static_cast<double>(node.hits));
  return {node.last_use + options_.idle_after * lives, -node.depth, node.id};
}

bool PrefixCache::Keep(BlockId block) {
  Node* node = node_of_.at(static_cast<size_t>(block));
  if (node == nullptr) return false;
  node->last_use = now_;
  kept_.emplace(RankOf(*node), node);
  return true;
}

void PrefixCache::NoteRevived(BlockId block) {
  Node* node = node_of_.at(static_cast<size_t>(block));
  CHECK(node != nullptr);
  CHECK_EQ(kept_.erase(RankOf(*node)), size_t{1});
}

void PrefixCache::ReleaseOne() {
  CHECK(!kept_.empty()) << "no block is kept";
  totals_.evicted_blocks += Remove(kept_.begin()->second);
}

}  // namespace ebb::memory
