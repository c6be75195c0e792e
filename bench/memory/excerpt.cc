#include "bench/memory/excerpt.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "cli/bench/trace.h"
#include "nlohmann/json.hpp"

namespace ebb::bench {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  CHECK(file.good()) << path << ": start it with bazel run, or in the repository's root";
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

std::vector<cli::Arrival> ReadExcerpt(const std::string& name) {
  const nlohmann::json scaling =
      nlohmann::json::parse(ReadFile("bench/data/scaling.json"))["traces"][name];
  cli::TraceScale scale;
  scale.length_divisor = scaling["length_divisor"];
  scale.length_max = scaling["length_max"];
  auto arrivals = cli::ParseTrace(ReadFile("bench/data/" + name + ".csv"), name, scale);
  CHECK_OK(arrivals.status());
  return *std::move(arrivals);
}

void AtRate(double per_second, std::vector<cli::Arrival>* arrivals) {
  const double rate =
      static_cast<double>(arrivals->size()) / absl::ToDoubleSeconds(arrivals->back().at);
  for (cli::Arrival& arrival : *arrivals) arrival.at *= rate / per_second;
}

}  // namespace ebb::bench
