#include "memory/release_plan.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/check.h"

namespace ebb::memory {
namespace {

// Picks victims among `allowed`, which are positions in the order.
class Picker {
 public:
  Picker(absl::Span<const ReleaseCandidate> order, const ReleaseNeed& need, const BlockPool& blocks)
      : order_(order),
        need_(need),
        blocks_(blocks),
        leaving_(order.size(), false),
        chosen_(order.size(), false) {
    for (size_t i = 0; i < order.size(); ++i) {
      leaving_[i] = order[i].leaving;
      for (const PageBlocks& part : order[i].blocks) {
        owners_[part.page].push_back(Owner{i, part.blocks});
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
      if (chosen_[i]) blocks += Gain(i);
    }
    return blocks;
  }

  int64_t EmptiedPages() const {
    int64_t pages = 0;
    for (const auto& [page, owners] : owners_) {
      if (Empties(page, owners, chosen_)) ++pages;
    }
    return pages;
  }

 private:
  // A sequence's part of a page.
  struct Owner {
    size_t position = 0;
    int32_t blocks = 0;
  };

  bool Enough() const { return FreedBlocks() >= need_.blocks && EmptiedPages() >= need_.pages; }

  int64_t Gain(size_t i) const {
    int64_t blocks = order_[i].growth_blocks;
    for (const PageBlocks& part : order_[i].blocks) blocks += part.blocks;
    return blocks;
  }

  // Whether the page has no block in use once those of `gone` are back.
  bool Empties(PageId page, const std::vector<Owner>& owners, const std::vector<bool>& gone) const {
    int32_t freed = 0;
    for (const Owner& owner : owners) {
      if (gone[owner.position]) freed += owner.blocks;
    }
    CHECK_LE(freed, blocks_.used_in_page(page)) << "page " << page;
    return freed > 0 && freed == blocks_.used_in_page(page);
  }

  // Chooses all owners of the page whose emptying costs least; where equal, whose earliest owner is
  // the latest in the order. Pick has made sure that there is one.
  void TakeCheapestPage(const std::vector<bool>& allowed) {
    double best_cost = std::numeric_limits<double>::infinity();
    size_t best_earliest = 0;
    const std::vector<Owner>* best = nullptr;
    for (const auto& [page, owners] : owners_) {
      if (Empties(page, owners, chosen_) || !Empties(page, owners, allowed)) continue;
      double cost = 0;
      size_t earliest = order_.size();
      for (const Owner& owner : owners) {
        if (chosen_[owner.position]) continue;
        cost += order_[owner.position].restoring_cost;
        earliest = std::min(earliest, owner.position);
      }
      if (best == nullptr || cost < best_cost || (cost == best_cost && earliest > best_earliest)) {
        best_cost = cost;
        best_earliest = earliest;
        best = &owners;
      }
    }
    CHECK(best != nullptr);
    for (const Owner& owner : *best) chosen_[owner.position] = true;
  }

  // Chooses the sequence that frees most blocks for its cost; where equal, the later one.
  void TakeBestSequence(const std::vector<bool>& allowed) {
    const int64_t missing = need_.blocks - FreedBlocks();
    size_t best = order_.size();
    double best_value = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      if (!allowed[i] || chosen_[i] || Gain(i) == 0) continue;
      // Blocks beyond what is missing are of no use.
      const double useful = static_cast<double>(std::min(Gain(i), missing));
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
  const ReleaseNeed need_;
  const BlockPool& blocks_;
  std::map<PageId, std::vector<Owner>> owners_;
  std::vector<bool> leaving_;
  std::vector<bool> chosen_;
};

}  // namespace

ReleasePlan PlanRelease(absl::Span<const ReleaseCandidate> order, const ReleaseNeed& need,
                        const BlockPool& blocks) {
  std::vector<bool> allowed(order.size(), false);
  std::vector<bool> allowed_immune(order.size(), false);
  for (size_t i = 1; i < order.size(); ++i) {
    CHECK_GE(order[i].restoring_cost, 0);
    allowed_immune[i] = order[i].preemptible;
    allowed[i] = order[i].preemptible && !order[i].immune;
  }
  Picker picker(order, need, blocks);
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
