#include "model/detokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/utf8.h"
#include "tests/model/seed.h"
#include "tests/model/tokenizer_data.h"

namespace ebb::model {
namespace {

constexpr int32_t kStart = 260;

std::unique_ptr<const Tokenizer> Make() {
  auto tokenizer = Tokenizer::Create(SmallData());
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

TEST(DetokenizerTest, NeverGivesHalfACharacter) {
  const auto tokenizer = Make();
  DetokenizeStream stream(tokenizer.get(), /*skip_control=*/true);
  EXPECT_EQ(stream.Add(0xF0), "");
  EXPECT_EQ(stream.Add(0x9F), "");
  EXPECT_EQ(stream.Add(kStart), "");  // Skipped: it parts nothing.
  EXPECT_EQ(stream.Add(0xA6), "");
  EXPECT_EQ(stream.Add(0x99), "🦙");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(DetokenizerTest, InvalidBytesAreReplacedAsSoonAsTheyAreKnown) {
  const auto tokenizer = Make();
  DetokenizeStream stream(tokenizer.get(), /*skip_control=*/false);
  EXPECT_EQ(stream.Add(0xFF), "\uFFFD");
  EXPECT_EQ(stream.Add(0xE4), "");
  EXPECT_EQ(stream.Add(0xB8), "");
  EXPECT_EQ(stream.Add(kStart), "\uFFFD<|im_start|>");
  EXPECT_EQ(stream.Add(0xC3), "");
  EXPECT_EQ(stream.Add(0xC3), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(DetokenizerTest, IdsOutsideTheVocabularyAreRefused) {
  const auto tokenizer = Make();
  for (const int32_t id : {-1, 262, INT32_MAX}) {
    EXPECT_EQ(Detokenize(*tokenizer, {'a', id}, true).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(*Detokenize(*tokenizer, {'a', kStart, 'b'}, true), "ab");
  EXPECT_EQ(*Detokenize(*tokenizer, {'a', kStart, 'b'}, false), "a<|im_start|>b");
}

// Bytes that are often parts of characters.
std::string RandomBytes(base::Rng* rng) {
  static const char* const kPieces[] = {"a",        "é",        "世",           "🦙", "\x80",
                                        "\xC3",     "\xE4\xB8", "\xF0\x9F\xA6", "\xFF", "\xED\xA0",
                                        "\xF4\x90", "\xE0",     "\xC0\x80"};
  std::string bytes;
  for (int64_t i = rng->Between(0, 12); i > 0; --i) {
    const std::string piece = kPieces[rng->Between(0, std::size(kPieces) - 1)];
    bytes += piece.substr(0, static_cast<size_t>(rng->Between(1, 4)));
  }
  return bytes;
}

TEST(DetokenizerTest, AnySplitGivesWholeCharactersAndTheSameText) {
  base::Rng rng(TestSeed(3));
  for (int i = 0; i < 5000; ++i) {
    const std::string bytes = RandomBytes(&rng);
    Utf8Stream whole;
    std::string expected = whole.Add(bytes);
    expected += whole.Finish();
    if (FindInvalidUtf8(bytes) == absl::string_view::npos) {
      EXPECT_EQ(expected, bytes);
    }
    Utf8Stream stream;
    std::string text;
    for (size_t at = 0; at < bytes.size();) {
      const auto piece_bytes = static_cast<size_t>(rng.Between(1, 5));
      const std::string out = stream.Add(absl::string_view(bytes).substr(at, piece_bytes));
      EXPECT_EQ(FindInvalidUtf8(out), absl::string_view::npos);
      text += out;
      at += piece_bytes;
    }
    EXPECT_EQ(text + stream.Finish(), expected);
  }
}

}  // namespace
}  // namespace ebb::model
