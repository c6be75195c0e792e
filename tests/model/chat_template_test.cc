#include "model/chat_template.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

using Segments = std::vector<TextSegment>;

const std::vector<ChatMessage>& Hello() {
  static const auto* const messages =
      new std::vector<ChatMessage>{{"user", " hello "}, {"assistant", "<|x|>"}};
  return *messages;
}

absl::StatusOr<Segments> Render(const std::string& source,
                                const std::vector<ChatMessage>& messages = Hello(),
                                const ChatTemplateLimits& limits = {}) {
  const auto parsed = ChatTemplate::Parse(source, limits);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(messages, {});
}

// Template text as it is, a client's text in brackets.
std::string Marked(const std::string& source, const std::vector<ChatMessage>& messages = Hello()) {
  const auto segments = Render(source, messages);
  if (!segments.ok()) return segments.status().ToString();
  std::string text;
  for (const TextSegment& segment : *segments) {
    absl::StrAppend(&text, segment.is_template ? segment.text : "[" + segment.text + "]");
  }
  return text;
}

std::string Repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST(ChatTemplateTest, WhatAClientWroteStaysKnown) {
  EXPECT_EQ(Marked("{% for m in messages %}<|{{ m.role }}|>{{ m.content }};{% endfor %}"),
            "<|[user]|>[ hello ];<|[assistant]|>[<|x|>];");
  EXPECT_EQ(Marked("{{ '<' + messages[0].content + '>' }}"), "<[ hello ]>");
  EXPECT_EQ(Marked("{{ ('<' ~ messages[0].content ~ '> ') | trim }}"), "<[ hello ]>");
  EXPECT_EQ(Marked("{{ (' ' + messages[0].content) | trim + '.' }}"), "[hello].");
  EXPECT_EQ(Marked("{% set x = messages[1].content %}{{ x if true }}{{ x or 'y' }}"),
            "[<|x|><|x|>]");
  EXPECT_EQ(Marked("{{ ['a', messages[0].role][1] }}"), "[user]");
  EXPECT_EQ(Marked("{{ messages[0].content }}", {{"user", ""}}), "");
}

TEST(ChatTemplateTest, LoopsForgetWhatTheySet) {
  EXPECT_EQ(Marked("{% set x = 0 %}{% for m in messages %}{% set x = x + 1 %}{{ x }}{% endfor %}"
                   "{{ x }}{{ m }}{{ loop }}"),
            "110");
  EXPECT_EQ(Marked("{% if true %}{% set x = 1 %}{% endif %}{{ x }}"), "1");
}

TEST(ChatTemplateTest, TemplatesCanRefuseMessages) {
  const auto refused = Render("a\n{{ raise_exception('only ' ~ 2 ~ ' roles') }}");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.status().message(), "chat template, line 2: only 2 roles");
}

struct Refusal {
  const char* source;
  const char* message;
};

TEST(ChatTemplateTest, UnsupportedConstructsAreNamedWithTheirLine) {
  const Refusal cases[] = {
      {"\n\n{% macro f() %}{% endmacro %}", "line 3: the tag 'macro' is not supported"},
      {"{% raw %}{% endraw %}", "line 1: the tag 'raw'"},
      {"{% generation %}", "the tag 'generation'"},
      {"{% break %}", "the tag 'break'"},
      {"{% set ns = namespace(a=1) %}", "'namespace'"},
      {"{% set ns.a = 1 %}", "giving an attribute a value"},
      {"{% set x %}a{% endset %}", "a set block"},
      {"{% set a, b = 1 %}", "a tuple of names"},
      {"{% for k, v in x %}{% endfor %}", "a tuple of names"},
      {"{% for m in messages if m %}{% endfor %}", "an 'if' in a for tag"},
      {"{% for m in messages recursive %}{% endfor %}", "a recursive for"},
      {"{% for m in messages %}{% else %}{% endfor %}", "an else of a for"},
      {"\n{{ messages | tojson }}", "line 2: the filter 'tojson'"},
      {"{{ x | trim('a') }}", "an argument of a filter"},
      {"{{ x is divisibleby(3) }}", "the test 'divisibleby'"},
      {"{{ strftime_now('%d') }}", "'strftime_now'"},
      {"{{ range(3) }}", "'range'"},
      {"{{ f(3) }}", "the call of 'f'"},
      {"{{ x.strip() }}", "the method '.strip'"},
      {"{{ m.items }}", "the method '.items'"},
      {"{{ m['items'] }}", "the method '.items'"},
      {"{{ x['a']() }}", "a call"},
      {"{{ loop.cycle }}", "'loop.cycle'"},
      {"{{ {'a': 1} }}", "'{'"},
      {"{{ (1, 2) }}", "a tuple"},
      {"{{ 1.5 }}", "the number 1"},
      {"{{ 0x10 }}", "the number 0x10"},
      {"{{ 2 ** 3 }}", "'**'"},
      {"{{ 7 // 2 }}", "'//'"},
      {"{{ 7 / 2 }}", "'/'"},
      {"{{ 1 < 2 < 3 }}", "a chain of comparisons"},
      {"{{ x[::2] }}", "a slice with a step"},
      {"{{ '\\N{DASH}' }}", "the escape '\\N'"},
      {"{{ é }}", "'é'"},
  };
  for (const Refusal& refusal : cases) {
    const absl::Status status = ChatTemplate::Parse(refusal.source).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << refusal.source << status;
    EXPECT_NE(status.message().find(refusal.message), absl::string_view::npos)
        << refusal.source << status;
  }
}

TEST(ChatTemplateTest, MalformedTemplatesAreRefused) {
  const Refusal cases[] = {
      {"{% if x %}", "line 1: expected '{% endif %}', found the end of the template"},
      {"{% for m in messages %}{% endif %}", "'{% endif %}' stands alone"},
      {"{% endfor %}", "stands alone"},
      {"{% if x %}{% else %}{% elif y %}{% endif %}", "'{% elif %}' stands alone"},
      {"{{ x", "the tag has no end"},
      {"a\n{% if", "line 2: the tag has no end"},
      {"{# x", "the comment has no end"},
      {"{{ 'x }}", "the string has no end"},
      {"{{ 'x\\", "the string has no end"},
      {"{{ '\\x4' }}", "an escape in a string is malformed"},
      {"{{ '\\ud800' }}", "an escape in a string is malformed"},
      {"{{ }}", "expected a value, found the end of the tag"},
      {"{{ a b }}", "expected '}}', found 'b'"},
      {"{{ (a }}", "expected ')'"},
      {"{{ a. }}", "expected a name after '.'"},
      {"{{ a is }}", "expected a test"},
      {"{{ a not b }}", "expected 'in'"},
      {"{% %}", "expected a tag"},
      {"{% set %}", "expected a name"},
      {"{% set loop = 1 %}", "'loop'"},
      {"{% for x of y %}{% endfor %}", "expected 'in'"},
      {"\xff", "not UTF-8"},
  };
  for (const Refusal& refusal : cases) {
    const absl::Status status = ChatTemplate::Parse(refusal.source).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << refusal.source << status;
    EXPECT_NE(status.message().find(refusal.message), absl::string_view::npos)
        << refusal.source << status;
  }
}

TEST(ChatTemplateTest, OperationsThatDoNotFitTheirValuesAreErrors) {
  for (const char* source :
       {"{{ 1 + 'a' }}", "{{ missing + 'a' }}", "{{ missing.a.b }}", "{{ 'a' < 1 }}", "{{ -'a' }}",
        "{{ 1 % 0 }}", "{{ 1 in 2 }}", "{{ none | length }}", "{{ 1[0] }}", "{{ 1[0:] }}",
        "{{ messages['a':] }}", "{% for x in 3 %}{% endfor %}",
        "{{ 999999999999999999 * 999999999999999999 }}"}) {
    const auto rendered = Render(source);
    EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument) << source;
  }
  for (const char* source :
       {"{{ 'a' * 3 }}", "{{ 'a%s' % 'b' }}", "{{ 'abc'[0] }}", "{{ 'abc'[1:] }}", "{{ messages }}",
        "{{ messages[0] }}", "{% for c in 'abc' %}{% endfor %}", "{{ [1] < [2] }}"}) {
    const auto rendered = Render(source);
    EXPECT_EQ(rendered.status().code(), absl::StatusCode::kUnimplemented) << source;
  }
}

TEST(ChatTemplateTest, NestingIsBounded) {
  const auto code = [](const std::string& source) { return Render(source).status().code(); };
  EXPECT_EQ(code(Repeated("{% if true %}", 100) + "x" + Repeated("{% endif %}", 100)),
            absl::StatusCode::kOk);
  EXPECT_EQ(code("{{ " + Repeated("(", 100) + "1" + Repeated(")", 100) + " }}"),
            absl::StatusCode::kOk);
  EXPECT_EQ(code("{{ 1" + Repeated(" + 1", 100) + " }}"), absl::StatusCode::kOk);
  constexpr int kDeep = 20'000;
  for (const std::string& source : {
           Repeated("{% if 1 %}", kDeep) + Repeated("{% endif %}", 100),
           "{{ " + Repeated("(", kDeep) + "1" + Repeated(")", kDeep) + " }}",
           "{{ " + Repeated("[", kDeep) + Repeated("]", kDeep) + " }}",
           "{{ " + Repeated("not ", kDeep) + "1 }}",
           "{{ " + Repeated("-", kDeep) + "1 }}",
           "{{ 1" + Repeated("+1", kDeep) + " }}",
           "{{ x" + Repeated(".a", kDeep) + " }}",
           "{{ x" + Repeated("[0]", kDeep) + " }}",
           "{{ x" + Repeated("|trim", kDeep) + " }}",
           "{{ x" + Repeated(" is none", kDeep) + " }}",
           "{{ 1" + Repeated(" if 1 else 1", kDeep) + " }}",
           "{{ 1" + Repeated(" if 1", kDeep) + " }}",
           "{{ " + Repeated("raise_exception(", kDeep / 2) + "1 }}",
           Repeated("{% set x = [x] %}", 10'000),
       }) {
    const absl::Status status = Render(source).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << source.substr(0, 60) << status;
  }
}

TEST(ChatTemplateTest, CostIsBounded) {
  const auto code = [](const std::string& source, const ChatTemplateLimits& limits = {}) {
    return Render(source, Hello(), limits).status().code();
  };
  EXPECT_EQ(code(std::string((256 << 10) + 1, 'a')), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("{% set x = 'a' %}" + Repeated("{% set x = x + x %}", 80)),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{% set x = [1] %}" + Repeated("{% set x = x + x %}", 80)),
            absl::StatusCode::kResourceExhausted);
  ChatTemplateLimits short_time;
  short_time.steps_max = 1'000'000;
  std::string loops = "{% set x = messages" + Repeated(" + messages", 50) + " %}";
  for (int i = 0; i < 6; ++i) loops += absl::StrCat("{% for m", i, " in x %}");
  EXPECT_EQ(code(loops + Repeated("{% endfor %}", 6), short_time),
            absl::StatusCode::kResourceExhausted);
  ChatTemplateLimits small;
  small.text_bytes_max = 20;
  EXPECT_EQ(code("{{ messages[0].content }}", small), absl::StatusCode::kResourceExhausted);
  small.text_bytes_max = 30;
  EXPECT_EQ(code("{{ messages[0].content }}", small), absl::StatusCode::kOk);
  EXPECT_EQ(code(Repeated("{{ messages[0].content }}", 5), small),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{{ 1 }}" + std::string(40, 'a'), small), absl::StatusCode::kResourceExhausted);
}

// No template, however broken, does more than fail.
TEST(ChatTemplateTest, BrokenTemplatesDoNoHarm) {
  base::Rng rng(TestSeed(17));
  const std::string whole =
      "{%- for m in messages -%}{% if loop.first and m['role'] != \"a\\n\" %}{# c #}{{ m.content | "
      "trim ~ 'x' }}{% elif m.x is not defined or 1 in [1, -2] %}{{ (m.role if 1 else none)[1:] }}"
      "{% else %}{% set y = x + 3 % 2 %}{% endif %}\n{% endfor +%}";
  static const char* const kPieces[] = {
      "{%", "%}",  "{{", "}}",   "{#",    "#}",     "'", "\"", "\\", "(",  ")", "[",    "]",   "-",
      "+",  "not", "if", "else", "endif", "endfor", "|", ".",  "is", "\n", " ", "\xff", "\xc3"};
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string source = whole;
    for (int64_t edits = rng.Between(1, 4); edits > 0; --edits) {
      const auto at = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(source.size())));
      if (rng.Chance(0.5)) {
        source.erase(at, static_cast<size_t>(rng.Between(1, 12)));
      } else {
        source.insert(at, kPieces[rng.Between(0, std::size(kPieces) - 1)]);
      }
    }
    parsed += Render(source).ok() ? 1 : 0;
  }
  EXPECT_GT(parsed, 100);
}

}  // namespace
}  // namespace ebb::model
