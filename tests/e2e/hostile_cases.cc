#include "tests/e2e/hostile_cases.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ebb::tests {
namespace {

using absl::StrCat;
using Code = absl::StatusCode;

constexpr char kCompletions[] = "/v1/completions";
constexpr char kChats[] = "/v1/chat/completions";

std::string Repeat(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

// `count` copies of `item` with commas between them.
std::string List(const std::string& item, size_t count) {
  return absl::StrJoin(std::vector<std::string>(count, item), ",");
}

class Table {
 public:
  // A completion's body with more fields, and the same over gRPC.
  void Field(const std::string& name, const std::string& fields, const std::string& grpc = "",
             Code code = Code::kInvalidArgument) {
    Body(name, StrCat(R"({"prompt":"hi","max_tokens":4,)", fields, "}"), code, grpc);
  }
  void Body(const std::string& name, const std::string& body, Code code = Code::kInvalidArgument,
            const std::string& grpc = "") {
    cases_.push_back({name, code, kCompletions, body, grpc});
  }
  void Grpc(const std::string& name, const std::string& grpc, Code code = Code::kInvalidArgument) {
    cases_.push_back({name, code, "", "", grpc});
  }
  void Messages(const std::string& name, const std::string& messages, const std::string& grpc = "",
                Code code = Code::kInvalidArgument) {
    ChatField(name, StrCat(R"("messages":)", messages), code, grpc);
  }
  void ChatField(const std::string& name, const std::string& fields,
                 Code code = Code::kInvalidArgument, const std::string& grpc = "") {
    Chat(name, StrCat(R"({"max_tokens":4,)", fields, "}"), code, grpc);
  }
  void Chat(const std::string& name, const std::string& body, Code code = Code::kInvalidArgument,
            const std::string& grpc = "") {
    cases_.push_back({name, code, kChats, body, grpc});
  }
  std::vector<HostileCase> Take() { return std::move(cases_); }

 private:
  std::vector<HostileCase> cases_;
};

void AddBodies(Table* table) {
  table->Body("json.empty", "");
  table->Body("json.none", "hello");
  table->Body("json.cut", R"({"prompt":"hi")");
  table->Body("json.behind", R"({"prompt":"hi"}x)");
  table->Body("json.two", R"({"prompt":"hi"}{"prompt":"hi"})");
  table->Body("json.array", R"([{"prompt":"hi"}])");
  table->Body("json.deep", StrCat(R"({"prompt":"hi","x":)", Repeat("[", 100'000)));
  table->Body("json.deep_objects", StrCat(R"({"x":)", Repeat(R"({"a":)", 100'000)));
  table->Body("json.many", StrCat(R"({"prompt":"hi","x":[)", List("0", 1'100'000), "]}"));
  table->Field("json.twice", R"("max_tokens":4)");
  table->Body("utf8.bad", "{\"prompt\":\"\xC3\x28\"}");
  table->Body("utf8.overlong", "{\"prompt\":\"\xC0\x80\"}");
  table->Body("utf8.surrogate", R"({"prompt":"\ud800"})");
  table->Body("utf8.surrogates_swapped", R"({"prompt":"\udc00\ud800"})");
  // A NUL that is written as one is text like any other.
  table->Body("text.nul", R"({"prompt":"a\u0000b","max_tokens":1})", Code::kOk,
              R"(text: "a\000b" stopping { max_tokens: 1 })");
  table->Field("field.unknown", R"("no_such_field":{"a":[1,2,3]})", "", Code::kOk);
}

void AddTypes(Table* table) {
  for (const char* value : {"\"5\"", "true", "1.5", "1e309", "9223372036854775808",
                            "-9223372036854775809", "[5]", "{}", "NaN", "-", "0x10", "05"}) {
    table->Body(StrCat("type.max_tokens ", value),
                StrCat(R"({"prompt":"hi","max_tokens":)", value, "}"));
  }
  for (const char* field : {"temperature", "top_p", "top_k", "min_p", "seed", "priority", "n",
                            "best_of", "logprobs", "min_tokens", "presence_penalty"}) {
    for (const char* value : {"\"1\"", "[1]", "false", "1e309"}) {
      table->Field(StrCat("type.", field, " ", value), StrCat("\"", field, "\":", value));
    }
  }
  table->Field("type.stream", R"("stream":"yes")");
  table->Field("type.stream_options", R"("stream_options":{"include_usage":true})");
  table->Field("type.stop", R"("stop":{"a":1})");
  table->Field("type.model", R"("model":7)");
}

void AddNames(Table* table) {
  const Code none = Code::kNotFound;
  table->Field("model.unknown", R"("model":"other")", R"(model: "other")", none);
  table->Field("model.path", R"("model":"../../etc/passwd")", R"(model: "../../etc/passwd")", none);
  table->Field("model.nul", R"("model":"SmolLM2\u0000")", R"(model: "SmolLM2\000")", none);
  table->Field("model.emoji", R"("model":"😀")", R"(model: "😀")", none);
  table->Field("model.empty", R"("model":"")", R"(model: "")", none);
  const std::string long_name(4096, 'm');
  table->Field("model.long", StrCat(R"("model":")", long_name, "\""),
               StrCat("model: \"", long_name, "\""));
  table->Grpc("request_id.line_end", R"(request_id: "a\nb")");
  table->Grpc("request_id.escape", R"(request_id: "\033[2J")");
  table->Grpc("request_id.long", StrCat("request_id: \"", std::string(129, 'r'), "\""));
  table->Grpc("request_id.empty", R"(request_id: "")");
}

void AddPrompts(Table* table, int64_t vocabulary, int64_t context) {
  table->Body("prompt.none", R"({"max_tokens":4})");
  table->Body("prompt.empty", R"({"prompt":""})", Code::kInvalidArgument, R"(text: "")");
  table->Body("prompt.no_ids", R"({"prompt":[]})", Code::kInvalidArgument, "token_ids {}");
  table->Body("prompt.null", R"({"prompt":null})");
  table->Body("prompt.object", R"({"prompt":{"text":"hi"}})");
  table->Body("prompt.many", StrCat(R"({"prompt":[)", List("\"a\"", 129), "]}"));
  table->Body("prompt.very_many", StrCat(R"({"prompt":[)", List("\"a\"", 900'000), "]}"));
  const std::string long_text = Repeat("word ", static_cast<size_t>(context) + 1);
  table->Body("prompt.long", StrCat(R"({"prompt":")", long_text, R"("})"), Code::kInvalidArgument,
              StrCat("text: \"", long_text, "\""));
  table->Body("prompt.long_ids",
              StrCat(R"({"prompt":[)", List("5", static_cast<size_t>(context)), "]}"),
              Code::kInvalidArgument,
              StrCat("token_ids { ", Repeat("ids: 5 ", static_cast<size_t>(context)), "}"));
  for (const std::string& id : {std::string("-1"), StrCat(vocabulary), std::string("2147483648"),
                                std::string("4294967301"), std::string("9223372036854775807")}) {
    table->Body(StrCat("prompt.id ", id), StrCat(R"({"prompt":[1,)", id, "]}"),
                Code::kInvalidArgument, StrCat("token_ids { ids: 1 ids: ", id, " }"));
  }
  table->Body("prompt.id too large for a number", R"({"prompt":[1,9223372036854775808]})");
  table->Body("prompt.id fraction", R"({"prompt":[1,1.5]})");
  table->Body("prompt.id mixed", R"({"prompt":[1,"a"]})");
}

void AddMessages(Table* table) {
  const std::string grpc_hi = R"(messages { role: "user" content: "hi" } )";
  const std::string hi = R"({"role":"user","content":"hi"})";
  table->Messages("chat.none", "[]", "chat {}");
  table->Messages("chat.null", "null");
  table->Messages("chat.text", R"("hi")");
  table->Messages("chat.many", StrCat("[", List(hi, 1025), "]"),
                  StrCat("chat { ", Repeat(grpc_hi, 1025), "}"));
  table->Messages("chat.very_many", StrCat("[", List(hi, 100'000), "]"));
  table->Messages("chat.no_role", R"([{"content":"hi"}])",
                  R"(chat { messages { content: "hi" } })");
  table->Messages("chat.role", R"([{"role":"root","content":"hi"}])",
                  R"(chat { messages { role: "root" content: "hi" } })");
  table->Messages("chat.no_content", R"([{"role":"user"}])",
                  R"(chat { messages { role: "user" } })");
  table->Messages("chat.null_content", R"([{"role":"user","content":null}])");
  table->Messages("chat.number_content", R"([{"role":"user","content":5}])");
  table->Messages("chat.part", R"([{"role":"user","content":[{"type":"input_audio"}]}])", "",
                  Code::kUnimplemented);
  table->Messages("chat.no_object", "[1]");
}

void AddStopping(Table* table) {
  for (const char* value : {"0", "-1", "2147483648", "9223372036854775807"}) {
    table->Body(StrCat("tokens.max ", value), StrCat(R"({"prompt":"hi","max_tokens":)", value, "}"),
                Code::kInvalidArgument, StrCat("stopping { max_tokens: ", value, " }"));
  }
  table->Field("tokens.min", R"("min_tokens":5)", "stopping { min_tokens: 5 }");
  table->Chat("tokens.min_alone",
              R"({"messages":[{"role":"user","content":"hi"}],"min_tokens":5})");
  table->Field("stop.empty", R"("stop":"")", R"(stopping { stop: "" })");
  table->Field("stop.many", StrCat(R"("stop":[)", List("\"x\"", 17), "]"),
               StrCat("stopping { ", Repeat("stop: \"x\" ", 17), "}"));
  table->Field("stop.very_many", StrCat(R"("stop":[)", List("\"x\"", 10'000), "]"),
               StrCat("stopping { ", Repeat("stop: \"x\" ", 10'000), "}"));
  const std::string long_stop(1 << 20, 'x');
  table->Field("stop.long", StrCat(R"("stop":")", long_stop, "\""),
               StrCat("stopping { stop: \"", long_stop, "\" }"));
  table->Field("stop.ids", StrCat(R"("stop_token_ids":[)", List("5", 65), "]"),
               StrCat("stopping { ", Repeat("stop_token_ids: 5 ", 65), "}"));
  table->Field("stop.id", R"("stop_token_ids":[1099511627776])",
               "stopping { stop_token_ids: 1099511627776 }");
}

void AddSampling(Table* table, int64_t vocabulary) {
  const std::pair<const char*, std::vector<const char*>> numbers[] = {
      {"temperature", {"-1", "1e-45", "1e38", "101"}},
      {"top_p", {"0", "1.1", "-0.5"}},
      {"min_p", {"2", "-1"}},
      {"top_k", {"-2", "2147483648"}},
      {"repetition_penalty", {"0", "-1", "1e38"}},
      {"presence_penalty", {"3", "-1e38"}},
      {"frequency_penalty", {"1e38", "-2.1"}},
  };
  for (const auto& [field, values] : numbers) {
    for (const char* value : values) {
      table->Field(StrCat("sampling.", field, " ", value), StrCat("\"", field, "\":", value),
                   StrCat("sampling { ", field, ": ", value, " }"));
    }
  }
  for (const char* field : {"temperature", "top_p", "min_p", "repetition_penalty",
                            "presence_penalty", "frequency_penalty"}) {
    // JSON has no word for them.
    table->Field(StrCat("sampling.", field, " nan"), StrCat("\"", field, "\":NaN"),
                 StrCat("sampling { ", field, ": nan }"));
    table->Field(StrCat("sampling.", field, " inf"), StrCat("\"", field, "\":Infinity"),
                 StrCat("sampling { ", field, ": inf }"));
  }
  for (const char* value : {"\"x\"", "1.5", "1e300", "18446744073709551616"}) {
    table->Field(StrCat("seed ", value), StrCat("\"seed\":", value));
  }
  const auto bias = [&](const std::string& name, const std::string& id, const std::string& value) {
    table->Field(name, StrCat(R"("logit_bias":{")", id, "\":", value, "}"),
                 StrCat("sampling { logit_bias { key: ", id, " value: ", value, " } }"));
  };
  bias("bias.negative_id", "-1", "1");
  bias("bias.vocabulary", StrCat(vocabulary), "1");
  bias("bias.wrapping_id", "4294967301", "1");
  bias("bias.value", "5", "101");
  table->Field("bias.no_id", R"("logit_bias":{"five":1})");
  std::string http;
  std::string grpc;
  for (int i = 0; i < 1025; ++i) {
    absl::StrAppend(&http, i == 0 ? "" : ",", "\"", i, "\":1");
    absl::StrAppend(&grpc, "logit_bias { key: ", i, " value: 1 } ");
  }
  table->Field("bias.many", StrCat(R"("logit_bias":{)", http, "}"),
               StrCat("sampling { ", grpc, "}"));
  table->Field("words.empty", R"("bad_words":[""])", R"(sampling { bad_words: "" })");
  table->Field("words.long", StrCat(R"("bad_words":[")", std::string(257, 'w'), "\"]"),
               StrCat("sampling { bad_words: \"", std::string(257, 'w'), "\" }"));
  table->Field("words.many", StrCat(R"("bad_words":[)", List("\"w\"", 129), "]"),
               StrCat("sampling { ", Repeat("bad_words: \"w\" ", 129), "}"));
  table->Field("words.allowed_ids", StrCat(R"("allowed_token_ids":[)", vocabulary, "]"), "",
               Code::kUnimplemented);
}

void AddOutput(Table* table) {
  for (const char* value : {"0", "-1", "17", "1000000000"}) {
    table->Field(StrCat("answers.n ", value), StrCat("\"n\":", value),
                 StrCat("output { n: ", value, " }"));
    table->Field(StrCat("answers.best_of ", value), StrCat("\"best_of\":", value),
                 StrCat("output { best_of: ", value, " }"));
  }
  table->Field("answers.fewer", R"("n":3,"best_of":2)", "output { n: 3 best_of: 2 }");
  table->Field("logprobs.many", R"("logprobs":1000000)", "output { logprobs: 1000000 }");
  table->Field("logprobs.negative", R"("logprobs":-1)", "output { logprobs: -1 }");
  table->Grpc("logprobs.prompt", "output { prompt_logprobs: 21 }");
  table->Grpc("priority", "priority: 101");
  const std::string hi = R"("messages":[{"role":"user","content":"hi"}],)";
  table->ChatField("logprobs.top", hi + R"("logprobs":true,"top_logprobs":1000000)");
  table->ChatField("logprobs.top_alone", hi + R"("top_logprobs":2)");
  // Variables for the template: none of its own names, and no deeper than JSON may be.
  const std::string kwargs = hi + R"("chat_template_kwargs":)";
  table->ChatField("variables.type", kwargs + "[1]");
  for (const char* name : {"messages", "tools", "add_generation_prompt", "chat_template"}) {
    table->ChatField(StrCat("variables.", name), StrCat(kwargs, "{\"", name, "\":[]}"));
  }
  table->ChatField("variables.deep",
                   StrCat(kwargs, R"({"x":)", Repeat("[", 70), Repeat("]", 70), "}"));
  table->ChatField("variables.taken", kwargs + R"({"enable_thinking":false,"x":null})", Code::kOk);
}

// What another server could do and this one cannot is refused, never left out.
void AddUnsupported(Table* table) {
  const std::string hi = R"("messages":[{"role":"user","content":"hi"}],)";
  const std::string loop = R"({"$ref":"#"})";
  for (const std::string& field :
       {StrCat(R"("guided_json":)", loop), std::string(R"("guided_regex":"(a+)+b")"),
        std::string(R"("guided_grammar":"root ::= root")"),
        StrCat(R"("guided_choice":[)", List("\"a\"", 10'000), "]"),
        StrCat(R"("response_format":{"type":"json_schema","json_schema":)", loop, "}"),
        std::string(R"("chat_template":"{% for i in range(10**12) %}{% endfor %}")"),
        std::string(R"("prompt_logprobs":100)"), std::string(R"("use_beam_search":true)")}) {
    table->ChatField(StrCat("unsupported ", field.substr(0, 24)), hi + field, Code::kUnimplemented);
  }
}

}  // namespace

std::vector<HostileCase> HostileCases(int64_t vocabulary_tokens, int64_t context_tokens) {
  Table table;
  AddBodies(&table);
  AddTypes(&table);
  AddNames(&table);
  AddPrompts(&table, vocabulary_tokens, context_tokens);
  AddMessages(&table);
  AddStopping(&table);
  AddSampling(&table, vocabulary_tokens);
  AddOutput(&table);
  AddUnsupported(&table);
  return table.Take();
}

}  // namespace ebb::tests
