#include "server/kserve/infer_request.h"

#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace ebb::server {
namespace {

namespace wire = ::inference;

constexpr char kText[] = R"(inputs { name: "text_input" datatype: "BYTES" shape: 1
                                     contents { bytes_contents: "hi" } })";

wire::ModelInferRequest Parse(const std::string& text) {
  wire::ModelInferRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

// A request with these sampling_parameters.
wire::ModelInferRequest WithSampling(const std::string& json) {
  wire::ModelInferRequest request = Parse(kText);
  auto* const input = request.add_inputs();
  input->set_name("sampling_parameters");
  input->set_datatype("BYTES");
  input->add_shape(1);
  input->mutable_contents()->add_bytes_contents(json);
  return request;
}

std::string CodeOf(const wire::ModelInferRequest& request) {
  return absl::StatusCodeToString(ReadInferRequest(request).status().code());
}

std::string Bool(const std::string& name, bool value) {
  return std::string(" inputs { name: '") + name + "' datatype: 'BOOL' shape: 1 contents { " +
         "bool_contents: " + (value ? "true" : "false") + " } }";
}

TEST(InferRequestTest, HasTritonsDefaults) {
  const auto read = ReadInferRequest(Parse(std::string("model_name: 'm' id: '7' ") + kText));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->generate.text(), "hi");
  EXPECT_TRUE(read->generate.parse_special());
  EXPECT_EQ(read->generate.model(), "m");
  EXPECT_FALSE(read->generate.has_request_id());
  EXPECT_EQ(read->id, "7");
  EXPECT_FALSE(read->stream);
  EXPECT_FALSE(read->generate.stopping().has_max_tokens());
  // A whole answer begins with its prompt, a streamed one does not.
  EXPECT_EQ(read->text_before, "hi");
  EXPECT_EQ(ReadInferRequest(Parse(kText + Bool("stream", true)))->text_before, "");
  EXPECT_EQ(ReadInferRequest(Parse(kText + Bool("exclude_input_in_output", true)))->text_before,
            "");
  EXPECT_EQ(CodeOf(Parse(kText + Bool("exclude_input_in_output", false) + Bool("stream", true))),
            "INVALID_ARGUMENT");
}

TEST(InferRequestTest, ReadsSamplingParameters) {
  const auto read = ReadInferRequest(WithSampling(R"({
      "temperature": "0.5", "top_p": 0.9, "top_k": -1, "min_p": 0.1, "seed": 5, "max_tokens": "20",
      "min_tokens": 2, "stop": ["a", "b"], "stop_token_ids": [4], "ignore_eos": "true",
      "skip_special_tokens": false, "n": 2, "best_of": "3", "presence_penalty": "0.5", "frequency_penalty": -1,
      "repetition_penalty": 1.5})"));
  ASSERT_TRUE(read.ok()) << read.status();
  const v1::GenerateRequest& generate = read->generate;
  EXPECT_EQ(generate.sampling().temperature(), 0.5);
  EXPECT_EQ(generate.sampling().top_p(), 0.9);
  EXPECT_EQ(generate.sampling().top_k(), 0);
  EXPECT_EQ(generate.sampling().min_p(), 0.1);
  EXPECT_EQ(generate.sampling().seed(), 5u);
  EXPECT_EQ(generate.output().n(), 2);
  EXPECT_EQ(generate.output().best_of(), 3);
  EXPECT_EQ(generate.sampling().presence_penalty(), 0.5);
  EXPECT_EQ(generate.sampling().frequency_penalty(), -1);
  EXPECT_EQ(generate.sampling().repetition_penalty(), 1.5);
  EXPECT_EQ(generate.stopping().max_tokens(), 20);
  EXPECT_EQ(generate.stopping().min_tokens(), 2);
  EXPECT_EQ(generate.stopping().stop_size(), 2);
  EXPECT_EQ(generate.stopping().stop_token_ids(0), 4);
  EXPECT_TRUE(generate.stopping().ignore_eos());
  EXPECT_TRUE(generate.output().show_special());
  EXPECT_EQ(ReadInferRequest(WithSampling(R"({"stop": "x"})"))->generate.stopping().stop(0), "x");
}

TEST(InferRequestTest, ReadsParametersOfTheRequest) {
  const auto read = ReadInferRequest(Parse(std::string(kText) + R"(
      parameters { key: "max_tokens" value { int64_param: 5 } }
      parameters { key: "temperature" value { double_param: 0.25 } }
      parameters { key: "stream" value { bool_param: true } }
      parameters { key: "stop" value { string_param: "x" } }
      parameters { key: "seed" value { uint64_param: 3 } }
      parameters { key: "triton_enable_empty_final_response" value { bool_param: true } })"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->generate.stopping().max_tokens(), 5);
  EXPECT_EQ(read->generate.sampling().temperature(), 0.25);
  EXPECT_EQ(read->generate.sampling().seed(), 3u);
  EXPECT_EQ(read->generate.stopping().stop(0), "x");
  EXPECT_TRUE(read->stream);
}

TEST(InferRequestTest, ReadsRawContents) {
  wire::ModelInferRequest request = Parse(R"(
      inputs { name: "text_input" datatype: "BYTES" shape: 1 }
      inputs { name: "stream" datatype: "BOOL" shape: [ 1, 1 ] })");
  request.add_raw_input_contents(std::string("\x02\x00\x00\x00hi", 6));
  request.add_raw_input_contents("\x01");
  const auto read = ReadInferRequest(request);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->generate.text(), "hi");
  EXPECT_TRUE(read->stream);
  for (const std::string& bytes :
       {std::string("\x03\x00\x00\x00hi", 6), std::string("\xFF\xFF\xFF\xFFhi", 6),
        std::string("\x02\x00", 2), std::string()}) {
    request.set_raw_input_contents(0, bytes);
    EXPECT_EQ(CodeOf(request), "INVALID_ARGUMENT");
  }
  request.mutable_raw_input_contents()->RemoveLast();
  EXPECT_EQ(CodeOf(request), "INVALID_ARGUMENT");
}

TEST(InferRequestTest, KnowsItsOutputs) {
  const auto read = ReadInferRequest(Parse(kText + Bool("return_finish_reason", true) +
                                           " outputs { name: 'text_output' } outputs { name: "
                                           "'num_output_tokens' }"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->finish_reason);
  EXPECT_TRUE(read->num_output_tokens);
  EXPECT_TRUE(read->generate.output().return_token_ids());
  EXPECT_FALSE(read->num_input_tokens);
}

TEST(InferRequestTest, RefusesWhatIsNotTheModels) {
  const std::string text = kText;
  for (const std::string& added :
       {text /* twice */, std::string("outputs { name: 'logits' }"),
        std::string("inputs { name: 'image' datatype: 'BYTES' shape: 1 contents { "
                    "bytes_contents: 'x' } }"),
        std::string("inputs { name: 'stream' datatype: 'INT32' shape: 1 contents { "
                    "int_contents: 1 } }"),
        std::string("inputs { name: 'stream' datatype: 'BOOL' shape: 2 contents { "
                    "bool_contents: [ true, true ] } }"),
        std::string("inputs { name: 'stream' datatype: 'BOOL' shape: 1 }"),
        std::string("parameters { key: 'max_token' value { int64_param: 5 } }"),
        std::string("parameters { key: 'max_tokens' value {} }"),
        std::string("parameters { key: 'stream' value { int64_param: 1 } }")}) {
    EXPECT_EQ(CodeOf(Parse(text + added)), "INVALID_ARGUMENT") << added;
  }
  EXPECT_EQ(CodeOf(Parse("")), "INVALID_ARGUMENT");
  EXPECT_EQ(CodeOf(Parse(text + " model_version: '2'")), "NOT_FOUND");
  EXPECT_EQ(CodeOf(Parse(text + " model_version: '1'")), "OK");
  for (const std::string& added :
       {Bool("return_logprobs", true),
        std::string("outputs { name: 'text_output' parameters { key: 'classification' value { "
                    "int64_param: 3 } } }"),
        std::string("inputs { name: 'stream' datatype: 'BOOL' shape: 1 parameters { key: "
                    "'shared_memory_region' value { string_param: 'a' } } }")}) {
    EXPECT_EQ(CodeOf(Parse(text + added)), "UNIMPLEMENTED") << added;
  }
}

TEST(InferRequestTest, RefusesBadSamplingParameters) {
  for (const std::string json :
       {"", "[1]", "{", "{\"temperature\": \"warm\"}", "{\"max_tokens\": 1.5}",
        "{\"max_tokens\": 18446744073709551615}", "{\"stop\": [1]}",
        "{\"stop_token_ids\": [\"x\"]}", "{\"ignore_eos\": 1}", "{\"unheard_of\": 1}",
        "{\"temperature\": null}"}) {
    EXPECT_EQ(CodeOf(WithSampling(json)), "INVALID_ARGUMENT") << json;
  }
  EXPECT_EQ(CodeOf(WithSampling(std::string(100'000, ' '))), "INVALID_ARGUMENT");
  wire::ModelInferRequest twice = WithSampling("{\"seed\": 2}");
  (*twice.mutable_parameters())["seed"].set_int64_param(2);
  EXPECT_EQ(CodeOf(twice), "INVALID_ARGUMENT");
}

}  // namespace
}  // namespace ebb::server
