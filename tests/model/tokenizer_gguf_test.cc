#include "model/tokenizer_gguf.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/gguf.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"
#include "tests/model/tokenizer_data.h"

namespace ebb::model {
namespace {

// A file that holds SmallData().
GgufBuilder SmallFile() {
  const TokenizerData data = SmallData();
  GgufBuilder builder;
  builder.SetString("tokenizer.ggml.model", data.model);
  builder.SetString("tokenizer.ggml.pre", data.pre);
  builder.SetStringArray("tokenizer.ggml.tokens", data.tokens);
  builder.SetArray("tokenizer.ggml.token_type", GgufType::kInt32, data.token_types);
  builder.SetStringArray("tokenizer.ggml.merges", data.merges);
  builder.SetUint32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*data.bos_id));
  builder.SetUint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(*data.eos_id));
  return builder;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const GgufBuilder& builder) {
  const auto file = GgufFile::Read(std::make_unique<MemorySource>(builder.Build()));
  if (!file.ok()) return file.status();
  const auto data = TokenizerDataFromGguf(**file);
  if (!data.ok()) return data.status();
  return Tokenizer::Create(*data);
}

TEST(TokenizerGgufTest, ReadsWhatTheFileSays) {
  GgufBuilder builder = SmallFile();
  builder.SetUint32("tokenizer.ggml.padding_token_id", 7);
  builder.SetUint32("tokenizer.ggml.eot_token_id", 9);
  builder.SetBool("tokenizer.ggml.add_bos_token", true);
  const auto tokenizer = Load(builder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocabulary_size(), 262);
  EXPECT_EQ(*(*tokenizer)->Encode("hello<|im_end|>", true), std::vector<int32_t>({259, 261}));
  EXPECT_EQ((*tokenizer)->bos_id(), 260);
  EXPECT_EQ((*tokenizer)->eos_id(), 261);
  EXPECT_EQ((*tokenizer)->eos_ids(), std::vector<int32_t>({9, 261}));
  EXPECT_EQ((*tokenizer)->pad_id(), 7);
  EXPECT_TRUE((*tokenizer)->add_bos());
}

struct HostileFile {
  const char* name;
  std::function<void(GgufBuilder*)> spoil;
  absl::StatusCode code;
  const char* reason;
  const char* message;  // A part of it.
};

TEST(TokenizerGgufTest, HostileFilesAreRefused) {
  constexpr auto kMissing = absl::StatusCode::kNotFound;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;
  const std::string key = "tokenizer.ggml.";
  const HostileFile cases[] = {
      {"no model", [&](auto* f) { f->Erase(key + "model"); }, kMissing, "missing_key", "model"},
      {"no pre", [&](auto* f) { f->Erase(key + "pre"); }, kMissing, "missing_key", "pre"},
      {"no tokens", [&](auto* f) { f->Erase(key + "tokens"); }, kMissing, "missing_key", "tokens"},
      {"no types", [&](auto* f) { f->Erase(key + "token_type"); }, kMissing, "missing_key", "type"},
      {"no merges", [&](auto* f) { f->Erase(key + "merges"); }, kMissing, "missing_key", "merges"},
      {"other model", [&](auto* f) { f->SetString(key + "model", "llama"); }, kUnsupported,
       "unsupported", "'llama'"},
      {"model with no other key",
       [&](auto* f) {
         *f = GgufBuilder();
         f->SetString(key + "model", "rwkv\n\x01");
       },
       kUnsupported, "unsupported", "'rwkv\\n\\x01'"},
      {"other pre", [&](auto* f) { f->SetString(key + "pre", "default"); }, kUnsupported,
       "unsupported", "'default'"},
      {"tokens are numbers",
       [&](auto* f) { f->SetArray(key + "tokens", GgufType::kInt32, std::vector<int32_t>(262)); },
       kInvalid, "type", "tokens"},
      {"types are bytes",
       [&](auto* f) {
         f->SetArray(key + "token_type", GgufType::kUint8, std::vector<uint8_t>(262, 1));
       },
       kInvalid, "type", "token_type"},
      {"types too few",
       [&](auto* f) {
         f->SetArray(key + "token_type", GgufType::kInt32, std::vector<int32_t>(3, 1));
       },
       kInvalid, "vocab_type", "3 token types"},
      {"bos is text", [&](auto* f) { f->SetString(key + "bos_token_id", "1"); }, kInvalid, "type",
       "bos_token_id"},
      {"bos is -1", [&](auto* f) { f->SetInt32(key + "bos_token_id", -1); }, kInvalid, "type",
       "bos_token_id"},
      {"eos is 2^32 - 1", [&](auto* f) { f->SetUint32(key + "eos_token_id", 4294967295u); },
       kInvalid, "special", "4294967295"},
      {"add_bos is a number", [&](auto* f) { f->SetUint32(key + "add_bos_token", 1); }, kInvalid,
       "type", "add_bos_token"},
  };
  for (const HostileFile& hostile : cases) {
    GgufBuilder builder = SmallFile();
    hostile.spoil(&builder);
    const absl::Status status = Load(builder).status();
    EXPECT_EQ(status.code(), hostile.code) << hostile.name << ": " << status;
    EXPECT_EQ(LoadErrorReason(status), hostile.reason) << hostile.name << ": " << status;
    EXPECT_NE(status.message().find(hostile.message), absl::string_view::npos)
        << hostile.name << ": " << status;
  }
}

}  // namespace
}  // namespace ebb::model
