#include "cli/top/styled_line.h"

#include <algorithm>
#include <string>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

TEST(StyledLineTest, CountsCharactersAndNotBytes) {
  StyledLine line("ab", Style::kQuiet);
  line.Append("█→░", Style::kHeld).PadTo(7).Append("c");
  EXPECT_EQ(line.columns(), 8);
  EXPECT_EQ(line.Plain(), "ab█→░  c");
  line.PadTo(3);
  EXPECT_EQ(line.columns(), 8);
}

TEST(StyledLineTest, CutsBetweenCharacters) {
  for (int columns = 0; columns <= 6; ++columns) {
    StyledLine line("█", Style::kHeld);
    line.Append("→").Append("░b", Style::kLimit).CutTo(columns);
    EXPECT_EQ(line.Plain(), std::string("█→░b").substr(0, columns >= 4 ? 10 : columns * 3u));
    EXPECT_EQ(line.columns(), std::min(columns, 4));
  }
}

TEST(StyledLineTest, ColorsEndWhereTheirTextEnds) {
  StyledLine line("plain ");
  line.Append("bad", Style::kBad).Append(" more", Style::kBad).Append(" plain");
  EXPECT_EQ(line.Colored(), "plain \x1b[1;31mbad more\x1b[0m plain");
  EXPECT_EQ(line.CutTo(6).Colored(), "plain ");
}

TEST(StyledLineTest, BlanksAtTheEndArePartOfTheLineButNotOfItsText) {
  StyledLine line("a");
  line.PadTo(5);
  EXPECT_EQ(line.columns(), 5);
  EXPECT_EQ(line.Plain(), "a");
}

// A server that lies cannot reach the terminal.
TEST(StyledLineTest, PrintableTextHasOneAsciiCharacterForEach) {
  EXPECT_EQ(Printable("a b~"), "a b~");
  EXPECT_EQ(Printable("\x1b[2Jx\r\n\x7f"), "?[2Jx???");
  // A byte that begins no character: some terminals take 0x9b for a command's beginning.
  EXPECT_EQ(Printable("a\x9b\xff"), "a?");
  EXPECT_EQ(Printable("h\u00e9 \u4e2d"), "h? ?");
}

}  // namespace
}  // namespace ebb::cli
