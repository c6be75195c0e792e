#include "server/vllm/vllm_request.h"

#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace ebb::server {
namespace {

namespace wire = ::vllm::grpc::engine;

wire::GenerateRequest Parse(const std::string& text) {
  wire::GenerateRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

std::string CodeOf(const std::string& text) {
  return absl::StatusCodeToString(ToGenerateRequest(Parse(text)).status().code());
}

TEST(VllmRequestTest, CarriesEveryField) {
  const auto request = ToGenerateRequest(Parse(R"(
      request_id: "cmpl-1"
      tokenized { original_text: "ignored" input_ids: [ 7, 4294967295 ] }
      sampling_params {
        temperature: 0 top_p: 0.5 top_k: 40 min_p: 0.25 seed: -5
        max_tokens: 9 min_tokens: 2 stop: [ "a", "b" ] stop_token_ids: [ 3, 5 ]
        ignore_eos: true skip_special_tokens: true logprobs: 2 prompt_logprobs: 0
        n: 3 repetition_penalty: 1.5 presence_penalty: -1 frequency_penalty: 0.5
        logit_bias { key: 1 value: 2 } json_object: false spaces_between_special_tokens: true
      })"));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->request_id(), "cmpl-1");
  EXPECT_EQ(
      std::vector<int64_t>(request->token_ids().ids().begin(), request->token_ids().ids().end()),
      (std::vector<int64_t>{7, 4294967295}));
  EXPECT_TRUE(request->sampling().has_temperature());
  EXPECT_EQ(request->sampling().temperature(), 0);
  EXPECT_EQ(request->sampling().top_p(), 0.5);
  EXPECT_EQ(request->sampling().top_k(), 40);
  EXPECT_EQ(request->sampling().min_p(), 0.25);
  EXPECT_EQ(request->sampling().seed(), static_cast<uint64_t>(int64_t{-5}));
  EXPECT_EQ(request->sampling().repetition_penalty(), 1.5);
  EXPECT_EQ(request->sampling().presence_penalty(), -1);
  EXPECT_EQ(request->sampling().frequency_penalty(), 0.5);
  EXPECT_EQ(request->sampling().logit_bias().at(1), 2);
  EXPECT_EQ(request->stopping().max_tokens(), 9);
  EXPECT_EQ(request->stopping().min_tokens(), 2);
  EXPECT_EQ(request->stopping().stop_size(), 2);
  EXPECT_EQ(request->stopping().stop(1), "b");
  EXPECT_EQ(request->stopping().stop_token_ids(1), 5);
  EXPECT_TRUE(request->stopping().ignore_eos());
  EXPECT_EQ(request->output().n(), 3);
  EXPECT_EQ(request->output().logprobs(), 2);
  EXPECT_TRUE(request->output().has_prompt_logprobs());
  EXPECT_TRUE(request->output().return_token_ids());
  EXPECT_TRUE(request->output().return_prompt_token_ids());
  EXPECT_FALSE(request->output().return_text());
  EXPECT_FALSE(request->output().show_special());
}

TEST(VllmRequestTest, ZeroIsTheDefaultWhereItMeansNothing) {
  const auto request = ToGenerateRequest(Parse("text: 'hi' sampling_params { seed: -1 }"));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->text(), "hi");
  EXPECT_TRUE(request->parse_special());
  EXPECT_FALSE(request->has_request_id());
  EXPECT_FALSE(request->sampling().has_temperature());
  EXPECT_FALSE(request->sampling().has_top_p());
  EXPECT_FALSE(request->sampling().has_top_k());
  EXPECT_FALSE(request->sampling().has_seed());
  EXPECT_FALSE(request->stopping().has_max_tokens());
  EXPECT_FALSE(request->stopping().has_min_tokens());
  EXPECT_FALSE(request->output().has_n());
  EXPECT_FALSE(request->output().has_logprobs());
  EXPECT_FALSE(request->output().return_prompt_token_ids());
  EXPECT_TRUE(request->output().show_special());
}

TEST(VllmRequestTest, RefusesWhatItCannotDo) {
  for (const std::string field :
       {"json_schema: '{}'", "regex: 'a'", "grammar: 'a'", "structural_tag: 'a'",
        "json_object: true", "choice { choices: 'a' }", "truncate_prompt_tokens: 5",
        "include_stop_str_in_output: true logprobs: 0", "include_stop_str_in_output: true n: 2"}) {
    const std::string text = "text: 'hi' sampling_params { " + field + " }";
    EXPECT_EQ(CodeOf(text), "UNIMPLEMENTED") << text;
    EXPECT_NE(ToGenerateRequest(Parse(text))
                  .status()
                  .message()
                  .find(field.substr(0, field.find_first_of(": "))),
              std::string::npos)
        << ToGenerateRequest(Parse(text)).status();
  }
  EXPECT_EQ(CodeOf("text: 'hi' data_parallel_rank: 0"), "OK");
  EXPECT_EQ(CodeOf("text: 'hi' data_parallel_rank: 1"), "INVALID_ARGUMENT");
  EXPECT_EQ(CodeOf("sampling_params {}"), "INVALID_ARGUMENT");
}

// Images come in field 7, transfers of keys and values in 6 and 8.
TEST(VllmRequestTest, RefusesFieldsThatItDoesNotKnow) {
  for (const std::string bytes : {"\x3A\x00", "\x32\x00", "\x42\x02{}"}) {
    wire::GenerateRequest request = Parse("text: 'hi'");
    std::string added(bytes.data(), bytes[0] == '\x42' ? 4 : 2);
    ASSERT_TRUE(request.MergeFromString(added));
    const absl::Status status = ToGenerateRequest(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_NE(status.message().find("is unknown"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace ebb::server
