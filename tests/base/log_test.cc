#include "base/log.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/clock_fake.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ebb::base {
namespace {

std::string Written(std::FILE* file) {
  std::string text(static_cast<size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  return text;
}

TEST(LogTest, OneObjectALine) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  FakeClock clock;
  {
    StreamLog log(file, &clock);
    log.Write("window", {{"queue", "decode"}, {"pages_after", 3}});
    log.Write("name", {{"text", std::string("a\nb\xff\x1b")}});
  }
  const std::string text = Written(file);
  std::fclose(file);
  const size_t end = text.find('\n');
  const auto first = nlohmann::json::parse(text.substr(0, end));
  EXPECT_EQ(first["event"], "window");
  EXPECT_EQ(first["time"], "1970-01-12T13:46:40.000Z");
  EXPECT_EQ(first["pages_after"], 3);
  const auto second = nlohmann::json::parse(text.substr(end + 1));
  EXPECT_EQ(second["text"], "a\nb\xEF\xBF\xBD\x1b");
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << "control characters are escaped";
}

// Line breaks, escapes, DEL, C1 controls, marks that turn the direction of what follows, a line
// separator, quotes: a line stays one line, reads as it was meant, and says it all to a parser.
TEST(LogTest, WhatCouldForgeOrTurnALineIsEscaped) {
  const std::string texts[] = {
      "a\r\n{\"event\":\"ready\"}",
      "\x1b[2J\x7f\b",
      "\xC2\x9B"
      "2J\xC2\x85",  // CSI, next line.
      "\xE2\x80\xAE"
      "gpj.exe\xE2\x81\xA6x\xE2\x81\xA9\xE2\x80\x8F",      // RLO, isolates, RLM.
      "\xE2\x80\xA8\xE2\x80\xA9\xEF\xBB\xBF\xE2\x80\x8B",  // LS, PS, BOM, ZWSP.
      "\"},{\"event\":\"x",
      std::string("a\0b", 3),
  };
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  FakeClock clock;
  {
    StreamLog log(file, &clock);
    for (const std::string& text : texts) log.Write("name", {{"text", text}, {text, 1}});
  }
  std::string written = Written(file);
  std::fclose(file);
  for (const std::string& text : texts) {
    const std::string line = written.substr(0, written.find('\n'));
    written.erase(0, line.size() + 1);
    for (const char c : line) EXPECT_TRUE(c >= ' ' && c <= '~') << static_cast<int>(c);
    const auto parsed = nlohmann::json::parse(line);
    EXPECT_EQ(parsed["event"], "name");
    EXPECT_EQ(parsed["text"], text);
    EXPECT_EQ(parsed[text], 1);
  }
  EXPECT_EQ(written, "");
}

TEST(LogTest, AReaderThatHasStoppedDoesNotHoldUpTheEnd) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::FILE* file = fdopen(ends[1], "w");
  FakeClock clock;
  {
    StreamLog log(file, &clock);
    // More than a pipe takes; nobody reads it.
    for (int i = 0; i < 200; ++i) log.Write("filler", {{"text", std::string(1000, 'x')}});
  }
  // What was written is whole lines but for the last one.
  close(ends[1]);
  std::string text(1 << 20, '\0');
  size_t have = 0;
  for (ssize_t n; (n = read(ends[0], &text[have], text.size() - have)) > 0;) {
    have += static_cast<size_t>(n);
  }
  EXPECT_GE(have, 4096u);
  EXPECT_EQ(nlohmann::json::parse(text.substr(0, text.find('\n')))["event"], "filler");
  close(ends[0]);
}

}  // namespace
}  // namespace ebb::base
