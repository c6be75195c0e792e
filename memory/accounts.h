// Accounts: who may use how many blocks, and who does.
//
//                 demand   granted   used
//   prefill          40        40      22      used <= granted, for each;
//   decode           96        88      88      sum of granted <= blocks of mapped pages, so that
//                                              taking a block within a grant never fails.
//
// A window's boundary sets an account's demand. The grant follows as far as pages are mapped:
// it falls at once, and rises with TopUp while the keeper maps what is missing. Inside a window it
// only grows, but for hand-overs.
//
// With one queue for both, all of it is decode's.
//
// A shared block is charged once, to the account that took it (or to which it was handed over). One
// that nobody uses is charged to nobody, also while what it holds is kept: see BlockPool.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "memory/block_pool.h"

namespace ebb::memory {

enum class AccountId : uint8_t { kPrefill, kDecode };
inline constexpr int kAccountCount = 2;
absl::string_view AccountName(AccountId id);  // "prefill", "decode"

// Thread-compatible: guarded by the engine's mutex, owned by KvMemory. The pool outlives it.
class Accounts {
 public:
  // block_count: of the whole range.
  Accounts(BlockPool* pool, int64_t block_count);
  // CHECKs that nothing is used.
  ~Accounts();
  Accounts(const Accounts&) = delete;
  Accounts& operator=(const Accounts&) = delete;

  int64_t demand(AccountId id) const { return At(id).demand; }
  int64_t granted(AccountId id) const { return At(id).granted; }
  int64_t used(AccountId id) const { return At(id).used; }
  int64_t granted_total() const;
  int64_t used_total() const;
  // Sum over accounts of the larger of demand and use: the blocks that pages are wanted for.
  int64_t wanted_blocks() const;
  // Usable blocks that no grant covers.
  int64_t spare_blocks() const { return pool_->usable_blocks() - granted_total(); }
  // Blocks charged so far: shows whether anything happened since one looked.
  int64_t taken_total() const { return taken_total_; }

  // At a boundary. The grant falls to max(used, blocks) if it was higher, else rises as by TopUp.
  void SetDemand(AccountId id, int64_t blocks);
  // Raises the grant toward the demand from spare blocks, leaving the unmet demand of the account
  // that goes first. Returns the grant.
  int64_t TopUp(AccountId id);
  // Which account's unmet demand the others leave alone: the one that holds the first request of
  // the order. Decode, until told otherwise.
  void set_first(AccountId id) { first_ = id; }

  // Takes `count` blocks, charges them, and appends them to `blocks`. False, and nothing changes,
  // when the grant does not cover them. REQUIRES: count >= 0.
  [[nodiscard]] bool TryTake(AccountId id, int64_t count, std::vector<BlockId>* blocks);
  // One owner more for each of the first blocks, up to the first kept one that the grant does not
  // cover; those that were kept are charged. Returns how many. REQUIRES: each is in use or kept.
  [[nodiscard]] int64_t Adopt(AccountId id, absl::Span<const BlockId> blocks);
  // One owner more for each block; nothing is charged.
  void Share(absl::Span<const BlockId> blocks);
  int32_t owners(BlockId block) const { return pool_->references(block); }
  // One owner less for each block; the last one's return ends the charge. The grant stays, for the
  // account may use it again within its window.
  // REQUIRES: no submitted work writes to these blocks.
  void Return(absl::Span<const BlockId> blocks);
  // Moves the charge of those blocks that `from` is charged for, with their grant and demand, and
  // up to `growth_blocks` more of `from`'s unused grant for what they will grow by. No block is
  // copied or moved.
  void HandOver(absl::Span<const BlockId> blocks, int64_t growth_blocks, AccountId from,
                AccountId to);

  // The block's contents go to `to`, a free block: owners, references and charge follow. The
  // owners' tables are the caller's business (BlockTable::Patch).
  void Move(BlockId from, BlockId to);

  // Gives up demand and grant of `blocks` blocks before the boundary, as far as they are not used:
  // a sequence was preempted or has ended, and others wait for what it would have grown into.
  void Forgo(AccountId id, int64_t blocks);

  // Whether the grants are covered without `blocks` of the usable ones.
  bool CoveredWithout(int64_t blocks) const { return spare_blocks() >= blocks; }

 private:
  struct Account {
    int64_t demand = 0;
    int64_t granted = 0;
    int64_t used = 0;
  };

  Account& At(AccountId id) { return accounts_[static_cast<int>(id)]; }
  const Account& At(AccountId id) const { return accounts_[static_cast<int>(id)]; }

  BlockPool* const pool_;
  std::array<Account, kAccountCount> accounts_;
  std::vector<AccountId> charged_;  // By block, while in use.
  AccountId first_ = AccountId::kDecode;
  int64_t taken_total_ = 0;
};

}  // namespace ebb::memory
