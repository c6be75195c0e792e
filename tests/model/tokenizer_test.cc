#include "model/tokenizer.h"

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/load_error.h"
#include "tests/model/seed.h"
#include "tests/model/tokenizer_data.h"

namespace ebb::model {
namespace {

using Ids = std::vector<int32_t>;

constexpr int32_t kHel = 257;
constexpr int32_t kLo = 258;
constexpr int32_t kHello = 259;
constexpr int32_t kStart = 260;
constexpr int32_t kEnd = 261;

std::unique_ptr<const Tokenizer> Make(const TokenizerData& data) {
  auto tokenizer = Tokenizer::Create(data);
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

std::string Decoded(const Tokenizer& tokenizer, const Ids& ids) {
  std::string bytes;
  for (const int32_t id : ids) absl::StrAppend(&bytes, tokenizer.TokenBytes(id));
  return bytes;
}

TEST(TokenizerTest, MergesByRank) {
  const auto tokenizer = Make(SmallData());
  EXPECT_EQ(*tokenizer->Encode("hello", false), Ids({kHello}));
  EXPECT_EQ(*tokenizer->Encode("hel", false), Ids({kHel}));
  // "l o" comes before "he l", so the second l is gone when "he" looks for it.
  EXPECT_EQ(*tokenizer->Encode("helo", false), Ids({256, kLo}));
  EXPECT_EQ(*tokenizer->Encode("", false), Ids());
  EXPECT_EQ(*tokenizer->Encode(absl::string_view("a\0b", 3), false), Ids({'a', 0, 'b'}));
  EXPECT_EQ(tokenizer->longest_token_bytes(), 12u);
}

TEST(TokenizerTest, ControlTokensAreParsedOnlyWhenAsked) {
  const auto tokenizer = Make(SmallData());
  EXPECT_EQ(*tokenizer->Encode("<|im_start|>hello<|im_end|>", true), Ids({kStart, kHello, kEnd}));
  const auto plain = tokenizer->Encode("<|im_start|>hello<|im_end|>", false);
  ASSERT_TRUE(plain.ok());
  for (const int32_t id : *plain) EXPECT_FALSE(tokenizer->IsControl(id));
  EXPECT_EQ(Decoded(*tokenizer, *plain), "<|im_start|>hello<|im_end|>");
}

TEST(TokenizerTest, ControlTokensInSegmentsComeFromTheTemplateAlone) {
  const auto tokenizer = Make(SmallData());
  const auto encode = [&](const std::vector<TextSegment>& segments) {
    return *tokenizer->EncodeSegments(segments);
  };
  EXPECT_EQ(encode({{"<|im_start|>", true}, {"hello", false}, {"<|im_end|>", true}}),
            Ids({kStart, kHello, kEnd}));
  EXPECT_EQ(encode({{"<|im_", true}, {"start|>", true}}), Ids({kStart}));
  // Forged as a whole, from one end or from the other.
  for (const auto& forged :
       std::vector<std::vector<TextSegment>>{{{"<|im_end|>", false}},
                                             {{"<|im_", true}, {"end|>", false}},
                                             {{"<|im_", false}, {"end|>", true}},
                                             {{"<|im_end|", true}, {">", false}},
                                             {{"<", false}, {"|im_end|>", true}}}) {
    const Ids ids = encode(forged);
    for (const int32_t id : ids) EXPECT_FALSE(tokenizer->IsControl(id));
    EXPECT_EQ(Decoded(*tokenizer, ids), "<|im_end|>");
  }
  // Pieces cross the borders of segments.
  EXPECT_EQ(encode({{"he", true}, {"l", false}, {"", true}, {"lo", true}}), Ids({kHello}));
  EXPECT_EQ(encode({}), Ids());
}

TEST(TokenizerTest, UserDefinedTokensAreTextAnywhereAndTheLongestWins) {
  TokenizerData data = SmallData();
  const int32_t tool = AddToken(&data, "<tool>", TokenType::kUserDefined);
  const int32_t tools = AddToken(&data, "<tool><tool>", TokenType::kUserDefined);
  const auto tokenizer = Make(data);
  EXPECT_EQ(*tokenizer->Encode("<tool><tool><tool>", false), Ids({tools, tool}));
  EXPECT_EQ(*tokenizer->Encode("a<tool>", true), Ids({'a', tool}));
  EXPECT_FALSE(tokenizer->IsControl(tool));
}

TEST(TokenizerTest, BytesWithoutATokenAreLeftOut) {
  TokenizerData data = SmallData();
  data.tokens['z'] = "zz";  // No merge makes it.
  const auto tokenizer = Make(data);
  EXPECT_EQ(*tokenizer->Encode("hezllo", false), Ids({kHello}));
}

TEST(TokenizerTest, TextIsCheckedBeforeItIsEncoded) {
  const auto tokenizer = Make(SmallData());
  for (const char* text : {"\xff", "ab\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_EQ(tokenizer->Encode(text, false).status().code(), absl::StatusCode::kInvalidArgument);
    // Split over segments, a character is whole again; half of one alone is not.
    EXPECT_FALSE(tokenizer->EncodeSegments({{"a", true}, {text, false}}).ok());
  }
  EXPECT_TRUE(tokenizer->EncodeSegments({{"\xc3", true}, {"\xa9", false}}).ok());
  const std::string too_long(Tokenizer::kTextBytesMax + 1, 'a');
  EXPECT_EQ(tokenizer->Encode(too_long, false).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenizerTest, EndsOfTurnEndAnswers) {
  TokenizerData data = SmallData();
  const int32_t eot = AddToken(&data, "<|eot_id|>", TokenType::kControl);
  AddToken(&data, "<|end|>", TokenType::kNormal);  // Spelled so, but a token of text.
  const int32_t other = AddToken(&data, "<stop>", TokenType::kControl);
  data.eot_id = other;
  EXPECT_EQ(Make(data)->eos_ids(), Ids({kEnd, eot, other}));
}

TEST(TokenizerTest, BosIsAddedWhereTheFileOrTheKindSaysSo) {
  TokenizerData data = SmallData();
  EXPECT_FALSE(Make(data)->add_bos());
  data.pre = "llama-bpe";
  EXPECT_TRUE(Make(data)->add_bos());
  data.add_bos = false;
  EXPECT_FALSE(Make(data)->add_bos());
}

TEST(TokenizerTest, WholePiecesGoBeforeMergesInLlama3Only) {
  TokenizerData data = SmallData();
  const int32_t abc = AddToken(&data, "abc", TokenType::kNormal);
  EXPECT_EQ(*Make(data)->Encode("abc", false), Ids({'a', 'b', 'c'}));
  data.pre = "llama-bpe";
  EXPECT_EQ(*Make(data)->Encode("abc", false), Ids({abc}));
  // But never a control token.
  data.token_types[abc] = static_cast<int32_t>(TokenType::kControl);
  EXPECT_EQ(*Make(data)->Encode("abc", false), Ids({'a', 'b', 'c'}));
}

TEST(TokenizerTest, TokensOutsideTheByteAlphabetAreTheirText) {
  TokenizerData data = SmallData();
  const int32_t raw = AddToken(&data, "a b 世", TokenType::kNormal);
  const auto tokenizer = Make(data);
  EXPECT_EQ(tokenizer->TokenBytes(raw), "a b 世");
  EXPECT_EQ(tokenizer->TokenBytes(0xFF), "\xFF");
}

struct HostileCase {
  const char* name;
  std::function<void(TokenizerData*)> spoil;
  const char* reason;
  const char* message;  // A part of it.
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

TEST(TokenizerTest, HostileVocabulariesAreRefused) {
  const HostileCase cases[] = {
      {"no tokens", [](auto* d) { d->tokens.clear(), d->token_types.clear(); }, "vocab",
       "no tokens"},
      {"types missing", [](auto* d) { d->token_types.clear(); }, "vocab_type", "0 token types"},
      {"types too few", [](auto* d) { d->token_types.pop_back(); }, "vocab_type",
       "261 token types"},
      {"type 0", [](auto* d) { d->token_types[7] = 0; }, "vocab_type", "token 7 has type 0"},
      {"type byte", [](auto* d) { d->token_types[7] = 6; }, "vocab_type", "token 7 has type 6"},
      {"empty token", [](auto* d) { d->tokens[9] = ""; }, "token", "token 9 is empty"},
      {"long token", [](auto* d) { d->tokens[9] = std::string(5000, 'x'); }, "token", "5000 bytes"},
      {"bad UTF-8", [](auto* d) { d->tokens[9] = "\xff"; }, "token", "token 9 is not UTF-8"},
      {"same tokens", [](auto* d) { d->tokens[9] = "hello"; }, "token", "9 and 259 are the same"},
      {"no space", [](auto* d) { d->merges[1] = "lo"; }, "merge", "merge 1 'lo'"},
      {"two spaces", [](auto* d) { d->merges[1] = "l  o"; }, "merge", "one space"},
      {"no left half", [](auto* d) { d->merges[1] = " lo"; }, "merge", "one space"},
      {"no right half", [](auto* d) { d->merges[1] = "lo "; }, "merge", "one space"},
      {"empty merge", [](auto* d) { d->merges[1] = ""; }, "merge", "merge 1 ''"},
      {"unknown half", [](auto* d) { d->merges[1] = "l xy"; }, "merge", "takes 'xy'"},
      {"unknown result", [](auto* d) { d->merges[1] = "l l"; }, "merge", "makes 'll'"},
      {"merge twice", [](auto* d) { d->merges[2] = "h e"; }, "merge",
       "merge 2 'h e' is there twice"},
      {"merge to control", [](auto* d) { d->token_types[258] = 3; }, "merge",
       "not a token of text"},
      {"too many merges", [](auto* d) { d->merges.resize(5'000'000, "h e"); }, "merge",
       "there are 5000000 merges"},
      {"bos at the end", [](auto* d) { d->bos_id = 262; }, "special", "bos token's id is 262"},
      {"eos negative", [](auto* d) { d->eos_id = -1; }, "special", "eos token's id is -1"},
      {"pad huge", [](auto* d) { d->pad_id = 4294967295; }, "special", "id is 4294967295"},
      {"eot out", [](auto* d) { d->eot_id = 1000; }, "special", "eot"},
      {"eom out", [](auto* d) { d->eom_id = 1000; }, "special", "eom"},
      {"unknown out", [](auto* d) { d->unknown_id = 1000; }, "special", "unknown"},
      {"bos missing", [](auto* d) { d->add_bos = true, d->bos_id.reset(); }, "special", "bos"},
      {"other model", [](auto* d) { d->model = "llama"; }, "unsupported", "'llama'",
       absl::StatusCode::kUnimplemented},
      {"other pre", [](auto* d) { d->pre = "tekken"; }, "unsupported", "'tekken'",
       absl::StatusCode::kUnimplemented},
      {"odd pre", [](auto* d) { d->pre = "a\n\xff"; }, "unsupported", "'a\\n\\xff'",
       absl::StatusCode::kUnimplemented},
      {"no pre", [](auto* d) { d->pre = ""; }, "unsupported", "''",
       absl::StatusCode::kUnimplemented},
  };
  for (const HostileCase& hostile : cases) {
    TokenizerData data = SmallData();
    hostile.spoil(&data);
    const absl::Status status = Tokenizer::Create(data).status();
    EXPECT_EQ(status.code(), hostile.code) << hostile.name << ": " << status;
    EXPECT_EQ(LoadErrorReason(status), hostile.reason) << hostile.name << ": " << status;
    EXPECT_NE(status.message().find(hostile.message), absl::string_view::npos)
        << hostile.name << ": " << status;
  }
}

// Text from pieces that matter to tokenizers, cut anywhere between characters.
std::string RandomText(base::Rng* rng) {
  static const char* const kPieces[] = {
      "<|im_start|>", "<|im_end|>", "<|", "|>", "hello", "he", "lo", " ", "\n", "é",
      "世界",         "🦙",       "1",  "23", "'s",    "!",  "\t"};
  std::string text;
  for (int64_t i = rng->Between(0, 12); i > 0; --i) {
    text += kPieces[rng->Between(0, std::size(kPieces) - 1)];
  }
  return text;
}

TEST(TokenizerTest, RandomTextComesBackAndForgesNothing) {
  base::Rng rng(TestSeed(1));
  for (const char* pre : {"gpt2", "smollm", "llama-bpe", "qwen2"}) {
    TokenizerData data = SmallData();
    data.pre = pre;
    const auto tokenizer = Make(data);
    for (int i = 0; i < 500; ++i) {
      const std::string text = RandomText(&rng);
      EXPECT_EQ(Decoded(*tokenizer, *tokenizer->Encode(text, true)), text);
      const Ids plain = *tokenizer->Encode(text, false);
      EXPECT_EQ(Decoded(*tokenizer, plain), text);
      EXPECT_EQ(*tokenizer->EncodeSegments({{text, false}}), plain);
      EXPECT_EQ(*tokenizer->EncodeSegments({{text, true}}), *tokenizer->Encode(text, true));
      for (const int32_t id : plain) EXPECT_FALSE(tokenizer->IsControl(id)) << text;
    }
  }
}

TEST(TokenizerTest, ThreadsShareOneTokenizer) {
  TokenizerData data = SmallData();
  data.pre = "smollm";
  const auto tokenizer = Make(data);
  base::Rng rng(TestSeed(2));
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 100; ++i) {
    texts.push_back(RandomText(&rng));
    expected.push_back(*tokenizer->Encode(texts.back(), true));
  }
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(*tokenizer->Encode(texts[i], true), expected[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The worst texts that we know of. Anything quadratic takes minutes here.
TEST(TokenizerTest, HostileTextsTakeLinearTime) {
  TokenizerData data = SmallData();
  for (int bytes = 2; bytes <= 512; bytes *= 2) {
    for (const std::string& letter : {std::string("a"), ByteLetter(' '), ByteLetter('\n')}) {
      std::string half;
      for (int i = 0; i < bytes / 2; ++i) half += letter;
      AddToken(&data, half + half, TokenType::kNormal);
      data.merges.push_back(half + " " + half);
    }
  }
  const std::string patterns[] = {"a",      " ",          "\n", "!",           "1",
                                  "<",      "<|im_start", " a", "a\n",         " \n ",
                                  "\r\n",   " \u3000",    "'",  "e\u0301",     "'s",
                                  "\u00a0", "😀",          "1 ", "<|im_start|", "aA1!"};
  for (const char* pre : {"gpt2", "smollm", "llama-bpe", "qwen2"}) {
    data.pre = pre;
    const auto tokenizer = Make(data);
    for (const std::string& pattern : patterns) {
      // A mebibyte where all of it is one piece to merge, which is the same for all kinds.
      const bool whole = pattern.size() == 1 && std::string(pre) == "gpt2";
      const size_t bytes = whole ? size_t{1} << 20 : size_t{1} << 17;
      std::string text;
      while (text.size() < bytes) text += pattern;
      const absl::Time start = absl::Now();
      const auto ids = tokenizer->Encode(text + "x", /*parse_special=*/true);
      const absl::Duration taken = absl::Now() - start;
      ASSERT_TRUE(ids.ok()) << ids.status() << " " << pre << " '" << pattern << "'";
      // It takes about 0.2 s; the margin is for sanitizers and busy machines.
      EXPECT_LT(taken, absl::Seconds(10)) << pre << " '" << pattern << "'";
    }
  }
}

}  // namespace
}  // namespace ebb::model
