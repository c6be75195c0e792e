#include "cli/plot/xml.h"

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

TEST(EscapeXmlTest, MarkupBecomesReferences) {
  EXPECT_EQ(EscapeXml("<a b=\"c\" d='e'>&amp;", 100),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;");
  EXPECT_EQ(EscapeXml("", 0), "");
}

TEST(EscapeXmlTest, OrdinaryTextStays) {
  const std::string text = "H\u00e9llo \u4e2d \U0001f600 \ufffd\ue000";
  EXPECT_EQ(EscapeXml(text, 100), text);
}

TEST(EscapeXmlTest, WhatXmlForbidsOrMisleadsIsReplaced) {
  for (const char* bad : {"\x01", "\n", "\x1f", "\x7f", "\u0080", "\u009f", "\ufffe", "\uffff",
                          "\u202a", "\u202e", "\u2066", "\u2069"}) {
    EXPECT_EQ(EscapeXml(bad, 1), "\ufffd");
  }
  EXPECT_EQ(EscapeXml(std::string("a\0b", 3), 3), "a\ufffdb");
}

TEST(EscapeXmlTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(EscapeXml("\u4e2d\u4e2d\u4e2d", 3), "\u4e2d\u4e2d\u4e2d");
  EXPECT_EQ(EscapeXml("\u4e2d\u4e2d\u4e2d", 2), "\u4e2d\u4e2d\u2026");
  EXPECT_EQ(EscapeXml("a<b", 2), "a&lt;\u2026");
}

}  // namespace
}  // namespace ebb::cli
