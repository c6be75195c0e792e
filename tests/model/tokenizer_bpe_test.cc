#include "model/tokenizer_bpe.h"

#include <map>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

using Ids = std::vector<int32_t>;

// The definition, in O(n^2): merge the leftmost pair of the lowest rank until there is none.
class NaiveMerger {
 public:
  void AddRule(int32_t left, int32_t right, int32_t merged) {
    rules_.emplace(std::make_pair(left, right),
                   std::make_pair(static_cast<int32_t>(rules_.size()), merged));
  }
  Ids Merge(Ids ids) const {
    while (true) {
      size_t best = 0;
      int32_t best_rank = -1;
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        const auto rule = rules_.find({ids[i], ids[i + 1]});
        if (rule == rules_.end()) continue;
        if (best_rank >= 0 && rule->second.first >= best_rank) continue;
        best = i;
        best_rank = rule->second.first;
      }
      if (best_rank < 0) return ids;
      ids[best] = rules_.at({ids[best], ids[best + 1]}).second;
      ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
  }

 private:
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> rules_;
};

TEST(BpeMergerTest, MergesAsTheDefinitionSays) {
  base::Rng rng(TestSeed(7));
  BpeScratch scratch;  // Kept over everything: nothing may be left in it.
  for (int vocabulary = 0; vocabulary < 300; ++vocabulary) {
    BpeMerger merger;
    NaiveMerger naive;
    const int64_t letters = rng.Between(1, 4);
    auto next = static_cast<int32_t>(letters);
    for (int64_t rules = rng.Between(0, 40); rules > 0; --rules) {
      const auto left = static_cast<int32_t>(rng.Between(0, next - 1));
      const auto right = static_cast<int32_t>(rng.Between(0, next - 1));
      // Sometimes two pairs make the same token, as in "ab c" and "a bc".
      const int32_t merged =
          rng.Chance(0.2) ? static_cast<int32_t>(rng.Between(letters - 1, next)) : next;
      if (!merger.AddRule(left, right, merged)) continue;
      naive.AddRule(left, right, merged);
      next = std::max(next, merged + 1);
    }
    for (int text = 0; text < 40; ++text) {
      Ids ids;
      for (int64_t i = rng.Between(0, 60); i > 0; --i) {
        ids.push_back(static_cast<int32_t>(rng.Between(0, letters - 1)));
      }
      Ids merged = {-1};  // Ids are appended to what is there.
      merger.Merge(ids, &scratch, &merged);
      Ids expected = naive.Merge(ids);
      expected.insert(expected.begin(), -1);
      ASSERT_EQ(merged, expected);
    }
  }
}

TEST(BpeMergerTest, RefusesAPairTwice) {
  BpeMerger merger;
  EXPECT_TRUE(merger.AddRule(0, 1, 2));
  EXPECT_FALSE(merger.AddRule(0, 1, 3));
  EXPECT_TRUE(merger.AddRule(1, 0, 3));
}

}  // namespace
}  // namespace ebb::model
