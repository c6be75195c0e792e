#include "memory/accounts.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::memory {

absl::string_view AccountName(AccountId id) {
  switch (id) {
    case AccountId::kPrefill:
      return "prefill";
    case AccountId::kDecode:
      return "decode";
  }
  return "unknown";
}

Accounts::Accounts(BlockPool* pool, int64_t block_count)
    : pool_(pool), charged_(block_count, AccountId::kPrefill) {}

Accounts::~Accounts() { CHECK_EQ(used_total(), 0) << "blocks were not given back"; }

int64_t Accounts::granted_total() const {
  int64_t blocks = 0;
  for (const Account& account : accounts_) blocks += account.granted;
  return blocks;
}

int64_t Accounts::used_total() const {
  int64_t blocks = 0;
  for (const Account& account : accounts_) blocks += account.used;
  return blocks;
}

int64_t Accounts::wanted_blocks() const {
  int64_t blocks = 0;
  for (const Account& account : accounts_) blocks += std::max(account.demand, account.used);
  return blocks;
}

void Accounts::SetDemand(AccountId id, int64_t blocks) {
  CHECK_GE(blocks, 0);
  Account& account = At(id);
  account.demand = blocks;
  account.granted = std::min(account.granted, std::max(account.used, blocks));
  TopUp(id);
}

int64_t Accounts::TopUp(AccountId id) {
  Account& account = At(id);
  int64_t spare = spare_blocks();
  if (id != first_) spare -= std::max<int64_t>(0, At(first_).demand - At(first_).granted);
  const int64_t unmet = account.demand - account.granted;
  account.granted += std::max<int64_t>(0, std::min(spare, unmet));
  return account.granted;
}

bool Accounts::TryTake(AccountId id, int64_t count, std::vector<BlockId>* blocks) {
  CHECK_GE(count, 0);
  Account& account = At(id);
  if (count > account.granted - account.used) return false;
  account.used += count;
  taken_total_ += count;
  for (int64_t i = 0; i < count; ++i) {
    const BlockId block = pool_->Take();
    charged_[block] = id;
    blocks->push_back(block);
  }
  return true;
}

int64_t Accounts::Adopt(AccountId id, absl::Span<const BlockId> blocks) {
  Account& account = At(id);
  int64_t count = 0;
  for (const BlockId block : blocks) {
    if (pool_->references(block) > 0) {
      pool_->AddReference(block);
    } else {
      if (account.used >= account.granted) break;
      pool_->Revive(block);
      charged_[block] = id;
      ++account.used;
      ++taken_total_;
    }
    ++count;
  }
  return count;
}

void Accounts::Share(absl::Span<const BlockId> blocks) {
  for (const BlockId block : blocks) pool_->AddReference(block);
}

void Accounts::Return(absl::Span<const BlockId> blocks) {
  for (const BlockId block : blocks) {
    if (pool_->DropReference(block)) --At(charged_[block]).used;
  }
}

void Accounts::Move(BlockId from, BlockId to) {
  pool_->MoveReferences(from, to);
  charged_[to] = charged_[from];
}

void Accounts::Forgo(AccountId id, int64_t blocks) {
  CHECK_GE(blocks, 0);
  Account& account = At(id);
  account.demand = std::max(account.used, account.demand - blocks);
  account.granted = std::min(account.granted, std::max(account.used, account.demand));
}

void Accounts::HandOver(absl::Span<const BlockId> blocks, int64_t growth_blocks, AccountId from,
                        AccountId to) {
  CHECK_GE(growth_blocks, 0);
  if (from == to) return;
  int64_t moved = 0;
  for (const BlockId block : blocks) {
    CHECK_GT(pool_->references(block), 0);
    if (charged_[block] != from) continue;
    charged_[block] = to;
    ++moved;
  }
  Account& giver = At(from);
  Account& taker = At(to);
  giver.used -= moved;
  giver.granted -= moved;
  const int64_t growth = std::min(growth_blocks, giver.granted - giver.used);
  giver.granted -= growth;
  giver.demand = std::max<int64_t>(0, giver.demand - moved - growth);
  taker.used += moved;
  taker.granted += moved + growth;
  taker.demand += moved + growth;
}

}  // namespace ebb::memory
