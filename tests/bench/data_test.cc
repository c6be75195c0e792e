// The excerpts of public traces: each is named in scaling.json, and scaled by it fits a small model.
#include <fstream>
#include <sstream>
#include <string>

#include "cli/bench/trace.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {
namespace {

std::string Read(const std::string& name) {
  std::ifstream file("bench/data/" + name);
  EXPECT_TRUE(file.is_open()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(BenchDataTest, EachTraceParsesAndFitsAfterScaling) {
  const nlohmann::json scaling = nlohmann::json::parse(Read("scaling.json"));
  const int percent = scaling["capacity_percent"].get<int>();
  EXPECT_GT(percent, 0);
  EXPECT_LT(percent, 100);
  EXPECT_EQ(scaling["traces"].size(), 4u);
  for (const auto& [name, trace] : scaling["traces"].items()) {
    TraceScale scale;
    scale.length_divisor = trace["length_divisor"].get<double>();
    scale.length_max = trace["length_max"].get<int64_t>();
    const auto arrivals = ParseTrace(Read(name + ".csv"), name, scale);
    ASSERT_TRUE(arrivals.ok()) << arrivals.status();
    EXPECT_EQ(arrivals->size(), 1000u) << name;
    EXPECT_GT(arrivals->back().at, absl::Seconds(10)) << name;
    for (const Arrival& arrival : *arrivals) {
      EXPECT_LE(arrival.prompt_tokens + arrival.output_tokens, 4096) << name;
    }
  }
}

}  // namespace
}  // namespace ebb::cli
