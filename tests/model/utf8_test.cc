#include "model/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace ebb::model {
namespace {

TEST(Utf8Test, EveryScalarValueComesBack) {
  for (uint32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    std::string bytes;
    AppendUtf8(code_point, &bytes);
    const Utf8Front front = DecodeUtf8Front(bytes + "x");
    ASSERT_EQ(front.kind, Utf8Front::Kind::kCharacter);
    ASSERT_EQ(front.code_point, code_point);
    ASSERT_EQ(front.length, bytes.size());
    for (size_t part = 1; part < bytes.size(); ++part) {
      const Utf8Front cut = DecodeUtf8Front(absl::string_view(bytes).substr(0, part));
      ASSERT_EQ(cut.kind, Utf8Front::Kind::kIncomplete);
      ASSERT_EQ(cut.length, part);
    }
  }
}

TEST(Utf8Test, InvalidBytesAreGroupedAsMaximalSubparts) {
  struct Case {
    std::string bytes;
    size_t length;
  };
  // The examples of Unicode 14, tables 3-8 to 3-11, and the borders of each range.
  const Case cases[] = {{"\x80", 1},          {"\xC0\xAF", 1},     {"\xC1\xBF", 1},
                        {"\xE0\x80\xBF", 1},  {"\xE0\x9F\xBF", 1}, {"\xED\xA0\x80", 1},
                        {"\xED\xBF\xBF", 1},  {"\xF4\x90\x80", 1}, {"\xF5\x80\x80", 1},
                        {"\xFF", 1},          {"\xF0\x8F\xBF", 1}, {"\xE1\x80\xE2", 2},
                        {"\xF0\x91\x92x", 3}, {"\xF1\xBF\x41", 2}, {"\xC3\x41", 1}};
  for (const Case& invalid : cases) {
    const Utf8Front front = DecodeUtf8Front(invalid.bytes);
    EXPECT_EQ(front.kind, Utf8Front::Kind::kInvalid);
    EXPECT_EQ(front.length, invalid.length);
  }
}

TEST(Utf8Test, FindsTheFirstInvalidByte) {
  EXPECT_EQ(FindInvalidUtf8(""), absl::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("plain ascii, longer than a word; é 世 🦙"),
            absl::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("0123456789\xff"), 10u);
  EXPECT_EQ(FindInvalidUtf8("01234567\xc3"), 8u);
  EXPECT_EQ(FindInvalidUtf8("é\xed\xa0\x80"), 2u);
}

}  // namespace
}  // namespace ebb::model
