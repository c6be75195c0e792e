// The tokenizer of the real model, for tests that compare with it.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "base/check.h"
#include "model/gguf.h"
#include "model/tokenizer.h"
#include "model/tokenizer_gguf.h"

namespace ebb::model {

inline std::string SmolLmPath() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  CHECK(cache != nullptr || home != nullptr) << "HOME is not set";
  const std::string root = cache != nullptr ? cache : std::string(home) + "/.cache";
  return root + "/ebb/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

inline std::unique_ptr<GgufFile> OpenSmolLm() {
  auto file = GgufFile::Open(SmolLmPath());
  CHECK(file.ok()) << file.status().ToString() << "; run ./run --setup";
  return *std::move(file);
}

inline std::unique_ptr<const Tokenizer> SmolLmTokenizer() {
  auto data = TokenizerDataFromGguf(*OpenSmolLm());
  CHECK_OK(data.status());
  auto tokenizer = Tokenizer::Create(*data);
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

}  // namespace ebb::model
