#include "cli/top/table.h"

#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

const std::vector<TableColumn>& Columns() {
  static const auto& columns = *new std::vector<TableColumn>{
      {"name", 0, true, 3}, {"n", 4, false, 1}, {"long title", 0, false, 2}};
  return columns;
}

std::string Table(int width) {
  const std::vector<std::vector<StyledLine>> rows = {
      {StyledLine("a"), StyledLine("1"), StyledLine("x")},
      {StyledLine("abcdef→"), StyledLine("12345"), StyledLine("xyz")}};
  const std::vector<StyledLine> lines = DrawTable(Columns(), rows, width);
  for (const StyledLine& line : lines) EXPECT_LE(line.columns(), width);
  return TextOf(lines);
}

TEST(TableTest, ColumnsAreAsWideAsTheirContents) {
  EXPECT_EQ(Table(40),
            "name         n  long title\n"
            "a            1           x\n"
            "abcdef→  12345         xyz\n");
}

TEST(TableTest, GapsShrinkBeforeColumnsGo) {
  EXPECT_EQ(Table(24),
            "name        n long title\n"
            "a           1          x\n"
            "abcdef→ 12345        xyz\n");
}

TEST(TableTest, TheLeastImportantColumnsGo) {
  EXPECT_EQ(Table(23),
            "name     long title\n"
            "a                 x\n"
            "abcdef→         xyz\n");
  EXPECT_EQ(Table(17), "name\na\nabcdef→\n");
  EXPECT_EQ(Table(3), "nam\na\nabc\n");
}

TEST(TableTest, NoRowsAreTitlesAlone) {
  EXPECT_EQ(TextOf(DrawTable(Columns(), {}, 80)), "name     n  long title\n");
}

}  // namespace
}  // namespace ebb::cli
