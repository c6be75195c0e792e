#include "cli/text_file.h"

#include <sstream>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

TEST(Utf8Test, TakesEveryLengthAndBoundary) {
  for (const char* good : {"", "a", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000",
                           "\uffff", "\U00010000", "\U0010ffff", "a\u00e9\u4e2d\U0001f600b"}) {
    EXPECT_TRUE(CheckUtf8(good, "t").ok()) << good;
  }
  EXPECT_TRUE(CheckUtf8(absl::string_view("a\0b", 3), "t").ok());
}

TEST(Utf8Test, NamesTheFirstBadByte) {
  EXPECT_EQ(std::string(CheckUtf8("ab\xff", "FILE").message()),
            "FILE: byte 2 (0xff) is not UTF-8; convert the text, for example with iconv -t UTF-8");
  // Continuation alone, cut short, overlong, surrogate, past U+10FFFF.
  for (const char* bad :
       {"\x80", "\xc3", "\xe4\xb8", "\xf0\x9f\x98", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf",
        "\xe0\x9f\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3\x28", "\xe2\x28\xa1", "\xe2\x82\x28"}) {
    EXPECT_FALSE(CheckUtf8(bad, "t").ok()) << bad;
  }
}

TEST(ParseIdsTest, TakesAFlatListOfWholeNumbers) {
  EXPECT_EQ(*ParseIds("[1, -2,\n 9223372036854775807]", "f"),
            (std::vector<int64_t>{1, -2, INT64_MAX}));
  EXPECT_EQ(*ParseIds("[]", "f"), std::vector<int64_t>());
}

TEST(ParseIdsTest, RefusesTheRest) {
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"[1, 2.5]", "f: must be a list of whole numbers, such as [1, 2, 3]; not 2.5"},
      {"[9223372036854775808]",
       "f: must be a list of whole numbers, such as [1, 2, 3]; not 9223372036854775808"},
      {"[99999999999999999999]",
       "f: must be a list of whole numbers, such as [1, 2, 3]; not 99999999999999999999"},
      {"7", "f: must be a list of whole numbers, such as [1, 2, 3]; not a number alone"},
      {"[[1]]",
       "f: must be a list of whole numbers, such as [1, 2, 3]; not a list within the list"},
      {"{\"a\": 1}", "f: must be a list of whole numbers, such as [1, 2, 3]; not an object"},
      {"[\"1\"]", "f: must be a list of whole numbers, such as [1, 2, 3]; not a string"},
      {"[true]", "f: must be a list of whole numbers, such as [1, 2, 3]; not true or false"},
      {"[1", "f: not valid JSON at byte 3"},
      {"", "f: not valid JSON at byte 1"},
  };
  for (const auto& bad : cases) {
    EXPECT_EQ(std::string(ParseIds(bad.text, "f").status().message()), bad.error) << bad.text;
  }
}

TEST(ReadInputTest, ReadsStandardInputAndSaysWhatCannotBeRead) {
  std::istringstream in("line 1\nline 2");
  EXPECT_EQ(*ReadInput("-", &in), "line 1\nline 2");
  EXPECT_EQ(std::string(ReadInput("no/such/file", &in).status().message()),
            "no/such/file: cannot be opened: No such file or directory");
  EXPECT_FALSE(ReadInput("/", &in).ok());
}

}  // namespace
}  // namespace ebb::cli
