#include "config/nearest.h"

#include <string>

#include "gtest/gtest.h"

namespace ebb::config {
namespace {

TEST(NearestTest, FindsSlipsAndNothingElse) {
  const std::vector<absl::string_view> known = {"limit_bytes", "idle_ms", "slack_pages"};
  EXPECT_EQ(Nearest("limt_bytes", known), "limit_bytes");
  EXPECT_EQ(Nearest("idle", known), "idle_ms");
  EXPECT_EQ(Nearest("slack_page", known), "slack_pages");
  EXPECT_EQ(Nearest("something_else", known), "");
  EXPECT_EQ(Nearest("", known), "");
  EXPECT_EQ(Nearest("kv", {"bf"}), "");
  EXPECT_EQ(Nearest(std::string(100'000, 'x'), known), "");
}

}  // namespace
}  // namespace ebb::config
