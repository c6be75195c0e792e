// What a hostile Hugging Face directory costs before it is refused: docs/hostile-inputs.md.

#include <unistd.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "model/load_error.h"
#include "model/open_model.h"
#include "tests/model/hf_builder.h"

namespace ebb::model {
namespace {

constexpr int64_t kAllowedKib = 256 << 10;

// A line of /proc/self/status in KiB.
int64_t StatusKib(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, name.size() + 1, name + ":") == 0) {
      return std::stoll(line.substr(name.size() + 1));
    }
  }
  return -1;
}

// Opens the directory and checks the peak of the resident set.
void ExpectRefusedCheaply(const std::string& directory, const std::string& reason) {
  std::ofstream("/proc/self/clear_refs") << "5";  // The peak starts again from here.
  const int64_t before = StatusKib("VmRSS");
  const absl::Status status = OpenModel(directory).status();
  const int64_t peak = StatusKib("VmHWM");
  EXPECT_EQ(LoadErrorReason(status), reason) << status;
  ASSERT_GT(before, 0);
  EXPECT_LE(peak - before, kAllowedKib);
}

// `head`, as many `part`s as fit, and nothing that would end it.
std::string DirectoryWithTokenizer(const std::string& head, const std::string& part,
                                   size_t bytes_max) {
  const std::string directory = TinyHf().Write();
  std::ofstream out(directory + "/tokenizer.json", std::ios::binary);
  out << head;
  for (size_t bytes = head.size(); bytes + part.size() <= bytes_max; bytes += part.size()) {
    out << part;
  }
  return directory;
}

constexpr size_t kTokenizerBytesMax = size_t{32} << 20;

TEST(HfMemoryTest, AsManyValuesAsFit) {
  ExpectRefusedCheaply(DirectoryWithTokenizer("[0", ",0", kTokenizerBytesMax), "limit");
  ExpectRefusedCheaply(DirectoryWithTokenizer("[[]", ",[]", kTokenizerBytesMax), "limit");
  ExpectRefusedCheaply(DirectoryWithTokenizer("[{}", ",{}", kTokenizerBytesMax), "limit");
}

TEST(HfMemoryTest, OneTextAsLongAsTheFile) {
  ExpectRefusedCheaply(DirectoryWithTokenizer("{\"", std::string(4096, 'a'), kTokenizerBytesMax),
                       "json");
}

TEST(HfMemoryTest, AsManyTokensAsFit) {
  // Up to 26 bytes and two values each, below both limits.
  std::string text = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0";
  for (int i = 1; i < 1'100'000; ++i) absl::StrAppend(&text, ",\"0123456789", i, "\":", i);
  const std::string directory = DirectoryWithTokenizer(text + "}}}", "", 0);
  text = std::string();
  ExpectRefusedCheaply(directory, "vocab");
}

TEST(HfMemoryTest, AnEmbeddingOfMillionsOfRows) {
  HfBuilder builder = TinyHf();
  constexpr int64_t kRows = 1 << 22;
  builder.config["vocab_size"] = kRows;
  builder.config["hidden_size"] = 1;
  builder.config["head_dim"] = 2;
  for (HfTensorDraft& tensor : builder.tensors) {
    for (int64_t& dim : tensor.shape) {
      if (dim == 32) dim = 1;
      if (dim == 16) dim = 2;
      if (dim == kTinyHfVocab) dim = kRows;
    }
    if (tensor.name.find("q_proj") != std::string::npos) tensor.shape = {4, 1};
    if (tensor.name.find("o_proj") != std::string::npos) tensor.shape = {1, 4};
    tensor = FloatsDraft(tensor.name, tensor.shape, 0);
  }
  const std::string directory = builder.Write();
  builder = HfBuilder();
  ExpectRefusedCheaply(directory, "limit");
}

TEST(HfMemoryTest, AHeaderFullOfValues) {
  std::string header = "{\"a\":[0";
  while (header.size() < size_t{15} << 20) header += ",0";
  const uint64_t length = header.size();
  HfBuilder builder = TinyHf();
  builder.files["model.safetensors"] =
      std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header;
  const std::string directory = builder.Write();
  builder = HfBuilder();
  ExpectRefusedCheaply(directory, "limit");
}

}  // namespace
}  // namespace ebb::model
