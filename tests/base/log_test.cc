#include "base/log.h"

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

}  // namespace
}  // namespace ebb::base
