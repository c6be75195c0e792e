// JSON bodies read into requests: forms, neutral values, and what is refused with which words.
#include "server/http/openai_request.h"

#include <string>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "server/http/body_fields.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

using StatusCode = absl::StatusCode;

absl::StatusOr<OpenAiRequest> Completions(const std::string& text) {
  const auto body = ParseBody(text);
  if (!body.ok()) return body.status();
  return ReadCompletionsRequest((*body)->root());
}

absl::StatusOr<OpenAiRequest> Chat(const std::string& text) {
  const auto body = ParseBody(text);
  if (!body.ok()) return body.status();
  return ReadChatRequest((*body)->root(), ToolCallFormat::kHermes);
}

// A completion's body with one more field.
std::string With(const std::string& field) { return R"({"prompt":"a",)" + field + "}"; }
std::string ChatWith(const std::string& field) {
  return R"({"messages":[{"role":"user","content":"a"}],)" + field + "}";
}

TEST(OpenAiRequestTest, EveryFieldFindsItsPlace) {
  const auto read = Completions(
      R"({"model":"m","prompt":"a","max_tokens":5.0,"min_tokens":2,"temperature":0,"top_p":0.5,
          "top_k":-1,"min_p":0.25,"seed":-1,"stop":["x","y"],"stop_token_ids":[1,2],
          "ignore_eos":true,"priority":-3,"stream":true,"logprobs":4,
          "stream_options":{"include_usage":true,"continuous_usage_stats":true}})");
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->prompts.size(), 1u);
  const v1::GenerateRequest& request = read->prompts[0];
  EXPECT_EQ(request.model(), "m");
  EXPECT_EQ(request.text(), "a");
  EXPECT_TRUE(request.parse_special());
  EXPECT_EQ(request.stopping().max_tokens(), 5);
  EXPECT_EQ(request.stopping().min_tokens(), 2);
  EXPECT_EQ(request.stopping().stop_size(), 2);
  EXPECT_EQ(request.stopping().stop_token_ids(1), 2);
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_TRUE(request.sampling().has_temperature());
  EXPECT_EQ(request.sampling().top_p(), 0.5);
  EXPECT_EQ(request.sampling().top_k(), 0);
  EXPECT_EQ(request.sampling().min_p(), 0.25);
  EXPECT_EQ(request.sampling().seed(), ~uint64_t{0});
  EXPECT_EQ(request.priority(), -3);
  EXPECT_EQ(request.output().logprobs(), 4);
  EXPECT_TRUE(read->style.stream && read->style.include_usage && read->style.continuous_usage);
}

TEST(OpenAiRequestTest, AScoredPromptIsFollowedByAToken) {
  const auto ignores_eos = [](const std::string& fields) {
    return Completions(With(fields))->prompts[0].stopping().ignore_eos();
  };
  EXPECT_TRUE(ignores_eos(R"("max_tokens":1,"echo":true,"logprobs":1)"));
  EXPECT_FALSE(ignores_eos(R"("max_tokens":2,"echo":true,"logprobs":1)"));
  EXPECT_FALSE(ignores_eos(R"("max_tokens":1,"echo":true)"));
  EXPECT_FALSE(ignores_eos(R"("max_tokens":1,"logprobs":1)"));
  const auto read = Completions(With(R"("echo":true,"logprobs":1)"));
  EXPECT_TRUE(read->prompts[0].output().echo());
  EXPECT_TRUE(read->prompts[0].output().return_prompt_token_ids());
  EXPECT_FALSE(Completions(With(R"("echo":true)"))->prompts[0].output().return_prompt_token_ids());
}

TEST(OpenAiRequestTest, NullIsUnsetAndUnknownFieldsAreIgnored) {
  const auto read = Completions(With(
      R"("max_tokens":null,"temperature":null,"stop":null,"stream":null,"stream_options":null,
         "logprobs":null,"n":null,"suffix":null,"echo":null,"user":"me","metadata":{"a":[1]})"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->prompts[0].stopping().max_tokens(), 16);
  EXPECT_FALSE(read->prompts[0].sampling().has_temperature());
  EXPECT_FALSE(read->prompts[0].output().has_logprobs());
  const auto chat = Chat(ChatWith(R"("max_tokens":null)"));
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_FALSE(chat->prompts[0].stopping().has_max_tokens());
}

TEST(OpenAiRequestTest, WrongTypesNameTheField) {
  const std::pair<std::string, std::string> cases[] = {
      {With(R"("max_tokens":"5")"), "max_tokens: must be a whole number, got a string"},
      {With(R"("max_tokens":1.5)"), "max_tokens: must be a whole number"},
      {With(R"("seed":1e300)"), "seed: is out of range"},
      {With(R"("temperature":[])"), "temperature: must be a number, got an array"},
      {With(R"("stream":1)"), "stream: must be true or false, got a number"},
      {With(R"("stop":[1])"), "stop[0]: must be a string, got a number"},
      {With(R"("stop_token_ids":[1,"2"])"),
       "stop_token_ids[1]: must be a whole number, got a string"},
      {With(R"("logprobs":true)"), "logprobs: must be a whole number, got a truth value"},
      {With(R"("stream_options":{})"), "stream_options: is for streamed answers only"},
      {R"({"model":"m"})", "prompt: is required"},
      {R"({"prompt":[]})", "prompt: must not be an empty list"},
      {R"({"prompt":[1,"a"]})", "prompt: must be a list of token ids, got a string in it"},
      {R"({"prompt":["a",{}]})",
       "prompt[1]: must be a string or a list of token ids, got an object"},
      {R"({"prompt":{}})",
       "prompt: must be a string, a list of token ids, or a list of either, got an object"},
  };
  for (const auto& [text, message] : cases) {
    const absl::Status status = Completions(text).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(status.message(), message) << text;
  }
  EXPECT_EQ(Chat("{}").status().message(), "messages: is required");
  EXPECT_EQ(Chat(R"({"messages":[{"content":"a"}]})").status().message(),
            "messages[0].role: must be a string");
  EXPECT_EQ(Chat(ChatWith(R"("top_logprobs":3)")).status().message(),
            "top_logprobs: needs logprobs to be true");
}

TEST(OpenAiRequestTest, BodiesThatAreNoJsonAreToldWhere) {
  EXPECT_EQ(ParseBody("").status().message(), "body: is empty; a JSON object is needed");
  EXPECT_EQ(ParseBody("[1]").status().message(), "body: must be a JSON object, got an array");
  const absl::Status cut = ParseBody(R"({"prompt": "secret)").status();
  EXPECT_EQ(cut.message().find("body: is not valid JSON at byte "), 0u) << cut;
  EXPECT_EQ(cut.message().find("secret"), std::string::npos) << cut;
  EXPECT_EQ(ParseBody(R"({"a":1,"a":2})").status().message(),
            "body: has a key twice in one object");
  const std::string deep(100, '[');
  EXPECT_EQ(ParseBody("{\"a\":" + deep + std::string(100, ']') + "}").status().message(),
            "body: must nest at most 64 levels deep");
  std::string many = "{\"a\":[0";
  for (int i = 0; i < 1'100'000; ++i) many += ",0";
  EXPECT_EQ(ParseBody(many + "]}").status().message(), "body: must hold at most 1048576 values");
  EXPECT_FALSE(ParseBody("{\"a\":\"\xFF\"}").ok());
  EXPECT_FALSE(ParseBody("{\"a\":1e999}").ok());
}

TEST(OpenAiRequestTest, ReadsPenaltiesBiasesAndBadWords) {
  const auto read = Completions(With(
      R"("presence_penalty":0.5,"frequency_penalty":-1,"repetition_penalty":1.1,"bad_words":["x"],)"
      R"("logit_bias":{"5":-100,"7":2.5})"));
  ASSERT_TRUE(read.ok()) << read.status();
  const v1::Sampling& sampling = read->prompts[0].sampling();
  EXPECT_EQ(sampling.presence_penalty(), 0.5);
  EXPECT_EQ(sampling.frequency_penalty(), -1);
  EXPECT_EQ(sampling.repetition_penalty(), 1.1);
  EXPECT_EQ(sampling.bad_words(0), "x");
  EXPECT_EQ(sampling.logit_bias().at(5), -100);
  EXPECT_EQ(sampling.logit_bias().at(7), 2.5);
  for (const std::string bias : {"[]", R"({"a":1})", R"({"5":"1"})"}) {
    const absl::Status status = Completions(With("\"logit_bias\":" + bias)).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(status.message().find("logit_bias: must"), 0u) << status;
  }
}

// Neutral values pass; any other is refused, never ignored.
TEST(OpenAiRequestTest, WhatIsNotThereYetIsUnimplemented) {
  const std::string neutral[] = {
      R"("suffix":"")",
      R"("response_format":{"type":"text"})",
  };
  for (const std::string& field : neutral) {
    EXPECT_TRUE(Completions(With(field)).ok()) << field << Completions(With(field)).status();
  }
  const std::string refused[] = {
      R"("suffix":"x")",
      R"("response_format":{"type":"json_object"})",
      R"("guided_json":{})",
      R"("structured_outputs":{"regex":"a"})",
      R"("include_stop_str_in_output":true)",
  };
  for (const std::string& field : refused) {
    const absl::Status status = Completions(With(field)).status();
    EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << field << status;
    const std::string name = field.substr(1, field.find('"', 1) - 1);
    EXPECT_EQ(status.message().find(name + ": "), 0u) << status;
  }
  for (const std::string field :
       {R"("tools":[])", R"("tool_choice":"none")", R"("tool_choice":"auto")", R"("functions":[])",
        R"("modalities":["text"])"}) {
    EXPECT_TRUE(Chat(ChatWith(field)).ok()) << field;
  }
  for (const std::string field : {R"("functions":[{"name":"f"}])", R"("tool_choice":"required")",
                                  R"("modalities":["audio"])"}) {
    EXPECT_EQ(Chat(ChatWith(field)).status().code(), StatusCode::kUnimplemented) << field;
  }
  EXPECT_EQ(
      Chat(R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})").status().message(),
      "messages[0].content[0].type: this server reads parts of type \"text\" only");
  EXPECT_EQ(Chat(R"({"messages":[{"role":"assistant","function_call":{}}]})").status().code(),
            StatusCode::kUnimplemented);
}

TEST(OpenAiRequestTest, VariablesForTheTemplateArrive) {
  const auto variables = [](const std::string& json) {
    const auto read = Chat(ChatWith("\"chat_template_kwargs\":" + json));
    EXPECT_TRUE(read.ok()) << read.status();
    const v1::Chat& chat = read->prompts.at(0).chat();
    return chat.has_template_variables_json() ? chat.template_variables_json() : "none";
  };
  EXPECT_EQ(variables(R"({"enable_thinking":false,"a\"b":[1,null,{"c":"\n"}]})"),
            R"({"enable_thinking":false,"a\"b":[1,null,{"c":"\n"}]})");
  // What is null is not set.
  EXPECT_EQ(variables(R"({"enable_thinking":null,"a":1,"b":null})"), R"({"a":1})");
  for (const char* nothing : {"null", "{}", R"({"enable_thinking":null})"}) {
    EXPECT_EQ(variables(nothing), "none") << nothing;
  }
  for (const char* wrong : {"[]", "\"a\"", "1", "true"}) {
    const absl::Status status =
        Chat(ChatWith(std::string("\"chat_template_kwargs\":") + wrong)).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << wrong;
    EXPECT_EQ(status.message().find("chat_template_kwargs: must be an object, got"), 0u) << status;
  }
}

// Bodies with a few bytes changed end in a request or an error with words, never otherwise.
TEST(OpenAiRequestTest, ChangedBodiesDoNotCrash) {
  base::Rng rng(tests::TestSeed());
  const std::string completion =
      R"({"prompt":[[1,2],[3]],"stop":["a"],"logit_bias":{},"stream":true,)"
      R"("stream_options":{"include_usage":true},"temperature":0.5,"seed":12})";
  const std::string chat =
      ChatWith(R"("top_logprobs":2,"logprobs":true,"stop":"x","tools":[{"type":"function",)"
               R"("function":{"name":"f"}}],"tool_choice":"auto")");
  constexpr char kBytes[] = "{}[]\",:0123456789eE-+.ntrufalse\\\x80 ";
  int ok_count = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = rng.Chance(0.5) ? completion : chat;
    for (int64_t i = rng.Between(1, 3); i > 0; --i) {
      const auto at = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(text.size()) - 1));
      text[at] = kBytes[rng.Between(0, sizeof(kBytes) - 2)];
    }
    for (const auto& read : {Completions(text), Chat(text)}) {
      if (read.ok()) {
        ++ok_count;
        EXPECT_FALSE(read->prompts.empty());
      } else {
        EXPECT_FALSE(read.status().message().empty());
      }
    }
  }
  EXPECT_GT(ok_count, 10);
}

}  // namespace
}  // namespace ebb::server
