// The checker must find what it is there for: each test breaks a sound picture in one way.
#include "tests/memory/memory_checker.h"

#include <gtest/gtest.h>

namespace ebb::memory {
namespace {

// Two of three pages of two blocks are mapped, one sequence uses three blocks.
MemoryPicture Sound() {
  MemoryPicture picture;
  picture.limit_bytes = 250;
  picture.held_bytes = 210;
  picture.other_held_bytes = 10;
  picture.page_bytes = 100;
  picture.blocks_per_page = 2;
  picture.pages = {PageState::kMapped, PageState::kMapped, PageState::kReserved};
  picture.references = {1, 1, 1, 0, 0, 0};
  picture.kept = {false, false, false, true, false, false};
  picture.tables = {{0, 1, 2}};
  picture.granted = {0, 4};
  picture.used = {0, 3};
  return picture;
}

std::string Violation(const MemoryPicture& now) { return FirstViolation(Sound(), now); }

TEST(MemoryCheckerTest, ASoundPictureHasNoViolation) { EXPECT_EQ(Violation(Sound()), ""); }

TEST(MemoryCheckerTest, GrowthPastTheLimitIsFoundButShrinkingTowardItIsNot) {
  MemoryPicture now = Sound();
  now.limit_bytes = 50;
  EXPECT_EQ(Violation(now), "");
  now.pages[2] = PageState::kPreparing;
  now.held_bytes = 310;
  EXPECT_NE(Violation(now).find("past the limit"), std::string::npos);
}

TEST(MemoryCheckerTest, EveryOtherRuleIsChecked) {
  MemoryPicture now = Sound();
  now.held_bytes = 110;
  EXPECT_NE(Violation(now), "");
  now = Sound();
  now.pages[1] = PageState::kDraining;
  EXPECT_NE(Violation(now).find("not mapped"), std::string::npos);
  now = Sound();
  now.tables.push_back({2});
  EXPECT_NE(Violation(now).find("owners"), std::string::npos);
  now = Sound();
  now.references[3] = 1;  // A leak: nobody names it.
  EXPECT_NE(Violation(now).find("owners"), std::string::npos);
  now = Sound();
  now.kept[1] = true;
  EXPECT_NE(Violation(now).find("in use"), std::string::npos);
  now = Sound();
  now.kept[4] = true;
  EXPECT_NE(Violation(now).find("not mapped"), std::string::npos);
  now = Sound();
  now.granted[1] = 2;
  EXPECT_NE(Violation(now).find("uses"), std::string::npos);
  now = Sound();
  now.used[1] = 2;
  EXPECT_NE(Violation(now).find("charged"), std::string::npos);
  now = Sound();
  now.pages[1] = PageState::kReserved;
  now.tables = {{0, 1}};
  now.references[2] = 0;
  now.kept[3] = false;
  now.used[1] = 2;
  now.granted[1] = 2;
  now.held_bytes = 110;
  EXPECT_EQ(Violation(now), "");
  now.kept_pages = 2;
  EXPECT_NE(Violation(now).find("that are kept"), std::string::npos);
  now.over_limit = true;
  EXPECT_EQ(Violation(now), "");
  now = Sound();
  now.granted[0] = 1;
  EXPECT_NE(Violation(now).find("covered"), std::string::npos);
}

// Two chunks of two slots, one of them there; a sequence has two slots, another one.
SwapPicture SoundSwap() {
  SwapPicture picture;
  picture.bytes_max = 450;
  picture.slot_bytes = 100;
  picture.used_bytes = 300;
  picture.held_bytes = 200;
  picture.taken = {true, true, true, false};
  picture.there = {true, true, false, false};
  picture.owners = {{0, 2}, {}, {1}};
  return picture;
}

TEST(MemoryCheckerTest, EveryRuleOfTheSwapSpaceIsChecked) {
  EXPECT_EQ(FirstViolation(SoundSwap()), "");
  SwapPicture now = SoundSwap();
  now.owners[1] = {2};
  EXPECT_NE(FirstViolation(now).find("2 owners"), std::string::npos);
  now = SoundSwap();
  now.owners[2] = {};  // A leak: nobody is left.
  EXPECT_NE(FirstViolation(now).find("taken by nobody"), std::string::npos);
  now = SoundSwap();
  now.taken[1] = false;
  EXPECT_NE(FirstViolation(now).find("not taken"), std::string::npos);
  now = SoundSwap();
  now.used_bytes = 200;
  EXPECT_NE(FirstViolation(now).find("sequences have"), std::string::npos);
  now = SoundSwap();
  now.there[2] = true;
  EXPECT_NE(FirstViolation(now).find("held swap space"), std::string::npos);
  now = SoundSwap();
  now.bytes_max = 299;
  EXPECT_NE(FirstViolation(now).find("more than"), std::string::npos);
  now = SoundSwap();
  now.owners.clear();
  now.taken.assign(4, false);
  EXPECT_NE(FirstViolation(now), "");
  now.used_bytes = 0;
  EXPECT_EQ(FirstViolation(now), "");
}

}  // namespace
}  // namespace ebb::memory
