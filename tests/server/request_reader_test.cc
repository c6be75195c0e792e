#include "server/request_reader.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "server/text_codec_fake.h"

namespace ebb::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

RequestLimits Limits() {
  RequestLimits limits;
  limits.model_name = "fake";
  limits.context_tokens = 100;
  limits.vocabulary_tokens = FakeTextCodec::kVocabularyTokens;
  limits.max_tokens_default = 64;
  return limits;
}

class RequestReaderTest : public testing::Test {
 protected:
  absl::StatusOr<ReadRequest> Read(const v1::GenerateRequest& in) {
    return RequestReader(Limits(), &codec_).Read(in, 7);
  }
  absl::StatusOr<ReadRequest> Read(const std::string& text) {
    v1::GenerateRequest in;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &in)) << text;
    return Read(in);
  }
  void ExpectRefused(const std::string& text, absl::StatusCode code, const std::string& says) {
    const auto read = Read(text);
    EXPECT_EQ(read.status().code(), code) << text << ": " << read.status();
    EXPECT_TRUE(absl::StrContains(read.status().message(), says)) << text << read.status();
  }
  void ExpectBad(const std::string& text, const std::string& says) {
    ExpectRefused(text, absl::StatusCode::kInvalidArgument, says);
  }

  FakeTextCodec codec_;
};

TEST_F(RequestReaderTest, DefaultsAreThoseOfTheInterface) {
  const auto read = Read(R"(text: "abc")");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->request.prompt, (std::vector<int32_t>{'a', 'b', 'c'}));
  EXPECT_EQ(read->request.sampling.temperature, 1.0);
  EXPECT_EQ(read->request.sampling.top_p, 1.0);
  EXPECT_EQ(read->request.sampling.top_k, 0);
  EXPECT_EQ(read->request.sampling.min_p, 0.0);
  EXPECT_EQ(read->request.sampling.seed, 7u);
  EXPECT_EQ(read->request.sampling.repetition_penalty, 1.0);
  EXPECT_EQ(read->request.sampling.presence_penalty, 0.0);
  EXPECT_EQ(read->request.sampling.frequency_penalty, 0.0);
  EXPECT_TRUE(read->request.rules.logit_bias.empty());
  EXPECT_TRUE(read->request.rules.bad_words.empty());
  EXPECT_EQ(read->answer.echo, "");
  EXPECT_EQ(read->request.sampling.logprobs, -1);
  EXPECT_EQ(read->request.sampling.prompt_logprobs, -1);
  EXPECT_EQ(read->request.stopping.max_tokens, 64);
  EXPECT_EQ(read->request.stopping.min_tokens, 0);
  EXPECT_FALSE(read->request.stopping.ignore_eos);
  EXPECT_EQ(read->request.priority, 0);
  EXPECT_TRUE(read->answer.return_text);
  EXPECT_FALSE(read->answer.return_token_ids);
  EXPECT_FALSE(read->return_prompt_token_ids);
}

TEST_F(RequestReaderTest, EverySettingArrives) {
  const auto read = Read(R"(
      request_id: "r-1" model: "fake" token_ids { ids: 5 ids: 257 } priority: -3
      sampling { temperature: 0 top_p: 0.5 top_k: 9 min_p: 0.25 seed: 18446744073709551615
                 repetition_penalty: 1.5 presence_penalty: -2 frequency_penalty: 0.25 }
      stopping { max_tokens: 10 min_tokens: 2 stop: "x" stop_token_ids: 256 ignore_eos: true }
      output { return_text: false return_token_ids: true return_prompt_token_ids: true
               logprobs: 0 prompt_logprobs: 20 })");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->request.label, "r-1");
  EXPECT_EQ(read->request.prompt, (std::vector<int32_t>{5, 257}));
  EXPECT_EQ(read->request.priority, -3);
  EXPECT_EQ(read->request.sampling.temperature, 0.0);
  EXPECT_EQ(read->request.sampling.top_p, 0.5);
  EXPECT_EQ(read->request.sampling.top_k, 9);
  EXPECT_EQ(read->request.sampling.min_p, 0.25);
  EXPECT_EQ(read->request.sampling.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(read->request.sampling.repetition_penalty, 1.5);
  EXPECT_EQ(read->request.sampling.presence_penalty, -2.0);
  EXPECT_EQ(read->request.sampling.frequency_penalty, 0.25);
  EXPECT_EQ(read->request.sampling.logprobs, 0);
  EXPECT_EQ(read->request.sampling.prompt_logprobs, 20);
  EXPECT_EQ(read->request.stopping.max_tokens, 10);
  EXPECT_EQ(read->request.stopping.min_tokens, 2);
  EXPECT_EQ(read->answer.min_tokens, 2);
  EXPECT_EQ(read->request.stopping.stop_token_ids, (std::vector<int32_t>{256}));
  EXPECT_TRUE(read->request.stopping.ignore_eos);
  EXPECT_EQ(read->answer.stop, (std::vector<std::string>{"x"}));
  EXPECT_FALSE(read->answer.return_text);
  EXPECT_TRUE(read->answer.return_token_ids);
  EXPECT_TRUE(read->answer.return_logprobs);
  EXPECT_TRUE(read->return_prompt_token_ids);
}

TEST_F(RequestReaderTest, PromptsAreRequiredAndFit) {
  ExpectBad("", "prompt: is required");
  ExpectBad(R"(text: "")", "text: must not be empty");
  ExpectBad("token_ids {}", "token_ids.ids: must not be empty");
  ExpectBad("chat {}", "chat.messages: must not be empty");
  EXPECT_TRUE(Read(absl::StrCat("text: \"", std::string(99, 'a'), "\"")).ok());
  // By size, before tokenising, and by count.
  ExpectBad(absl::StrCat("text: \"", std::string(100, 'a'), "\""), "the context holds 100");
  codec_.prefix_id = FakeTextCodec::kBegin;
  ExpectBad(absl::StrCat("text: \"", std::string(99, 'a'), "\""),
            "text: has 100 tokens; the context holds 100");
  std::string ids = "token_ids {";
  for (int i = 0; i < 100; ++i) absl::StrAppend(&ids, " ids: 1");
  ExpectBad(ids + "}", "token_ids.ids: has 100 tokens; the context holds 100");
}

TEST_F(RequestReaderTest, MaxTokensEndsWithTheContext) {
  const auto read = Read(absl::StrCat("text: \"", std::string(90, 'a'), "\""));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->request.stopping.max_tokens, 10);
  const auto large = Read(
      absl::StrCat("text: \"", std::string(90, 'a'), "\" stopping { max_tokens: 2147483647 }"));
  ASSERT_TRUE(large.ok());
  EXPECT_EQ(large->request.stopping.max_tokens, 10);
}

TEST_F(RequestReaderTest, ControlTokensInTextAreTextUnlessAskedFor) {
  const auto plain = Read(R"(text: "<|end|>")");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->request.prompt.size(), 7u);
  const auto special = Read(R"(text: "<|end|>" parse_special: true)");
  ASSERT_TRUE(special.ok());
  EXPECT_EQ(special->request.prompt, (std::vector<int32_t>{FakeTextCodec::kEnd}));
  ExpectBad("token_ids { ids: 1 } parse_special: true", "parse_special");
  ExpectBad(R"(chat { messages { role: "user" content: "" } } parse_special: true)",
            "parse_special");
}

TEST_F(RequestReaderTest, ChatsAreChecked) {
  const auto chat = Read(R"(chat { messages { role: "user" content: "" } })");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->request.prompt.front(), FakeTextCodec::kBegin);
  ExpectBad(R"(chat { messages { content: "x" } })", "chat.messages[0].role");
  ExpectBad(R"(chat { messages { role: "critic" content: "x" } })", "chat.messages[0].role");
  ExpectBad(R"(chat { messages { role: "user" } })", "chat.messages[0].content: is required");
  std::string many = "chat {";
  for (int i = 0; i < 1025; ++i) many += R"( messages { role: "user" content: "" })";
  ExpectBad(many + "}", "chat.messages: must have at most 1024 items, got 1025");
  // Each alone fits, all together do not.
  std::string wide = "chat {";
  for (int i = 0; i < 3; ++i) {
    absl::StrAppend(&wide, " messages { role: 'user' content: '", std::string(40, 'a'), "' }");
  }
  ExpectBad(wide + "}", "chat: has 120 bytes");
  codec_.has_template = false;
  ExpectRefused(R"(chat { messages { role: "user" content: "x" } })",
                absl::StatusCode::kFailedPrecondition, "no chat template");
}

TEST_F(RequestReaderTest, NamesAreChecked) {
  ExpectBad(R"(text: "a" request_id: "")", "request_id");
  ExpectBad(R"(text: "a" request_id: "a\nb")", "request_id");
  ExpectBad(R"(text: "a" request_id: "a\x1b[0m")", "request_id");
  ExpectBad(absl::StrCat(R"(text: "a" request_id: ")", std::string(129, 'x'), "\""), "request_id");
  EXPECT_TRUE(Read(absl::StrCat(R"(text: "a" request_id: ")", std::string(128, 'x'), "\"")).ok());
  ExpectRefused(R"(text: "a" model: "../other")", absl::StatusCode::kNotFound, "\"fake\"");
  ExpectRefused(R"(text: "a" model: "")", absl::StatusCode::kNotFound, "\"fake\"");
}

TEST_F(RequestReaderTest, StopsAreChecked) {
  ExpectBad(R"(text: "a" stopping { stop: "x" stop: "" })", "stopping.stop[1]");
  ExpectBad(absl::StrCat(R"(text: "a" stopping { stop: ")", std::string(257, 'x'), "\" }"),
            "stopping.stop[0]: must have 1 to 256 bytes, got 257");
  std::string stops = R"(text: "a" stopping {)";
  for (int i = 0; i < 17; ++i) stops += R"( stop: "x")";
  ExpectBad(stops + "}", "stopping.stop: must have at most 16 items, got 17");
  std::string ids = R"(text: "a" stopping {)";
  for (int i = 0; i < 65; ++i) ids += " stop_token_ids: 1";
  ExpectBad(ids + "}", "stopping.stop_token_ids: must have at most 64 items, got 65");
}

TEST_F(RequestReaderTest, LogitBiasesAreChecked) {
  const auto read = Read(R"(text: "a" sampling { logit_bias { key: 257 value: -100 }
                            logit_bias { key: 0 value: 0.5 } })");
  ASSERT_TRUE(read.ok()) << read.status();
  const auto& biases = read->request.rules.logit_bias;
  ASSERT_EQ(biases.size(), 2u);
  EXPECT_EQ(biases[0].token_id, 0);
  EXPECT_EQ(biases[0].bias, 0.5f);
  EXPECT_EQ(biases[1].token_id, 257);
  EXPECT_EQ(biases[1].bias, -100.0f);
  for (const char* entry : {"key: 258", "key: -1", "key: 4294967301"}) {
    ExpectBad(absl::StrCat("text: 'a' sampling { logit_bias {", entry, " value: 1 } }"),
              "must be for a token id from 0 to 257");
  }
  for (const char* value : {"100.5", "-101", "inf", "nan"}) {
    ExpectBad(absl::StrCat("text: 'a' sampling { logit_bias { key: 7 value: ", value, " } }"),
              "sampling.logit_bias[7]: must be a number from -100 to 100");
  }
  v1::GenerateRequest many;
  many.set_text("a");
  for (int64_t id = 0; id < 1025; ++id) (*many.mutable_sampling()->mutable_logit_bias())[id] = 1;
  EXPECT_TRUE(absl::StrContains(Read(many).status().message(),
                                "sampling.logit_bias: must have at most 1024 items, got 1025"));
}

TEST_F(RequestReaderTest, BadWordsAreReadWithAndWithoutASpace) {
  // With a byte a token the word after a space ends with the word, so that says it all.
  const auto read = Read(R"(text: "a" sampling { bad_words: "no" bad_words: "  x" })");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->request.rules.bad_words, (std::vector<std::vector<int32_t>>{{'n', 'o'}, {'x'}}));
  ExpectBad(R"(text: "a" sampling { bad_words: "x" bad_words: "" })", "sampling.bad_words[1]");
  ExpectBad(R"(text: "a" sampling { bad_words: "  " })",
            "sampling.bad_words[0]: must be more than spaces");
  ExpectBad(absl::StrCat("text: 'a' sampling { bad_words: '", std::string(257, 'x'), "' }"),
            "sampling.bad_words[0]: must have 1 to 256 bytes, got 257");
  std::string words = "text: 'a' sampling {";
  for (int i = 0; i < 129; ++i) words += " bad_words: 'x'";
  ExpectBad(words + "}", "sampling.bad_words: must have at most 128 items, got 129");
}

TEST_F(RequestReaderTest, EchoIsThePromptsText) {
  codec_.prefix_id = FakeTextCodec::kBegin;
  const auto text = Read(R"(text: "a<|end|>" parse_special: true output { echo: true })");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->answer.echo, "a<|end|>");
  EXPECT_EQ(text->request.sampling.prompt_logprobs, -1);
  const auto ids =
      Read("token_ids { ids: 257 ids: 104 ids: 105 } output { echo: true logprobs: 2 }");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->answer.echo, "<|begin|>hi");
  EXPECT_EQ(ids->request.sampling.prompt_logprobs, 2);
  const auto own = Read("text: 'a' output { echo: true logprobs: 2 prompt_logprobs: 0 }");
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->request.sampling.prompt_logprobs, 0);
  EXPECT_EQ(Read("text: 'a' output { echo: false logprobs: 2 }")->answer.echo, "");
  ExpectBad("text: 'a' output { echo: true return_text: false }", "output.echo: needs");
  ExpectBad("chat { messages { role: 'user' content: 'x' } } output { echo: true }",
            "output.echo: is for a prompt of text or token_ids");
}

TEST_F(RequestReaderTest, MinTokensNeedsMaxTokens) {
  ExpectBad(R"(text: "a" stopping { min_tokens: 1 })", "stopping.min_tokens");
  ExpectBad(R"(text: "a" stopping { min_tokens: 5 max_tokens: 4 })", "stopping.min_tokens");
  EXPECT_TRUE(Read(R"(text: "a" stopping { min_tokens: 4 max_tokens: 4 })").ok());
  EXPECT_TRUE(Read(R"(text: "a" stopping { min_tokens: 0 })").ok());
}

TEST_F(RequestReaderTest, FieldsOfALaterInterfaceAreNotIgnored) {
  v1::GenerateRequest in;
  in.set_text("a");
  in.mutable_sampling()
      ->GetReflection()
      ->MutableUnknownFields(in.mutable_sampling())
      ->AddVarint(77, 1);
  const auto read = Read(in);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(read.status().message(), "77 of ebb.v1.Sampling")) << read.status();
}

TEST_F(RequestReaderTest, AnswersAreMadeAndReturned) {
  auto read = Read(R"(text: "abc")");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->request.n, 1);
  EXPECT_EQ(read->returned_answers, 1);
  read = Read(R"(text: "abc" output { n: 3 })");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->request.n, 3);
  EXPECT_EQ(read->returned_answers, 3);
  EXPECT_EQ(read->request.sampling.logprobs, -1);
  read = Read(R"(text: "abc" output { n: 2 best_of: 5 })");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->request.n, 5);
  EXPECT_EQ(read->returned_answers, 2);
  EXPECT_EQ(read->request.sampling.logprobs, 0);
  EXPECT_FALSE(read->answer.return_logprobs);
  ExpectBad(R"(text: "abc" output { n: 3 best_of: 2 })",
            "output.best_of: must be at least output.n, got 2 and 3");
  RequestLimits limits = Limits();
  limits.answers_max = 4;
  v1::GenerateRequest in;
  in.set_text("abc");
  in.mutable_output()->set_n(5);
  EXPECT_EQ(RequestReader(limits, &codec_).Read(in, 7).status().message(),
            "output.n: must be from 1 to 4, got 5");
}

// ---- every numeric field, from the descriptor

// A field's own range, as proto/ebb.proto states it.
struct Range {
  double low = 0;
  double high = 0;
  bool low_is_out = false;
};
const double kInt32Max = std::numeric_limits<int32_t>::max();
const std::map<std::string, Range> kRanges = {
    {"token_ids.ids", {0, 257}},
    {"priority", {-100, 100}},
    {"sampling.temperature", {0, 100}},
    {"sampling.top_p", {0, 1, true}},
    {"sampling.top_k", {0, kInt32Max}},
    {"sampling.min_p", {0, 1}},
    {"sampling.seed", {0, 18446744073709551615.0}},
    {"sampling.repetition_penalty", {0.01, 100}},
    {"sampling.presence_penalty", {-2, 2}},
    {"sampling.frequency_penalty", {-2, 2}},
    {"stopping.max_tokens", {1, kInt32Max}},
    {"stopping.min_tokens", {0, 50}},  // max_tokens is 50 below.
    {"stopping.stop_token_ids", {0, 257}},
    {"output.logprobs", {0, 20}},
    {"output.prompt_logprobs", {0, 20}},
    {"output.n", {1, 16}},
    {"output.best_of", {1, 16}},
};

using Setter = std::function<void(v1::GenerateRequest*)>;

Message* Reach(v1::GenerateRequest* request, const std::vector<const FieldDescriptor*>& path) {
  Message* message = request;
  for (const FieldDescriptor* field : path) {
    message = message->GetReflection()->MutableMessage(message, field);
  }
  return message;
}

// Calls `visit` for each numeric field of a request, wherever it lies.
void ForEachNumber(
    const Descriptor* type, std::vector<const FieldDescriptor*> path, const std::string& prefix,
    const std::function<void(const std::string&, const std::vector<const FieldDescriptor*>&,
                             const FieldDescriptor*)>& visit) {
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* const field = type->field(i);
    const std::string name = prefix + field->name();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      // Chat messages have no numbers; the biases of logit_bias are tested by themselves.
      if (field->is_repeated()) continue;
      path.push_back(field);
      ForEachNumber(field->message_type(), path, name + ".", visit);
      path.pop_back();
    } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
               field->cpp_type() != FieldDescriptor::CPPTYPE_BOOL) {
      visit(name, path, field);
    }
  }
}

TEST_F(RequestReaderTest, EveryNumericFieldIsCheckedAgainstItsRange) {
  const std::vector<int64_t> integers = {0,
                                         1,
                                         -1,
                                         -2,
                                         2,
                                         20,
                                         21,
                                         100,
                                         101,
                                         -100,
                                         -101,
                                         257,
                                         258,
                                         1'000'000'000,
                                         int64_t{1} << 31,
                                         (int64_t{1} << 31) - 1,
                                         -(int64_t{1} << 31),
                                         (int64_t{1} << 32) + 5,
                                         std::numeric_limits<int64_t>::max(),
                                         std::numeric_limits<int64_t>::min()};
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> numbers = {0.0,    -0.0,   1.0,  0.5,   1.1,  -1.0, 2.0,         100.0,
                                       100.01, 1e-300, 1e38, 1e308, -inf, inf,  std::nan("")};
  std::set<std::string> seen;
  ForEachNumber(
      v1::GenerateRequest::descriptor(), {}, "",
      [&](const std::string& name, const std::vector<const FieldDescriptor*>& path,
          const FieldDescriptor* field) {
        const auto range = kRanges.find(name);
        ASSERT_NE(range, kRanges.end()) << name << " is new: give its range here";
        seen.insert(name);
        const auto expect = [&](const Setter& set, double value, bool inside) {
          v1::GenerateRequest in;
          if (path.empty() || path[0]->name() != "token_ids") in.set_text("abc");
          if (name == "stopping.min_tokens") in.mutable_stopping()->set_max_tokens(50);
          set(&in);
          const auto read = Read(in);
          if (inside) {
            EXPECT_TRUE(read.ok()) << name << " = " << value << ": " << read.status();
          } else {
            EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument)
                << name << " = " << value;
            EXPECT_TRUE(absl::StartsWith(read.status().message(), name))
                << name << " = " << value << ": " << read.status();
          }
        };
        const Range& r = range->second;
        switch (field->cpp_type()) {
          case FieldDescriptor::CPPTYPE_INT64:
            for (const int64_t value : integers) {
              const auto at = static_cast<double>(value);
              expect(
                  [&](v1::GenerateRequest* in) {
                    Message* const message = Reach(in, path);
                    const Reflection* const reflection = message->GetReflection();
                    if (field->is_repeated()) {
                      reflection->AddInt64(message, field, value);
                    } else {
                      reflection->SetInt64(message, field, value);
                    }
                  },
                  at, at >= r.low && at <= r.high);
            }
            return;
          case FieldDescriptor::CPPTYPE_UINT64:
            for (const int64_t value : integers) {
              expect(
                  [&](v1::GenerateRequest* in) {
                    Message* const message = Reach(in, path);
                    message->GetReflection()->SetUInt64(message, field,
                                                        static_cast<uint64_t>(value));
                  },
                  0, true);  // A seed may be anything.
            }
            return;
          case FieldDescriptor::CPPTYPE_DOUBLE:
            for (const double value : numbers) {
              bool inside = value >= r.low && value <= r.high && !(r.low_is_out && value == r.low);
              if (name == "sampling.temperature" && value == 1e-300) inside = false;
              expect(
                  [&](v1::GenerateRequest* in) {
                    Message* const message = Reach(in, path);
                    message->GetReflection()->SetDouble(message, field, value);
                  },
                  value, inside);
            }
            return;
          default:
            FAIL() << name << " has a type that silently cuts numbers: " << field->cpp_type_name();
        }
      });
  EXPECT_EQ(seen.size(), kRanges.size());
}

// The interface's first rule.
void ExpectPresence(const google::protobuf::FileDescriptor* file) {
  for (int m = 0; m < file->message_type_count(); ++m) {
    for (int f = 0; f < file->message_type(m)->field_count(); ++f) {
      const FieldDescriptor* const field = file->message_type(m)->field(f);
      EXPECT_TRUE(field->is_repeated() || field->has_presence()) << field->full_name();
    }
  }
}

TEST(ProtoTest, EverySingularFieldKnowsWhetherItIsSet) {
  ExpectPresence(v1::GenerateRequest::descriptor()->file());
}

TEST_F(RequestReaderTest, TokenizeAndDetokenizeAreChecked) {
  const RequestReader reader(Limits(), &codec_);
  v1::TokenizeRequest tokenize;
  EXPECT_EQ(reader.ReadTokenize(tokenize).status().code(), absl::StatusCode::kInvalidArgument);
  tokenize.set_text("");
  ASSERT_TRUE(reader.ReadTokenize(tokenize).ok());
  EXPECT_TRUE(reader.ReadTokenize(tokenize)->empty());
  tokenize.set_text(std::string("a\0b", 3));
  EXPECT_EQ(reader.ReadTokenize(tokenize)->size(), 3u);

  v1::DetokenizeRequest detokenize;
  EXPECT_EQ(*reader.ReadDetokenize(detokenize), "");
  detokenize.add_token_ids(97);
  detokenize.add_token_ids(256);
  EXPECT_EQ(*reader.ReadDetokenize(detokenize), "a");
  detokenize.set_show_special(true);
  EXPECT_EQ(*reader.ReadDetokenize(detokenize), "a<|end|>");
  for (const int64_t id : {int64_t{-1}, int64_t{258}, int64_t{1} << 32, int64_t{1} << 62}) {
    v1::DetokenizeRequest bad;
    bad.add_token_ids(1);
    bad.add_token_ids(id);
    const auto text = reader.ReadDetokenize(bad);
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StartsWith(text.status().message(), "token_ids[1]")) << text.status();
  }
  v1::DetokenizeRequest many;
  for (int i = 0; i <= 1 << 16; ++i) many.add_token_ids(1);
  EXPECT_EQ(reader.ReadDetokenize(many).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ebb::server
