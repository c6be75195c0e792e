#include "model/tokenizer_hf.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "gtest/gtest.h"
#include "model/file_writer.h"
#include "model/tokenizer_hf_write.h"
#include "nlohmann/json.hpp"
#include "tests/model/golden.h"
#include "tests/model/smollm_tokenizer.h"

namespace ebb::model {
namespace {

using Ids = std::vector<int32_t>;

std::string NewDirectory() {
  std::string path = testing::TempDir() + "/tokenizer_XXXXXX";
  CHECK(mkdtemp(path.data()) != nullptr) << path;
  return path;
}

std::unique_ptr<const Tokenizer> MustRead(const std::string& directory, int32_t vocab) {
  const auto data = TokenizerDataFromHf(directory, vocab);
  CHECK_OK(data.status());
  auto tokenizer = Tokenizer::Create(*data);
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

// Small tokenizers that Hugging Face's library made (tests/golden/make_tokenizer_hf_golden.py).
class TokenizerHfTest : public testing::TestWithParam<const char*> {
 protected:
  static constexpr int32_t kVocab = 720;  // More rows than tokens.
  const std::string directory_ = std::string("tests/golden/tokenizer_hf/") + GetParam();
};

void ExpectGoldenIds(const Tokenizer& tokenizer, const std::string& directory) {
  const auto cases = ReadGoldenLines(directory + "/cases.jsonl");
  ASSERT_GE(cases.size(), 100u);
  for (const auto& item : cases) {
    const std::string text = item["text"];
    Ids with_special;
    if (tokenizer.add_bos()) with_special.push_back(*tokenizer.bos_id());
    const auto ids = tokenizer.Encode(text, /*parse_special=*/true);
    ASSERT_TRUE(ids.ok()) << ids.status();
    with_special.insert(with_special.end(), ids->begin(), ids->end());
    EXPECT_EQ(with_special, item["ids"].get<Ids>()) << item.dump();
    EXPECT_EQ(*tokenizer.Encode(text, /*parse_special=*/false), item["plain_ids"].get<Ids>())
        << item.dump();
  }
}

TEST_P(TokenizerHfTest, IdsAreThoseOfHuggingFace) {
  const auto tokenizer = MustRead(directory_, kVocab);
  EXPECT_EQ(tokenizer->vocabulary_size(), kVocab);
  EXPECT_EQ(tokenizer->eos_ids(), Ids({1}));
  EXPECT_EQ(tokenizer->add_bos(), std::string(GetParam()) == "llama3");
  ExpectGoldenIds(*tokenizer, directory_);
}

TEST_P(TokenizerHfTest, WrittenAndReadAgainItGivesTheSameIds) {
  const auto data = TokenizerDataFromHf(directory_, kVocab);
  ASSERT_TRUE(data.ok()) << data.status();
  const auto text = TokenizerJsonText(*data);
  ASSERT_TRUE(text.ok()) << text.status();
  const std::string directory = NewDirectory();
  CHECK_OK(WriteNewFile(directory + "/tokenizer.json", *text));
  ExpectGoldenIds(*MustRead(directory, kVocab), directory_);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerHfTest, testing::Values("gpt2", "smollm", "llama3", "qwen2"),
                         [](const auto& info) { return std::string(info.param); });

// The real model's vocabulary, 49,152 tokens.
TEST(TokenizerHfTest, SmolLmWrittenAndReadAgain) {
  const auto data = TokenizerDataFromGguf(*OpenSmolLm());
  ASSERT_TRUE(data.ok()) << data.status();
  const auto text = TokenizerJsonText(*data);
  ASSERT_TRUE(text.ok()) << text.status();
  const std::string directory = NewDirectory();
  CHECK_OK(WriteNewFile(directory + "/tokenizer.json", *text));
  const auto tokenizer = MustRead(directory, 49152);
  int compared = 0;
  for (const auto& item : ReadGoldenLines("tests/golden/tokenizer_smollm.jsonl")) {
    EXPECT_EQ(*tokenizer->Encode(item["text"].get<std::string>(), /*parse_special=*/false),
              item["ids"].get<Ids>());
    ++compared;
  }
  EXPECT_GE(compared, 2000);
}

// A directory with a golden tokenizer.json and other files beside it.
std::string DirectoryWith(const std::string& tokenizer_config, const std::string& generation) {
  const std::string directory = NewDirectory();
  CHECK_OK(WriteNewFile(directory + "/tokenizer.json",
                        ReadGolden("tests/golden/tokenizer_hf/llama3/tokenizer.json")));
  CHECK_OK(WriteNewFile(directory + "/tokenizer_config.json", tokenizer_config));
  if (!generation.empty()) {
    CHECK_OK(WriteNewFile(directory + "/generation_config.json", generation));
  }
  return directory;
}

TEST(TokenizerHfTest, WhatEndsAnAnswer) {
  // <|im_end|>, id 1, ends a turn whatever the files say.
  EXPECT_EQ(MustRead(DirectoryWith("{}", "{\"eos_token_id\": 5}"), 720)->eos_ids(), Ids({1, 5}));
  EXPECT_EQ(MustRead(DirectoryWith("{}", "{\"eos_token_id\": [7, 5]}"), 720)->eos_ids(),
            Ids({1, 5, 7}));
  const std::string with_eos = "{\"eos_token\": {\"content\": \"<|begin_of_text|>\"}}";
  EXPECT_EQ(MustRead(DirectoryWith(with_eos, "{\"eos_token_id\": 5}"), 720)->eos_ids(),
            Ids({1, 5, 706}));
  EXPECT_EQ(MustRead(DirectoryWith(with_eos, ""), 720)->eos_id(), 706);
}

TEST(TokenizerHfTest, AddBosTokenGoesBeforeThePostProcessor) {
  const std::string bos = "\"bos_token\": \"<|begin_of_text|>\"";
  const auto adds = [&](const std::string& config) {
    return MustRead(DirectoryWith("{" + config + "}", ""), 720)->add_bos();
  };
  EXPECT_TRUE(adds(bos));
  EXPECT_TRUE(adds(""));  // The template knows the token itself.
  EXPECT_FALSE(adds(bos + ", \"add_bos_token\": false"));
  EXPECT_TRUE(adds(bos + ", \"add_bos_token\": true"));
}

TEST(TokenizerHfTest, IdsWithoutATextAreUnused) {
  const auto data = TokenizerDataFromHf("tests/golden/tokenizer_hf/gpt2", 720);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->token_types[719], static_cast<int32_t>(TokenType::kUnused));
  EXPECT_EQ(data->token_types[700], static_cast<int32_t>(TokenType::kUserDefined));
  // An embedding with fewer rows than tokens cannot be.
  EXPECT_FALSE(TokenizerDataFromHf("tests/golden/tokenizer_hf/gpt2", 700).ok());
}

TEST(TokenizerHfTest, PatternsAndNamesAgree) {
  for (const char* pre : {"gpt2", "llama-bpe", "qwen2"}) {
    EXPECT_EQ(PretokenizerOfRegex(RegexOfPretokenizer(pre)), pre);
  }
  EXPECT_EQ(PretokenizerOfRegex(".*"), "");
  EXPECT_EQ(RegexOfPretokenizer("smollm"), "");
}

}  // namespace
}  // namespace ebb::model
