// Templates render as jinja2 renders them with transformers' settings: see
// tests/golden/make_jinja_golden.py.

#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/model/chat_cases.h"
#include "tests/model/golden.h"

namespace ebb::model {
namespace {

// What make_jinja_golden.py gives snippets and random expressions.
constexpr char kConversation[] = R"json({
  "messages": [{"role": "user", "content": " hi\u00a0\n"},
               {"role": "assistant", "content": "<|im_end|>"}],
  "variables": {
    "d": {"b": 2, "a": [1, 2.5, null], "items": "x", "é\"": {"k": true}}, "n": -7, "f": 2.5,
    "s": " Ab<|x|>é\n", "l": ["b", "A", "c", "a"],
    "r": [{"n": "y", "v": 2}, {"n": "x", "v": 1}, {"n": "z"}], "t": "a,b,,c",
    "big": 9007199254740993, "e": "", "w": "it's a \"q\" \\ \t\u2028x"}})json";

TEST(JinjaGoldenTest, ChatTemplatesRenderAsInTransformers) {
  const auto cases = ReadGoldenLines<OrderedJson>("tests/golden/jinja_templates.jsonl");
  ASSERT_GE(cases.size(), 60u);
  for (const OrderedJson& item : cases) {
    const auto text = RenderCase(item);
    ASSERT_TRUE(text.ok()) << text.status() << " in " << item["name"];
    EXPECT_EQ(*text, item["text"].get<std::string>()) << item["name"];
  }
}

// The cases that we refuse as not supported although jinja2 renders them; all others must agree.
int CountUnsupported(const std::string& path) {
  int unsupported = 0;
  for (OrderedJson item : ReadGoldenLines<OrderedJson>(path)) {
    item["conversation"] = OrderedJson::parse(kConversation);
    item["add_generation_prompt"] = true;
    const auto text = RenderCase(item);
    const std::string source = item["template"];
    if (item["text"].is_null()) {
      EXPECT_FALSE(text.ok()) << source << "\ngave " << *text;
    } else if (absl::IsUnimplemented(text.status())) {
      ++unsupported;
      std::cout << text.status() << " in " << source << "\n";
    } else if (!text.ok()) {
      ADD_FAILURE() << text.status() << " in " << source << "\nwants " << item["text"];
    } else {
      EXPECT_EQ(*text, item["text"].get<std::string>()) << source;
    }
  }
  return unsupported;
}

TEST(JinjaGoldenTest, EachConstructRendersAsInJinja) {
  EXPECT_EQ(CountUnsupported("tests/golden/jinja_snippets.jsonl"), 0);
}

TEST(JinjaGoldenTest, RandomExpressionsRenderAsInJinja) {
  EXPECT_LE(CountUnsupported("tests/golden/jinja_random.jsonl"), 100);
}

}  // namespace
}  // namespace ebb::model
