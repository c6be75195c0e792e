#include "cli/args.h"

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

const std::vector<Option>& TestOptions() {
  static const auto& options = *new std::vector<Option>{
      {"count", "N", "How many."}, {"stop", "TEXT", "A stop.", true}, {"json", "", "As JSON."}};
  return options;
}

TEST(ArgsTest, ReadsOptionsFlagsAndWords) {
  const absl::StatusOr<Args> args =
      Args::Parse(TestOptions(), {"one", "--count", "-5", "--stop=a=b", "--json", "--stop", "--x",
                                  "-", "--", "--count", "two"});
  ASSERT_TRUE(args.ok()) << args.status();
  EXPECT_EQ(args->Int64("count")->value(), -5);
  EXPECT_EQ(args->Texts("stop"), (std::vector<std::string>{"a=b", "--x"}));
  EXPECT_TRUE(args->Has("json"));
  EXPECT_EQ(args->words(), (std::vector<std::string>{"one", "-", "--count", "two"}));
}

TEST(ArgsTest, ALetterStandsForItsOption) {
  const std::vector<Option> options = {{"output", "FILE", "Where to.", false, 'o'}};
  const auto parse = [&](std::vector<std::string> words) { return Args::Parse(options, words); };
  EXPECT_EQ(parse({"-o", "a=b"})->Text("output"), "a=b");
  EXPECT_EQ(parse({"--output", "c"})->Text("output"), "c");
  EXPECT_EQ(std::string(parse({"-o", "a", "--output", "b"}).status().message()),
            "--output: given twice");
  EXPECT_EQ(std::string(parse({"-o"}).status().message()), "--output: a value is missing (FILE)");
  EXPECT_FALSE(parse({"-oa"}).ok());
  EXPECT_FALSE(parse({"-p", "a"}).ok());
  EXPECT_EQ(DescribeOptions(options).substr(0, 20), "  -o, --output FILE ");
}

TEST(ArgsTest, WhatIsNotGivenIsNothing) {
  const absl::StatusOr<Args> args = Args::Parse(TestOptions(), {});
  ASSERT_TRUE(args.ok());
  EXPECT_FALSE(args->Has("json"));
  EXPECT_FALSE(args->Int64("count")->has_value());
  EXPECT_FALSE(args->Uint64("count")->has_value());
  EXPECT_FALSE(args->Double("count")->has_value());
  EXPECT_TRUE(args->Texts("stop").empty());
}

TEST(ArgsTest, SaysWhatIsWrong) {
  const struct {
    std::vector<std::string> words;
    const char* error;
  } cases[] = {
      {{"--cuont", "1"}, "--cuont: unknown option; did you mean --count?"},
      {{"--quite-different"}, "--quite-different: unknown option; --help lists them"},
      {{"--count"}, "--count: a value is missing (N)"},
      {{"--count", "1", "--count", "2"}, "--count: given twice"},
      {{"--json=1"}, "--json: takes no value"},
      {{"-c"}, "-c: options begin with two dashes; put -- before text that begins with one"},
  };
  for (const auto& bad : cases) {
    const absl::Status status = Args::Parse(TestOptions(), bad.words).status();
    EXPECT_EQ(std::string(status.message()), bad.error);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ArgsTest, NumbersAreWholeAndFit) {
  const auto parse = [](const char* text) {
    return *Args::Parse(TestOptions(), {std::string("--count=") + text});
  };
  EXPECT_EQ(parse("9223372036854775807").Int64("count")->value(), INT64_MAX);
  EXPECT_EQ(parse("18446744073709551615").Uint64("count")->value(), UINT64_MAX);
  EXPECT_EQ(parse("1.5e3").Double("count")->value(), 1500);
  for (const char* bad : {"", "1.5", "1x", "9223372036854775808", "true", "0x10"}) {
    EXPECT_EQ(std::string(parse(bad).Int64("count").status().message()),
              std::string("--count: must be a whole number; not ") + bad);
  }
  EXPECT_FALSE(parse("-1").Uint64("count").ok());
  EXPECT_FALSE(parse("1,5").Double("count").ok());
}

TEST(ArgsTest, HelpFitsTheScreen) {
  const std::string help =
      DescribeOptions({{"name", "VALUE",
                        "word word word word word word word word word word word word word word "
                        "word word word word word word"},
                       {"a-name-that-is-longer-than-the-column", "VALUE", "Meaning."}});
  size_t lines = 0;
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = help.find('\n', begin);
    EXPECT_LE(end - begin, 100u);
    EXPECT_NE(help[end - 1], ' ');
    begin = end + 1;
    ++lines;
  }
  EXPECT_EQ(lines, 3u);
}

}  // namespace
}  // namespace ebb::cli
