#include "server/tool_calls.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

void AppendTo(std::string* all, const ToolCallPiece& piece) {
  for (const ToolCall& call : piece.calls) {
    absl::StrAppend(all, "{", call.name, " ", call.arguments, "}");
  }
}

struct Parsed {
  std::string content;
  std::string calls;
};

Parsed ParseIn(ToolCallFormat format, const std::vector<std::string>& pieces) {
  ToolCallParser parser(format);
  Parsed parsed;
  const auto add = [&](const ToolCallPiece& piece) {
    parsed.content += piece.content;
    AppendTo(&parsed.calls, piece);
  };
  for (const std::string& piece : pieces) add(parser.Feed(piece));
  add(parser.Flush());
  return parsed;
}

// At once, cut at every place, and byte by byte: always the same.
void Expect(ToolCallFormat format, const std::string& text, const std::string& content,
            const std::string& calls) {
  const auto check = [&](const std::vector<std::string>& pieces) {
    const Parsed parsed = ParseIn(format, pieces);
    EXPECT_EQ(parsed.content, content) << text << " cut after " << pieces[0];
    EXPECT_EQ(parsed.calls, calls) << text << " cut after " << pieces[0];
  };
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  check(bytes);
  for (size_t cut = 0; cut <= text.size(); ++cut) check({text.substr(0, cut), text.substr(cut)});
}

TEST(ToolCallsTest, HermesCallsAreTakenOut) {
  const auto expect = [](const std::string& text, const std::string& content,
                         const std::string& calls) {
    Expect(ToolCallFormat::kHermes, text, content, calls);
  };
  expect("plain text", "plain text", "");
  expect("a < b <tool", "a < b <tool", "");
  expect("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", "",
         "{f {\"a\": 1}}");
  expect("It.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", "It.\n", "{f {}}");
  expect(
      "<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":null}"
      "</tool_call>\n",
      "", "{f {}}{g {}}");
  expect("<tool_call>{\"name\":\"f\"}</tool_call>\n then", "\n then", "{f {}}");
  // The text of a call may hold the marks.
  expect(
      "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":\"</tool_call> } \\\" <tool_call>\"}}"
      "</tool_call>",
      "", "{f {\"x\":\"</tool_call> } \\\" <tool_call>\"}}");
  // The end tag is missing: the end-of-sequence token came first.
  expect("<tool_call>{\"name\":\"f\"}", "", "{f {}}");
  expect("<tool_call>{\"name\":\"f\"}</tool_", "", "{f {}}");
  // OpenAI's spelling of arguments, and numbers stay as they are written.
  expect("<tool_call>{\"arguments\":\"{\\\"a\\\": 1.0}\",\"name\":\"f\"}</tool_call>", "",
         "{f {\"a\": 1.0}}");
  expect("<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":12345678901234567890123}}</tool_call>",
         "", "{f {\"a\":12345678901234567890123}}");
}

TEST(ToolCallsTest, WhatIsNoCallStaysText) {
  for (const std::string text :
       {"<tool_call> is a tag", "<tool_call>{\"name\": f}</tool_call>",
        "<tool_call>{\"name\":\"f\"} and more</tool_call>", "<tool_call>{\"name\":\"f\"",
        "<tool_call>{\"arguments\":{}}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":\"x\"}</tool_call>",
        "<tool_call>[{\"name\":\"f\"}]</tool_call>", "<tool_call>{\"name\":1}</tool_call>",
        "<tool_call>{\"name\":\"f\",}</tool_call>", "<tool_call>{}</tool_call>", "<tool_call>",
        "<tool_call><tool_call>", "<tool_call>{\"name\":\"\\q\"}</tool_call>",
        "<tool_call>{\"name\":\"f\" \"x\":1}</tool_call>"}) {
    Expect(ToolCallFormat::kHermes, text, text, "");
  }
  Expect(ToolCallFormat::kHermes, "<tool_call>{<tool_call>{\"name\":\"f\"}</tool_call>",
         "<tool_call>{", "{f {}}");
  const std::string spaces(100, ' ');
  Expect(ToolCallFormat::kHermes, absl::StrCat("<tool_call>", spaces, "{\"name\":\"f\"}"),
         absl::StrCat("<tool_call>", spaces, "{\"name\":\"f\"}"), "");
}

TEST(ToolCallsTest, MistralCallsAreTakenOut) {
  const auto expect = [](const std::string& text, const std::string& content,
                         const std::string& calls) {
    Expect(ToolCallFormat::kMistral, text, content, calls);
  };
  expect("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": [1]}}, {\"name\": \"g\"}]", "",
         "{f {\"a\": [1]}}{g {}}");
  expect("ok [TOOL_CALLS] [{\"name\":\"f\",\"id\":\"123456789\"}]", "ok ", "{f {}}");
  expect("[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]abc[ARGS]{}", "",
         "{f {\"a\": 1}}{g {}}");
  expect("[TOOL_CALLS]f{\"a\": 1}", "", "{f {\"a\": 1}}");
  for (const std::string text :
       {"[TOOL_CALLS]", "[TOOL_CALLS][]", "[TOOL_CALLS][1]", "[TOOL_CALLS]two words{}",
        "[TOOL_CALLS]f[ARGS]{\"a\"}", "[TOOL_CALLS]f[ARGS]{", "[TOOL", "[TOOL_CALLS]f", "[1, 2]",
        "[TOOL_CALLS][{\"name\":\"f\"}, {\"nam\":\"f\"}]"}) {
    expect(text, text, "");
  }
}

TEST(ToolCallsTest, AnswersThatAreJsonAreCalls) {
  const auto expect = [](const std::string& text, const std::string& content,
                         const std::string& calls) {
    Expect(ToolCallFormat::kJson, text, content, calls);
  };
  expect("{\"name\": \"f\", \"parameters\": {\"a\": {\"b\": \"}\"}}}", "",
         "{f {\"a\": {\"b\": \"}\"}}}");
  expect(" <|python_tag|>{\"name\": \"f\"}; {\"name\": \"g\"}\n", "", "{f {}}{g {}}");
  expect("[{\"name\":\"f\",\"arguments\":{}}, {\"name\":\"g\"}]", "", "{f {}}{g {}}");
  expect("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}", "",
         "{f {}}");
  expect("{\"type\":\"function\",\"function\":\"f\",\"parameters\":{\"a\":1}}", "",
         "{f {\"a\":1}}");
  expect("{\"name\":\"f\"} is it", " is it", "{f {}}");
  for (const std::string text :
       {"text {\"name\":\"f\"}", "{\"answer\": 42}", "[1, 2]", "{\"name\":\"f\"", "{", "[", "[]",
        "{}", "{\"name\":\"f\",\"parameters\":3}", "{\"name\":\"f\"x", "   ",
        "<|python_tag|>print(1)", "<|py", "[{\"name\":\"f\"}, 3]", "{\"name\": \"f\", \"name\"}",
        "{\"namely\": 1}", "{\"function\":{\"function\":{\"name\":\"f\"}}}"}) {
    expect(text, text, "");
  }
}

TEST(ToolCallsTest, TextIsHeldBackOnlyWhileItMayBecomeACall) {
  ToolCallParser hermes(ToolCallFormat::kHermes);
  EXPECT_EQ(hermes.Feed("a <b").content, "a <b");
  EXPECT_EQ(hermes.Feed("c <to").content, "c ");
  EXPECT_EQ(hermes.Feed("n").content, "<ton");
  EXPECT_EQ(hermes.Feed("<tool_call>{\"name\"").content, "");
  EXPECT_EQ(hermes.Feed("}").content, "<tool_call>{\"name\"}");
  ToolCallParser json(ToolCallFormat::kJson);
  EXPECT_EQ(json.Feed("{\"na").content, "");
  EXPECT_EQ(json.Feed("tion\": ").content, "{\"nation\": ");
  EXPECT_EQ(json.Feed("{\"name\"").content, "{\"name\"");
  ToolCallParser none(ToolCallFormat::kNone);
  EXPECT_EQ(none.Feed("<tool_call>").content, "<tool_call>");
  // A call is given as soon as it is whole.
  ToolCallParser mistral(ToolCallFormat::kMistral);
  EXPECT_EQ(mistral.Feed("[TOOL_CALLS]f[ARGS]{}").calls.size(), 1u);
}

TEST(ToolCallsTest, TheFormatIsThatOfTheTemplate) {
  EXPECT_EQ(DetectToolCallFormat("{{ messages }}"), ToolCallFormat::kNone);
  EXPECT_EQ(DetectToolCallFormat("{% if tools %}<tool_call>"), ToolCallFormat::kHermes);
  EXPECT_EQ(DetectToolCallFormat("{% if tools %}<tool_call>\n<function=f>"), ToolCallFormat::kNone);
  EXPECT_EQ(DetectToolCallFormat("{% if tools %}[TOOL_CALLS]"), ToolCallFormat::kMistral);
  EXPECT_EQ(DetectToolCallFormat("{% if tools %}{\"name\": x, \"parameters\": y}"),
            ToolCallFormat::kJson);
  EXPECT_EQ(DetectToolCallFormat("{% if tools %}tell of them"), ToolCallFormat::kNone);
}

// However an answer is put together and cut, what comes out does not depend on the cuts.
TEST(ToolCallsTest, CutsChangeNothing) {
  base::Rng rng(tests::TestSeed());
  static const char* const kParts[] = {"<tool_call>",
                                       "</tool_call>",
                                       "{\"name\":\"f\"}",
                                       "{\"name\": \"g\", \"arguments\": {}}",
                                       "\n",
                                       " ",
                                       "{",
                                       "}",
                                       "[TOOL_CALLS]",
                                       "f[ARGS]",
                                       "[",
                                       "]",
                                       ",",
                                       ";",
                                       "\"",
                                       "text",
                                       "<|python_tag|>",
                                       "\\",
                                       "{\"a\":",
                                       "1",
                                       "<",
                                       "é"};
  for (int i = 0; i < 4'000; ++i) {
    std::string text;
    for (int64_t n = rng.Between(0, 8); n > 0; --n) {
      text += kParts[rng.Between(0, std::size(kParts) - 1)];
    }
    std::vector<std::string> pieces = {""};
    for (const char c : text) {
      if (rng.Chance(0.4)) pieces.emplace_back();
      pieces.back().push_back(c);
    }
    for (const ToolCallFormat format : {ToolCallFormat::kNone, ToolCallFormat::kHermes,
                                        ToolCallFormat::kMistral, ToolCallFormat::kJson}) {
      const Parsed whole = ParseIn(format, {text});
      const Parsed cut = ParseIn(format, pieces);
      EXPECT_EQ(whole.content, cut.content) << text;
      EXPECT_EQ(whole.calls, cut.calls) << text;
      if (whole.calls.empty()) {
        EXPECT_EQ(whole.content, text);
      }
    }
  }
}

// An answer's length bounds the time, whatever stands in it.
TEST(ToolCallsTest, LongAnswersTakeLinearTime) {
  for (const char* part :
       {"<tool_call>", "<tool_call>{", "<tool_call>{\"", "[TOOL_CALLS]", "[TOOL_CALLS][",
        "[TOOL_CALLS]f[ARGS]{\"", "{\"name\":", "[", "{\"name\":\"f\"}"}) {
    for (const ToolCallFormat format :
         {ToolCallFormat::kHermes, ToolCallFormat::kMistral, ToolCallFormat::kJson}) {
      ToolCallParser parser(format);
      for (int i = 0; i < 30'000; ++i) parser.Feed(part);
      parser.Flush();
    }
  }
}

}  // namespace
}  // namespace ebb::server
