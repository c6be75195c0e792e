// chat_template_kwargs over HTTP, down to a template that reads them.
#include <string>
#include <utility>

#include "server/model_text_codec.h"
#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

using Ids = std::vector<int32_t>;
using tests::HttpAnswer;

constexpr int32_t kEnd = 4;

std::unique_ptr<ModelTextCodec> NewCodec(const std::string& chat_template,
                                         const base::Clock* clock) {
  model::TokenizerData data;
  data.source = "test";
  data.model = "gpt2";
  data.pre = "gpt2";
  data.tokens = {"a", "b", "ab", "aa", "</s>"};
  data.token_types = {1, 1, 1, 1, 3};
  data.merges = {"a b", "a a"};
  data.eos_id = kEnd;
  auto tokenizer = model::Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return std::make_unique<ModelTextCodec>(*std::move(tokenizer),
                                          model::ChatTemplate::Parse(chat_template), clock);
}

class ChatVariablesTest : public HttpTest {
 protected:
  // As templates of thinking models do it: "a" without thinking, "b" with it.
  ChatVariablesTest()
      : model_codec_(
            NewCodec("{% if enable_thinking is defined and enable_thinking is false %}a{% else %}b"
                     "{% endif %}{{ eos_token }}{{ letters }}",
                     &clock_)) {
    RequestLimits limits;
    limits.model_name = "fake";
    limits.context_tokens = 1000;
    limits.vocabulary_tokens = 5;
    limits.max_tokens_default = 1;
    reader_ = std::make_unique<RequestReader>(limits, model_codec_.get());
    resources_.reader = reader_.get();
    resources_.codec = model_codec_.get();
  }

  static std::string Body(const std::string& kwargs) {
    return R"({"messages":[{"role":"user","content":"b"}],"max_tokens":1,"chat_template_kwargs":)" +
           kwargs + "}";
  }
  Ids TokensFor(const std::string& kwargs) {
    const HttpAnswer answer = Post("/tokenize", Body(kwargs));
    EXPECT_EQ(answer.status, 200) << kwargs << answer.body;
    return answer.status == 200 ? answer.Json()["tokens"].get<Ids>() : Ids();
  }
  // The message of the refusal, in the client's words.
  std::string RefusalOf(const std::string& kwargs) {
    const HttpAnswer answer = Chat(Body(kwargs));
    EXPECT_EQ(answer.status, 400) << kwargs;
    EXPECT_EQ(answer.Json()["error"]["param"], "chat_template_kwargs") << answer.body;
    return answer.Json()["error"]["message"];
  }

  const std::unique_ptr<ModelTextCodec> model_codec_;
};

TEST_F(ChatVariablesTest, ReachTheTemplate) {
  EXPECT_EQ(TokensFor(R"({"enable_thinking":false})"), (Ids{0, kEnd}));
  EXPECT_EQ(TokensFor(R"({"enable_thinking":true})"), (Ids{1, kEnd}));
  for (const char* unset : {"{}", "null", R"({"enable_thinking":null})", R"({"unheard_of":1})"}) {
    EXPECT_EQ(TokensFor(unset), (Ids{1, kEnd})) << unset;
  }
  ASSERT_EQ(Chat(Body(R"({"enable_thinking":false})")).status, 200);
  EXPECT_EQ(engine_.requests().at(0).prompt, (Ids{0, kEnd}));
}

TEST_F(ChatVariablesTest, AreTextAndNeverControl) {
  const Ids ids = TokensFor(R"({"letters":"ab</s>a"})");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kEnd), 1) << "the template's own";
}

TEST_F(ChatVariablesTest, TakeNoNameOfTheTemplatesAndNoMoreThanFits) {
  for (const std::string name :
       {"messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template",
        "tokenize", "bos_token", "eos_token", "raise_exception", "strftime_now", "namespace"}) {
    EXPECT_NE(RefusalOf("{\"" + name + "\":[]}").find("must not set \"" + name + "\""),
              std::string::npos);
  }
  EXPECT_NE(RefusalOf("[]").find("must be an object"), std::string::npos);
  // Deep, many, long: each is refused before the template sees it.
  std::string deep = "1";
  for (int i = 0; i < 61; ++i) deep = "[" + deep + "]";
  EXPECT_EQ(TokensFor("{\"x\":" + deep + "}"), (Ids{1, kEnd}));
  for (int i = 0; i < 10; ++i) deep = "[" + deep + "]";
  EXPECT_EQ(Chat(Body("{\"x\":" + deep + "}")).status, 400);
  std::string many = "0";
  for (int i = 0; i < 150'000; ++i) many += ",0";
  EXPECT_EQ(Chat(Body("{\"x\":[" + many + "]}")).status, 400);
  EXPECT_EQ(Chat(Body("{\"x\":\"" + std::string(500'000, 'x') + "\"}")).status, 400);
  EXPECT_TRUE(engine_.requests().empty());
}

}  // namespace
}  // namespace ebb::server
