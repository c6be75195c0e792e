// BlockTable: the blocks of one sequence, in the order of its tokens.
//
// Token t lies in block t / block_tokens of the table, at offset t % block_tokens. indices() is
// what kernels read (see kernels/paged_kv.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "memory/accounts.h"
#include "memory/kv_geometry.h"
#include "memory/move_plan.h"

namespace ebb::memory {

// Blocks of one page, as release plans count them.
struct PageBlocks {
  PageId page = 0;
  int32_t blocks = 0;
};

// Thread-compatible: guarded by the engine's mutex, owned by its sequence. Move-only; a moved-from
// table is empty. The accounts outlive it.
class BlockTable {
 public:
  BlockTable(const KvGeometry& geometry, Accounts* accounts, AccountId account);
  // CHECKs that the blocks were given back: that needs the engine's mutex, which a destructor
  // cannot see.
  ~BlockTable();
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;  // REQUIRES: this table is empty.

  AccountId account() const { return account_; }
  int64_t block_count() const { return static_cast<int64_t>(blocks_.size()); }
  // Tokens that fit into the blocks that are there.
  int64_t capacity_tokens() const { return block_count() * geometry_.block_tokens(); }
  // Blocks still missing for `tokens` tokens, at least 0.
  int64_t MissingBlocks(int64_t tokens) const;

  // Takes the blocks that `tokens` tokens lack. False, and nothing changes, when the account's
  // grant does not cover them.
  [[nodiscard]] bool TryExtendTo(int64_t tokens);
  // Owns these blocks as well from now on, behind those that are there, as far as the grant covers
  // those of them that nobody used: see Accounts::Adopt. Returns how many.
  [[nodiscard]] int64_t Adopt(absl::Span<const BlockId> blocks);
  // Gives blocks back from the end, keeping those that `tokens` tokens need (0: all go).
  // REQUIRES: no submitted work touches the blocks that go.
  void ShrinkTo(int64_t tokens);
  // Every later charge goes to `to`; see Accounts::HandOver.
  void HandOver(AccountId to, int64_t growth_blocks);

  // Owns the blocks of the other table's first `tokens` tokens as well from now on; what they are
  // charged to stays. Nobody may write to a block that has several owners: see TryReplace.
  // REQUIRES: this table is empty; the other one has room for so many.
  void ShareFrom(const BlockTable& other, int64_t tokens);
  // Puts a new block in the place of block `index`, whose contents the caller has copied before
  // anybody reads it. The old block's reference goes to the caller, who gives it back to the
  // accounts once the copy is made. Nothing, and nothing changes, when the grant has no block left.
  [[nodiscard]] std::optional<BlockMove> TryReplace(int64_t index);

  // Names the new place of each block that has moved. `moves` in the order of `from`.
  void Patch(absl::Span<const BlockMove> moves);

  // One PagedKv index for each block. Valid until the table changes: a submitted step holds a copy.
  absl::Span<const int32_t> indices() const { return indices_; }
  absl::Span<const BlockId> blocks() const { return blocks_; }
  // How many of the blocks that no other table has lie in each page, by page.
  std::vector<PageBlocks> OwnBlocksByPage() const;

 private:
  KvGeometry geometry_;
  Accounts* accounts_;
  AccountId account_;
  std::vector<BlockId> blocks_;
  std::vector<int32_t> indices_;
};

}  // namespace ebb::memory
