// Token ids equal those of Hugging Face's tokenizer; see tests/golden/make_tokenizer_golden.py.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/detokenizer.h"
#include "model/pretokenizer.h"
#include "model/tokenizer.h"
#include "tests/model/golden.h"
#include "tests/model/smollm_tokenizer.h"

namespace ebb::model {
namespace {

using Ids = std::vector<int32_t>;

TEST(TokenizerGoldenTest, SmolLmIdsAreThoseOfHuggingFace) {
  const auto tokenizer = SmolLmTokenizer();
  const auto cases = ReadGoldenLines("tests/golden/tokenizer_smollm.jsonl");
  ASSERT_GE(cases.size(), 2000u);
  for (const auto& item : cases) {
    const std::string text = item["text"];
    const Ids plain = item["ids"];
    const Ids special = item.value("special_ids", plain);
    auto ids = tokenizer->Encode(text, /*parse_special=*/false);
    ASSERT_TRUE(ids.ok()) << ids.status() << " in " << item.dump();
    EXPECT_EQ(*ids, plain) << item.dump();
    ids = tokenizer->Encode(text, /*parse_special=*/true);
    ASSERT_TRUE(ids.ok()) << ids.status() << " in " << item.dump();
    EXPECT_EQ(*ids, special) << item.dump();
  }
}

// A megabyte without a place to cut it, of which every pair might merge: what took time by the
// square of the length would not be done before the test's limit.
TEST(TokenizerGoldenTest, LongTextsTakeLinearTime) {
  const auto tokenizer = SmolLmTokenizer();
  for (const std::string part :
       {"a", " ", "\n", "ab", "\xC3\xA9", "=", " \t", "the", "\xF0\x9F\x98\x80"}) {
    std::string text;
    while (text.size() < size_t{1} << 20) text += part;
    const auto ids = tokenizer->Encode(text, /*parse_special=*/false);
    ASSERT_TRUE(ids.ok()) << ids.status();
    size_t bytes = 0;
    for (const int32_t id : *ids) bytes += tokenizer->TokenBytes(id).size();
    EXPECT_EQ(bytes, text.size()) << part;
  }
}

TEST(TokenizerGoldenTest, SmolLmTextIsThatOfHuggingFace) {
  const auto tokenizer = SmolLmTokenizer();
  const auto cases = ReadGoldenLines("tests/golden/detokenizer_smollm.jsonl");
  ASSERT_GE(cases.size(), 300u);
  for (const auto& item : cases) {
    const Ids ids = item["ids"];
    EXPECT_EQ(*Detokenize(*tokenizer, ids, /*skip_control=*/true), item["text"]) << item.dump();
    EXPECT_EQ(*Detokenize(*tokenizer, ids, /*skip_control=*/false), item["with_control"])
        << item.dump();
  }
}

TEST(TokenizerGoldenTest, SmolLmSpecialTokens) {
  const auto tokenizer = SmolLmTokenizer();
  EXPECT_EQ(tokenizer->vocabulary_size(), 49152);
  EXPECT_EQ(tokenizer->eos_ids(), Ids({2}));
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_TRUE(tokenizer->IsControl(0));
  EXPECT_FALSE(tokenizer->IsControl(17));
}

class SmallVocabularyTest : public testing::TestWithParam<std::string> {};

TEST_P(SmallVocabularyTest, IdsAreThoseOfHuggingFace) {
  const auto golden =
      nlohmann::json::parse(ReadGolden("tests/golden/tokenizer_small.json")).at(GetParam());
  TokenizerData data;
  data.model = "gpt2";
  data.pre = GetParam();
  data.tokens = golden["tokens"].get<std::vector<std::string>>();
  data.merges = golden["merges"].get<std::vector<std::string>>();
  for (const std::string& token : data.tokens) {
    const bool control = token == "<|im_start|>" || token == "<|im_end|>";
    data.token_types.push_back(
        static_cast<int32_t>(control ? TokenType::kControl : TokenType::kNormal));
  }
  data.add_bos = false;
  const auto tokenizer = Tokenizer::Create(data);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto pretokenizer = Pretokenizer::Create(GetParam());
  ASSERT_TRUE(pretokenizer.ok()) << pretokenizer.status();
  ASSERT_GE(golden["cases"].size(), 300u);
  for (const auto& item : golden["cases"]) {
    const std::string text = item["text"];
    std::vector<size_t> piece_bytes;
    ASSERT_TRUE(
        pretokenizer
            ->Split(text, [&](absl::string_view piece) { piece_bytes.push_back(piece.size()); })
            .ok());
    EXPECT_EQ(piece_bytes, item["piece_bytes"].get<std::vector<size_t>>()) << item.dump();
    EXPECT_EQ(*(*tokenizer)->Encode(text, false), item["ids"].get<Ids>()) << item.dump();
    EXPECT_EQ(*(*tokenizer)->Encode(text, true), item["special_ids"].get<Ids>()) << item.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(All, SmallVocabularyTest,
                         testing::Values("gpt2", "smollm", "llama-bpe", "qwen2"),
                         [](const auto& info) {
                           return info.param == "llama-bpe" ? "llama_bpe" : info.param;
                         });

}  // namespace
}  // namespace ebb::model
