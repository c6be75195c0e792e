#include "memory/release_plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/check.h"

namespace ebb::memory {
namespace {

// Picks victims among `allowed`, which are positions in the order.
class Picker {
 public:
  Picker(absl::Span<const ReleaseCandidate> order, absl::Span<const SharedBlocks> shared,
         const ReleaseNeed& need, const BlockPool& blocks)
      : order_(order),
        shared_(shared),
        need_(need),
        blocks_(blocks),
        leaving_(order.size(), false),
        chosen_(order.size(), false),
        positions_(order.size()) {
    std::iota(positions_.begin(), positions_.end(), size_t{0});
    for (size_t i = 0; i < order.size(); ++i) {
      leaving_[i] = order[i].leaving;
      for (const PageBlocks& part : order[i].blocks) {
        parts_[part.page].push_back(Part{absl::MakeConstSpan(&positions_[i], 1), part.blocks});
      }
    }
    for (const SharedBlocks& common : shared) {
      for (const PageBlocks& part : common.blocks) {
        parts_[part.page].push_back(Part{common.owners, part.blocks});
      }
    }
  }

  // The least set that meets the need, as far as a greedy choice finds it. False, with everything
  // allowed chosen, when nothing does.
  bool Pick(std::vector<bool> allowed) {
    for (size_t i = 0; i < order_.size(); ++i) {
      if (leaving_[i]) allowed[i] = true;
    }
    chosen_ = allowed;
    if (!Enough()) return false;
    chosen_ = leaving_;
    while (EmptiedPages() < need_.pages) TakeCheapestPage(allowed);
    while (FreedBlocks() < need_.blocks) TakeBestSequence(allowed);
    Prune();
    return true;
  }

  const std::vector<bool>& chosen() const { return chosen_; }

  int64_t FreedBlocks() const {
    int64_t blocks = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      if (chosen_[i]) blocks += OwnGain(i);
    }
    for (const SharedBlocks& common : shared_) {
      if (AllGone(common.owners, chosen_)) blocks += CountOf(common.blocks);
    }
    return blocks;
  }

  int64_t EmptiedPages() const {
    int64_t pages = 0;
    for (const auto& [page, parts] : parts_) {
      if (Empties(page, parts, chosen_)) ++pages;
    }
    return pages;
  }

 private:
  // Blocks of a page that go when all these sequences do: mostly one.
  struct Part {
    absl::Span<const size_t> owners;
    int32_t blocks = 0;
  };

  bool Enough() const { return FreedBlocks() >= need_.blocks && EmptiedPages() >= need_.pages; }

  static int64_t CountOf(absl::Span<const PageBlocks> by_page) {
    int64_t blocks = 0;
    for (const PageBlocks& part : by_page) blocks += part.blocks;
    return blocks;
  }

  static bool AllGone(absl::Span<const size_t> owners, const std::vector<bool>& gone) {
    return std::all_of(owners.begin(), owners.end(), [&](size_t i) { return gone[i]; });
  }

  int64_t OwnGain(size_t i) const { return order_[i].growth_blocks + CountOf(order_[i].blocks); }

  // With its part in what it shares with others that are not chosen yet.
  double Gain(size_t i) const {
    double gain = static_cast<double>(OwnGain(i));
    for (const SharedBlocks& common : shared_) {
      if (std::find(common.owners.begin(), common.owners.end(), i) == common.owners.end()) continue;
      const auto left = std::count_if(common.owners.begin(), common.owners.end(),
                                      [this](size_t owner) { return !chosen_[owner]; });
      gain += static_cast<double>(CountOf(common.blocks)) / static_cast<double>(left);
    }
    return gain;
  }

  // Whether the page has no block in use once those of `gone` are back.
  bool Empties(PageId page, const std::vector<Part>& parts, const std::vector<bool>& gone) const {
    int32_t freed = 0;
    for (const Part& part : parts) {
      if (AllGone(part.owners, gone)) freed += part.blocks;
    }
    CHECK_LE(freed, blocks_.used_in_page(page)) << "page " << page;
    return freed > 0 && freed == blocks_.used_in_page(page);
  }

  // Chooses all owners of the page whose emptying costs least; where equal, whose earliest owner is
  // the latest in the order. Pick has made sure that there is one.
  void TakeCheapestPage(const std::vector<bool>& allowed) {
    double best_cost = std::numeric_limits<double>::infinity();
    size_t best_earliest = 0;
    const std::vector<Part>* best = nullptr;
    for (const auto& [page, parts] : parts_) {
      if (Empties(page, parts, chosen_) || !Empties(page, parts, allowed)) continue;
      double cost = 0;
      size_t earliest = order_.size();
      for (const size_t owner : OwnersOf(parts)) {
        if (chosen_[owner]) continue;
        cost += order_[owner].restoring_cost;
        earliest = std::min(earliest, owner);
      }
      if (best == nullptr || cost < best_cost || (cost == best_cost && earliest > best_earliest)) {
        best_cost = cost;
        best_earliest = earliest;
        best = &parts;
      }
    }
    CHECK(best != nullptr);
    for (const size_t owner : OwnersOf(*best)) chosen_[owner] = true;
  }

  static std::set<size_t> OwnersOf(const std::vector<Part>& parts) {
    std::set<size_t> owners;
    for (const Part& part : parts) owners.insert(part.owners.begin(), part.owners.end());
    return owners;
  }

  // Chooses the sequence that frees most blocks for its cost; where equal, the later one.
  void TakeBestSequence(const std::vector<bool>& allowed) {
    const double missing = static_cast<double>(need_.blocks - FreedBlocks());
    size_t best = order_.size();
    double best_value = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      const double gain = !allowed[i] || chosen_[i] ? 0 : Gain(i);
      if (gain == 0) continue;
      // Blocks beyond what is missing are of no use.
      const double useful = std::min(gain, missing);
      const double value = useful / (order_[i].restoring_cost + 1e-9);
      if (best == order_.size() || value >= best_value) {
        best = i;
        best_value = value;
      }
    }
    CHECK_LT(best, order_.size());
    chosen_[best] = true;
  }

  // Drops victims that are not needed, the dearest first; where equal, the earlier in the order.
  void Prune() {
    std::vector<size_t> victims;
    for (size_t i = 0; i < order_.size(); ++i) {
      if (chosen_[i] && !leaving_[i]) victims.push_back(i);
    }
    std::stable_sort(victims.begin(), victims.end(), [this](size_t a, size_t b) {
      return order_[a].restoring_cost > order_[b].restoring_cost;
    });
    for (const size_t i : victims) {
      chosen_[i] = false;
      if (!Enough()) chosen_[i] = true;
    }
  }

  const absl::Span<const ReleaseCandidate> order_;
  const absl::Span<const SharedBlocks> shared_;
  const ReleaseNeed need_;
  const BlockPool& blocks_;
  std::map<PageId, std::vector<Part>> parts_;
  std::vector<bool> leaving_;
  std::vector<bool> chosen_;
  std::vector<size_t> positions_;  // 0, 1, 2 ...: what parts of one sequence point to.
};

}  // namespace

ReleasePlan PlanRelease(absl::Span<const ReleaseCandidate> order,
                        absl::Span<const SharedBlocks> shared, const ReleaseNeed& need,
                        const BlockPool& blocks) {
  std::vector<bool> allowed(order.size(), false);
  std::vector<bool> allowed_immune(order.size(), false);
  for (size_t i = 1; i < order.size(); ++i) {
    CHECK_GE(order[i].restoring_cost, 0);
    allowed_immune[i] = order[i].preemptible;
    allowed[i] = order[i].preemptible && !order[i].immune;
  }
  Picker picker(order, shared, need, blocks);
  ReleasePlan plan;
  plan.possible = picker.Pick(allowed) || picker.Pick(allowed_immune);
  for (size_t i = 0; i < order.size(); ++i) {
    if (!picker.chosen()[i] || order[i].leaving) continue;
    plan.victims.push_back(i);
    plan.takes_immune |= order[i].immune;
  }
  plan.freed_blocks = picker.FreedBlocks();
  plan.emptied_pages = picker.EmptiedPages();
  return plan;
}

}  // namespace ebb::memory
