// Reads golden data that a test has in its `data`.
#pragma once

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/check.h"
#include "nlohmann/json.hpp"

namespace ebb::model {

// `path` from the root of the repository.
inline std::string ReadGolden(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good()) << path << " is missing";
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// One JSON value a line.
template <typename Json = nlohmann::json>
std::vector<Json> ReadGoldenLines(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good()) << path << " is missing";
  std::vector<Json> values;
  for (std::string line; std::getline(in, line);) values.push_back(Json::parse(line));
  return values;
}

}  // namespace ebb::model
