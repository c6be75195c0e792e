#include "memory/prefix_chain.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "absl/strings/escaping.h"

namespace ebb::memory {
namespace {

std::string Hex(const PrefixDigest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

TEST(PrefixChainTest, IsSha256OverTheDigestBeforeAndTheTokens) {
  PrefixChain chain("salt", 2);
  chain.Follow({1, 2, 258, -1, 5});
  ASSERT_EQ(chain.block_count(), 2);
  // python3: a = sha256(sha256(b"salt").digest() + struct.pack("<2i", 1, 2)).digest();
  //          b = sha256(a + struct.pack("<2i", 258, -1))
  EXPECT_EQ(Hex(chain.digest(0)),
            "2a6e4b0f47ee14dbbfbad46c5f07acb04ccd3fac610ee2b6f78f62d9e2f6d452");
  EXPECT_EQ(Hex(chain.digest(1)),
            "482825c13abf971ea6b175090ee1276c79e110e6b1bc578e6b86add943a25cbd");
}

TEST(PrefixChainTest, FollowsInAnyPieces) {
  std::vector<int32_t> tokens(50);
  std::iota(tokens.begin(), tokens.end(), 0);
  PrefixChain whole("", 8);
  whole.Follow(tokens);
  ASSERT_EQ(whole.block_count(), 6);
  PrefixChain pieces("", 8);
  for (size_t count = 0; count <= tokens.size(); ++count) {
    pieces.Follow(absl::MakeConstSpan(tokens).first(count));
    ASSERT_EQ(pieces.block_count(), static_cast<int64_t>(count / 8));
  }
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(whole.digest(i), pieces.digest(i));
}

TEST(PrefixChainTest, AnyTokenBeforeAndTheSaltChangeADigest) {
  std::vector<int32_t> tokens(16, 7);
  PrefixChain chain("a", 8);
  chain.Follow(tokens);
  PrefixChain salted("b", 8);
  salted.Follow(tokens);
  tokens[3] = 8;
  PrefixChain other("a", 8);
  other.Follow(tokens);
  EXPECT_NE(chain.digest(1), salted.digest(1));
  EXPECT_NE(chain.digest(1), other.digest(1));
  EXPECT_NE(chain.digest(0), chain.digest(1));
}

}  // namespace
}  // namespace ebb::memory
