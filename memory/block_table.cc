#include "memory/block_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ebb::memory {

BlockTable::BlockTable(const KvGeometry& geometry, Accounts* accounts, AccountId account)
    : geometry_(geometry), accounts_(accounts), account_(account) {}

BlockTable::~BlockTable() {
  CHECK(blocks_.empty()) << blocks_.size() << " blocks were not given back";
}

BlockTable::BlockTable(BlockTable&& other) noexcept
    : geometry_(other.geometry_),
      accounts_(other.accounts_),
      account_(other.account_),
      blocks_(std::exchange(other.blocks_, {})),
      indices_(std::exchange(other.indices_, {})) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  CHECK(blocks_.empty()) << blocks_.size() << " blocks were not given back";
  geometry_ = other.geometry_;
  accounts_ = other.accounts_;
  account_ = other.account_;
  blocks_ = std::exchange(other.blocks_, {});
  indices_ = std::exchange(other.indices_, {});
  return *this;
}

int64_t BlockTable::MissingBlocks(int64_t tokens) const {
  CHECK_GE(tokens, 0);
  return std::max<int64_t>(0, geometry_.BlocksFor(tokens) - block_count());
}

bool BlockTable::TryExtendTo(int64_t tokens) {
  const size_t before = blocks_.size();
  if (!accounts_->TryTake(account_, MissingBlocks(tokens), &blocks_)) return false;
  for (size_t i = before; i < blocks_.size(); ++i) {
    indices_.push_back(geometry_.TableIndex(blocks_[i]));
  }
  return true;
}

int64_t BlockTable::Adopt(absl::Span<const BlockId> blocks) {
  const int64_t count = accounts_->Adopt(account_, blocks);
  for (const BlockId block : blocks.first(static_cast<size_t>(count))) {
    blocks_.push_back(block);
    indices_.push_back(geometry_.TableIndex(block));
  }
  return count;
}

void BlockTable::ShrinkTo(int64_t tokens) {
  CHECK_GE(tokens, 0);
  const size_t keep = std::min<size_t>(geometry_.BlocksFor(tokens), blocks_.size());
  accounts_->Return(absl::MakeConstSpan(blocks_).subspan(keep));
  blocks_.resize(keep);
  indices_.resize(keep);
}

void BlockTable::HandOver(AccountId to, int64_t growth_blocks) {
  accounts_->HandOver(blocks_, growth_blocks, account_, to);
  account_ = to;
}

void BlockTable::ShareFrom(const BlockTable& other, int64_t tokens) {
  CHECK(blocks_.empty());
  CHECK_LE(tokens, other.capacity_tokens());
  const int64_t count = geometry_.BlocksFor(tokens);
  account_ = other.account_;
  blocks_.assign(other.blocks_.begin(), other.blocks_.begin() + count);
  indices_.assign(other.indices_.begin(), other.indices_.begin() + count);
  accounts_->Share(blocks_);
}

std::optional<BlockMove> BlockTable::TryReplace(int64_t index) {
  std::vector<BlockId> taken;
  if (!accounts_->TryTake(account_, 1, &taken)) return std::nullopt;
  const BlockMove move{blocks_.at(index), taken.front()};
  blocks_[index] = move.to;
  indices_[index] = geometry_.TableIndex(move.to);
  return move;
}

void BlockTable::Patch(absl::Span<const BlockMove> moves) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto move =
        std::lower_bound(moves.begin(), moves.end(), blocks_[i],
                         [](const BlockMove& one, BlockId block) { return one.from < block; });
    if (move == moves.end() || move->from != blocks_[i]) continue;
    blocks_[i] = move->to;
    indices_[i] = geometry_.TableIndex(move->to);
  }
}

std::vector<PageBlocks> BlockTable::OwnBlocksByPage() const {
  std::vector<PageId> pages;
  pages.reserve(blocks_.size());
  for (const BlockId block : blocks_) {
    if (accounts_->owners(block) == 1) pages.push_back(geometry_.PageOf(block));
  }
  std::sort(pages.begin(), pages.end());
  std::vector<PageBlocks> by_page;
  for (const PageId page : pages) {
    if (by_page.empty() || by_page.back().page != page) by_page.push_back(PageBlocks{page, 0});
    ++by_page.back().blocks;
  }
  return by_page;
}

}  // namespace ebb::memory
