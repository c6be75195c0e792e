// Compares tokenizers with llama.cpp's own vocabulary files, which are not kept here.
//
//   bazel run //tests/model:llama_vocab_check -- DIR
//
// DIR is llama.cpp's models directory: for each vocabulary it has ggml-vocab-NAME.gguf, texts in
// NAME.gguf.inp and their ids in NAME.gguf.out.

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "model/gguf.h"
#include "model/tokenizer.h"
#include "model/tokenizer_gguf.h"

namespace ebb::model {
namespace {

constexpr char kTextEnd[] = "\n__ggml_vocab_test__\n";

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<int32_t> ParseIds(absl::string_view line) {
  std::vector<int32_t> ids;
  for (const auto number : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    ids.push_back(std::stoi(std::string(number)));
  }
  return ids;
}

// The number of texts whose ids differ, or -1 when the files do not fit together.
int Check(const std::string& path) {
  const auto file = GgufFile::Open(path);
  if (!file.ok()) return std::cerr << file.status() << "\n", -1;
  const auto data = TokenizerDataFromGguf(**file);
  if (!data.ok()) return std::cerr << data.status() << "\n", -1;
  const auto tokenizer = Tokenizer::Create(*data);
  if (!tokenizer.ok()) return std::cerr << tokenizer.status() << "\n", -1;
  const std::vector<std::string> texts = absl::StrSplit(ReadAll(path + ".inp"), kTextEnd);
  const std::vector<std::string> lines = absl::StrSplit(ReadAll(path + ".out"), '\n');
  if (texts.size() < 10 || lines.size() < texts.size()) {
    return std::cerr << path << ".inp and .out do not fit together\n", -1;
  }
  int wrong = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = (*tokenizer)->Encode(texts[i], /*parse_special=*/false);
    if (ids.ok() && *ids == ParseIds(lines[i])) continue;
    ++wrong;
    std::cerr << path << ": text " << i << " differs: " << texts[i] << "\n";
  }
  std::cout << path << ": " << texts.size() << " texts, " << wrong << " differ\n";
  return wrong;
}

}  // namespace
}  // namespace ebb::model

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: llama_vocab_check DIR\n";
    return 2;
  }
  bool good = true;
  for (const char* name : {"gpt-2", "llama-bpe", "qwen2"}) {
    good &= ebb::model::Check(std::string(argv[1]) + "/ggml-vocab-" + name + ".gguf") == 0;
  }
  return good ? 0 : 1;
}
