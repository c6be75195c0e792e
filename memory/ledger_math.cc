#include "memory/ledger_math.h"

#include <algorithm>

namespace ebb::memory {
namespace {

// a * b / c without overflow. REQUIRES: c > 0, and the result fits.
int64_t MulDiv(int64_t a, int64_t b, int64_t c) {
  return static_cast<int64_t>(static_cast<__int128>(a) * b / c);
}

int64_t MulDivUp(int64_t a, int64_t b, int64_t c) {
  return static_cast<int64_t>((static_cast<__int128>(a) * b + c - 1) / c);
}

int64_t Demand(const LedgerParty& party) {
  return std::max<int64_t>(0, std::min(party.wanted_bytes, party.ceiling_bytes));
}

// Floors first. Returns what is left.
int64_t GiveFloors(int64_t bytes, absl::Span<const LedgerParty> parties,
                   std::vector<int64_t>* shares) {
  int64_t sum = 0;
  for (size_t i = 0; i < parties.size(); ++i) {
    if (parties[i].silent) continue;
    (*shares)[i] = std::clamp<int64_t>(parties[i].floor_bytes, 0, Demand(parties[i]));
    sum += (*shares)[i];
  }
  if (sum <= bytes) return bytes - sum;
  for (size_t i = 0; i < parties.size(); ++i) {
    if (!parties[i].silent) (*shares)[i] = MulDiv((*shares)[i], bytes, sum);
  }
  return 0;
}

// The eldest first that there is room for. Its position, or -1; `bytes` becomes what is left.
int GiveEldest(absl::Span<const LedgerParty> parties, int64_t* bytes,
               std::vector<int64_t>* shares) {
  int eldest = -1;
  int64_t given = 0;
  for (size_t i = 0; i < parties.size(); ++i) {
    const LedgerParty& party = parties[i];
    if (party.silent || party.first_bytes <= 0) continue;
    if (eldest >= 0 && parties[eldest].first_rank <= party.first_rank) continue;
    const int64_t missing =
        std::max<int64_t>(0, std::min(party.first_bytes, Demand(party)) - (*shares)[i]);
    if (missing > *bytes) continue;
    eldest = static_cast<int>(i);
    given = missing;
  }
  if (eldest < 0) return -1;
  (*shares)[eldest] += given;
  *bytes -= given;
  return eldest;
}

// The rest by weight. Each round satisfies a party for good, or is the last.
void GiveByWeight(int64_t bytes, absl::Span<const LedgerParty> parties,
                  std::vector<int64_t>* shares) {
  for (;;) {
    int64_t weights = 0;
    for (size_t i = 0; i < parties.size(); ++i) {
      if (!parties[i].silent && (*shares)[i] < Demand(parties[i])) {
        weights += std::max<int64_t>(1, parties[i].weight);
      }
    }
    if (weights == 0 || bytes == 0) return;
    const int64_t round = bytes;
    bool satisfied = false;
    for (const bool filling : {true, false}) {
      for (size_t i = 0; i < parties.size(); ++i) {
        const int64_t missing = Demand(parties[i]) - (*shares)[i];
        if (parties[i].silent || missing <= 0) continue;
        const int64_t part = MulDiv(round, std::max<int64_t>(1, parties[i].weight), weights);
        if (filling && missing > part) continue;
        (*shares)[i] += std::min(part, missing);
        bytes -= std::min(part, missing);
        satisfied |= filling;
      }
      if (satisfied) break;
    }
    if (!satisfied) return;
  }
}

}  // namespace

LedgerDivision DivideCapacity(int64_t capacity_bytes, absl::Span<const LedgerParty> parties) {
  LedgerDivision division;
  division.share_bytes.assign(parties.size(), 0);
  int64_t bytes = std::max<int64_t>(0, capacity_bytes);
  int64_t leased = 0;
  for (size_t i = 0; i < parties.size(); ++i) {
    const int64_t lease = std::max<int64_t>(0, parties[i].lease_bytes);
    division.keep_bytes.push_back(lease);
    leased += lease;
    if (!parties[i].silent) continue;
    division.share_bytes[i] = lease;
    bytes = std::max<int64_t>(0, bytes - lease);
  }
  bytes = GiveFloors(bytes, parties, &division.share_bytes);
  const int eldest = GiveEldest(parties, &bytes, &division.share_bytes);
  if (eldest >= 0) {
    const LedgerParty& party = parties[eldest];
    const int64_t due = std::min(party.first_bytes, division.share_bytes[eldest]);
    const int64_t unit = std::max<int64_t>(1, party.unit_bytes);
    if (due - party.lease_bytes >= unit) division.lacking_first = eldest;
  }
  GiveByWeight(bytes, parties, &division.share_bytes);

  int64_t missing = 0, excess = 0;
  for (size_t i = 0; i < parties.size(); ++i) {
    const int64_t beyond = division.keep_bytes[i] - division.share_bytes[i];
    if (beyond > 0) excess += beyond;
    // Whole units: a part of one would be taken from somebody who could use it.
    const int64_t unit = std::max<int64_t>(1, parties[i].unit_bytes);
    if (beyond < 0) missing += -beyond / unit * unit;
  }
  const int64_t unleased = std::max<int64_t>(0, capacity_bytes) - leased;
  division.shortage_bytes = missing == 0 ? 0 : std::max<int64_t>(0, missing - unleased);
  const int64_t back = std::min(division.shortage_bytes, excess);
  for (size_t i = 0; i < parties.size() && back > 0; ++i) {
    const int64_t beyond = division.keep_bytes[i] - division.share_bytes[i];
    if (beyond > 0) division.keep_bytes[i] -= std::min(beyond, MulDivUp(beyond, back, excess));
  }
  return division;
}

}  // namespace ebb::memory
