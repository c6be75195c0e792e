#include "server/trace_context.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::server {
namespace {

constexpr char kGood[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr char kTrace[] = "0af7651916cd43dd8448eb211c80319c";

TEST(TraceContextTest, ReadsTheTraceId) {
  EXPECT_EQ(TraceIdOf(kGood), kTrace);
  // A later version may say more.
  EXPECT_EQ(TraceIdOf("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), kTrace);
  EXPECT_EQ(TraceIdOf("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what"), kTrace);
}

TEST(TraceContextTest, WhatIsMalformedIsNoTrace) {
  const std::string malformed[] = {
      "",
      "00",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
      "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what",
      "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319\xff-b7ad6b7169203331-01",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333x-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
      "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
  };
  for (const std::string& text : malformed) EXPECT_EQ(TraceIdOf(text), "") << text;
}

TEST(TraceContextTest, SeveralAreNoTrace) {
  EXPECT_EQ(TraceIdOf(std::vector<absl::string_view>{kGood}), kTrace);
  EXPECT_EQ(TraceIdOf(std::vector<absl::string_view>{}), "");
  EXPECT_EQ(TraceIdOf(std::vector<absl::string_view>{kGood, kGood}), "");
}

}  // namespace
}  // namespace ebb::server
