// How a token is looked for: by its digest, among all, always all of them.
#include <string>
#include <vector>

#include "base/sha256.h"
#include "gtest/gtest.h"
#include "server/access.h"

namespace ebb::server {
namespace {

AccessToken Named(const std::string& name, const std::string& token) {
  return {name, base::Sha256(token)};
}

TEST(FindTokenTest, FindsTheOneWhoseDigestItIs) {
  const std::vector<AccessToken> tokens = {Named("a", "token-a"), Named("b", "token-b"),
                                           Named("c", "token-c")};
  for (const AccessToken& token : tokens) {
    EXPECT_EQ(FindToken(tokens, "token-" + token.name), &token);
  }
  for (const std::string wrong : {"", "token-", "token-d", "token-aa", "Token-a", "token-a\n"}) {
    EXPECT_EQ(FindToken(tokens, wrong), nullptr) << wrong;
  }
  EXPECT_EQ(FindToken({}, "token-a"), nullptr);
}

// The digest alone counts: a token whose digest is an entry's in all bytes but one, whichever it
// is, is another.
TEST(FindTokenTest, EveryByteOfTheDigestCounts) {
  for (size_t byte = 0; byte < base::Sha256("").size(); ++byte) {
    AccessToken almost = Named("a", "token-a");
    almost.digest[byte] ^= 1;
    EXPECT_EQ(FindToken({almost}, "token-a"), nullptr) << byte;
  }
}

// The file's reader takes no token twice. Were one there twice, the last would be found: the search
// does not end with the first.
TEST(FindTokenTest, GoesOnAfterItHasFound) {
  for (size_t count = 1; count <= 5; ++count) {
    std::vector<AccessToken> tokens(count, Named("same", "token"));
    tokens.insert(tokens.begin(), Named("other", "other"));
    EXPECT_EQ(FindToken(tokens, "token"), &tokens.back());
  }
}

}  // namespace
}  // namespace ebb::server
