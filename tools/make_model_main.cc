// bazel run //tools:make_model -- random:llama-3.2-1b --output DIRECTORY [--dtype bf16|f32]
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "tools/make_model.h"

int main(int argc, char** argv) {
  // `bazel run` starts elsewhere than in the directory that the user's paths mean.
  const char* const directory = std::getenv("BUILD_WORKING_DIRECTORY");
  if (directory != nullptr && chdir(directory) != 0) {
    std::cerr << directory << ": no such directory\n";
    return 1;
  }
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto options = ebb::tools::ParseMakeModel(arguments);
  if (!options.ok()) {
    std::cerr << "make_model: " << options.status().message() << "\n";
    return 64;
  }
  const absl::Status status = ebb::tools::MakeModel(*options, std::cerr);
  if (!status.ok()) {
    std::cerr << "make_model: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
