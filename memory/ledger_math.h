// How one device's memory is divided among servers. Pure: numbers in, decision out.
//
//   capacity  |== A's floor ==|== B's floor ==|= eldest first =|--- rest, by weight ---|
//
// A server never preempts the first of its requests for its own sake. So that two servers' firsts
// cannot wait for each other, the eldest of all firsts gets what it needs before weights count, and
// the others' give way to it. One that floors leave no room for is passed over.
// Nobody's share is above what it wants or above its ceiling; what one leaves goes to the others by
// their weights (progressive filling). So without scarcity each share is what its server wants, and
// nobody has to give anything back.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace ebb::memory {

// One server, in bytes.
struct LedgerParty {
  int64_t floor_bytes = 0;    // Its before anybody's weight counts.
  int64_t weight = 1;         // At least 1.
  int64_t ceiling_bytes = 0;  // Its own limit.
  int64_t wanted_bytes = 0;   // What it would hold if it were alone.
  int64_t lease_bytes = 0;    // What it may hold as of now.
  int64_t unit_bytes = 1;     // It takes memory in these: less is of no use to it.
  // What the first of its requests is expected to need, and its rank among all: the smaller, the
  // elder. No two are equal. 0 bytes: it has none.
  int64_t first_bytes = 0;
  int64_t first_rank = 0;
  // It answers nothing (stopped): it keeps its lease, and the others divide the rest.
  bool silent = false;
};

struct LedgerDivision {
  // By position in the parties. Shares of silent ones are their leases.
  std::vector<int64_t> share_bytes;
  // What each may keep: below its lease where it has to give back, else the lease.
  std::vector<int64_t> keep_bytes;
  // What parties below their share lack, beyond what nobody has leased.
  int64_t shortage_bytes = 0;
  // Whose first goes before all others', and lacks some of what it needs; -1: nobody's.
  int lacking_first = -1;
};

// The sum of the shares is at most `capacity_bytes`, unless silent parties hold more than that.
// Floors that do not fit together shrink in proportion. Where somebody is short, those above their
// share give back what is short, in proportion to their excess. Sizes below 0 count as 0.
LedgerDivision DivideCapacity(int64_t capacity_bytes, absl::Span<const LedgerParty> parties);

}  // namespace ebb::memory
