#include "cli/plot/log_lines.h"

#include <sstream>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

TEST(ParseLogLineTest, TakesWhatMatters) {
  const std::optional<LogEvent> event = ParseLogLine(
      R"({"time":"1970-01-01T00:00:01.250Z","event":"window","queue":"decode","length_ms":1.5,)"
      R"("held_bytes":30,"needed_bytes":20,"limit_bytes":100,"preemptions_total":4})");
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->name, "window");
  EXPECT_EQ(event->time_ms, 1250);
  ASSERT_TRUE(event->memory.has_value());
  EXPECT_EQ(event->memory->held_bytes, 30);
  EXPECT_EQ(event->memory->needed_bytes, 20);
  EXPECT_EQ(event->memory->limit_bytes, 100);
  EXPECT_EQ(event->preemptions_total, 4);
  EXPECT_FALSE(event->preemptions.has_value());
}

TEST(ParseLogLineTest, WhatLiesDeeperIsNotTheLines) {
  const std::optional<LogEvent> event = ParseLogLine(
      R"({"time":"1970-01-01T00:00:00Z","event":"config","settings":{"held_bytes":1,"event":2,)"
      R"("time":null,"model":{"model":"inner"}},"list":[1,"two",[3]],"model":"outer"})");
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->name, "config");
  EXPECT_EQ(event->model, "outer");
  EXPECT_FALSE(event->memory.has_value());
}

TEST(ParseLogLineTest, MemoryIsAllThreeOrNothing) {
  const std::optional<LogEvent> event = ParseLogLine(
      R"({"time":"1970-01-01T00:00:00Z","event":"window","held_bytes":1,"needed_bytes":2})");
  ASSERT_TRUE(event.has_value());
  EXPECT_FALSE(event->memory.has_value());
}

std::string WithHeld(const std::string& value) {
  return R"({"time":"2026-01-01T00:00:00Z","event":"window","needed_bytes":1,"limit_bytes":1,)"
         R"("held_bytes":)" +
         value + "}";
}

TEST(ParseLogLineTest, RefusesTheRest) {
  ASSERT_TRUE(ParseLogLine(WithHeld("1")).has_value());
  const std::string good = WithHeld("1");
  const std::string deep = R"({"time":"2026-01-01T00:00:00Z","event":"x","a":)";
  ASSERT_TRUE(ParseLogLine(deep + std::string(15, '[') + std::string(15, ']') + "}").has_value());
  const std::string bad[] = {
      "",
      "null",
      "7",
      "[]",
      "{}",
      "not JSON",
      good.substr(0, good.size() - 1),  // Cut short.
      good + good,
      good + "x",
      std::string("\0\0\0", 3),
      WithHeld("NaN"),
      WithHeld("Infinity"),
      WithHeld("1e999"),
      WithHeld("-1"),
      WithHeld("1.5"),
      WithHeld("1e3"),
      WithHeld("\"1\""),
      WithHeld("null"),
      WithHeld("true"),
      WithHeld("[1]"),
      WithHeld("{}"),
      WithHeld("1152921504606846977"),   // 2^60 + 1
      WithHeld("18446744073709551616"),  // 2^64
      R"({"event":"window"})",
      R"({"time":"2026-01-01T00:00:00Z"})",
      R"({"time":"2026-01-01T00:00:00Z","event":""})",
      R"({"time":"2026-01-01T00:00:00Z","event":7})",
      R"({"time":7,"event":"window"})",
      R"({"time":"yesterday","event":"window"})",
      R"({"time":"infinite-future","event":"window"})",
      R"({"time":"infinite-past","event":"window"})",
      R"({"time":"1969-12-31T23:59:59Z","event":"window"})",
      R"({"time":"2200-01-02T00:00:00Z","event":"window"})",
      R"({"time":"2026-01-01T00:00:00Z","event":"window","preemptions_total":2147483649})",
      "{\"time\":\"2026-01-01T00:00:00Z\",\"event\":\"\xff\"}",  // Not UTF-8.
      deep + std::string(16, '[') + std::string(16, ']') + "}",
      deep + std::string(60000, '['),
  };
  for (const std::string& line : bad) {
    EXPECT_FALSE(ParseLogLine(line).has_value()) << line.substr(0, 200);
  }
}

std::vector<std::string> ReadAll(const std::string& text) {
  std::istringstream in(text);
  LineReader reader(&in);
  std::vector<std::string> lines;
  std::string line;
  for (;;) {
    const LineReader::Result result = reader.Next(&line);
    if (result == LineReader::Result::kEnd) return lines;
    lines.push_back(result == LineReader::Result::kTooLong ? "(too long)" : line);
  }
}

TEST(LineReaderTest, EndsOfEveryKind) {
  EXPECT_EQ(ReadAll(""), (std::vector<std::string>{}));
  EXPECT_EQ(ReadAll("\n"), (std::vector<std::string>{""}));
  EXPECT_EQ(ReadAll("a\nb"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(ReadAll("a\r\n\nb\n"), (std::vector<std::string>{"a", "", "b"}));
}

// Every length around the chunk's and the bound's, so that ends fall on each side of an edge.
TEST(LineReaderTest, LongLinesArePassedOverAndTheNextIsWhole) {
  for (const size_t size :
       {LineReader::kLineBytesMax - 1, LineReader::kLineBytesMax, LineReader::kLineBytesMax + 1,
        2 * LineReader::kLineBytesMax - 1, 2 * LineReader::kLineBytesMax, size_t{10} << 20}) {
    const std::string long_line(size, 'x');
    const std::string expected = size <= LineReader::kLineBytesMax ? long_line : "(too long)";
    EXPECT_EQ(ReadAll("a\n" + long_line + "\nb"), (std::vector<std::string>{"a", expected, "b"}))
        << size;
    EXPECT_EQ(ReadAll(long_line), (std::vector<std::string>{expected})) << size;
    EXPECT_EQ(ReadAll(long_line + "\nb"), (std::vector<std::string>{expected, "b"})) << size;
  }
}

}  // namespace
}  // namespace ebb::cli
