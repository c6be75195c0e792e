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
  ChatConversation conversation;
  conversation.messages = messages;
  return parsed->Render(conversation, {});
}

// Template text as it is, a client's text in brackets.
std::string WithAuthors(const absl::StatusOr<Segments>& segments) {
  if (!segments.ok()) return segments.status().ToString();
  std::string text;
  for (const TextSegment& segment : *segments) {
    absl::StrAppend(&text, segment.is_template ? segment.text : "[" + segment.text + "]");
  }
  return text;
}

std::string Marked(const std::string& source, const std::vector<ChatMessage>& messages = Hello()) {
  return WithAuthors(Render(source, messages));
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

// The same where the template gets `x` from the client.
std::string MarkedValue(const std::string& expression, const std::string& json) {
  const auto parsed = ChatTemplate::Parse("{% macro m(a) %}<{{ a }}>{% endmacro %}" + expression);
  if (!parsed.ok()) return parsed.status().ToString();
  ChatConversation conversation;
  conversation.messages = Hello();
  conversation.variables_json = absl::StrCat("{\"x\":", json, "}");
  return WithAuthors(parsed->Render(conversation, {}));
}

TEST(ChatTemplateTest, WhatAClientWroteStaysKnownThroughEveryOperation) {
  struct Case {
    const char* expression;
    const char* json;
    const char* marked;
  };
  const Case cases[] = {
      {"{{ 'a' ~ x ~ 'b' }}", "\"X\"", "a[X]b"},
      {"{{ ('a' ~ x ~ 'b') | upper }}", "\"xé\"", "A[XÉ]B"},
      {"{{ ('a' ~ x) | title }}", "\" xy\"", "A[ Xy]"},
      {"{{ ('-' ~ x ~ '-').strip('-') }}", "\"X\"", "[X]"},
      {"{{ ('ab' ~ x)[1:3] }}", "\"XY\"", "b[X]"},
      {"{{ ('ab' ~ x)[::-1] }}", "\"XY\"", "[YX]ba"},
      {"{{ ('ab' ~ x)[2] }}", "\"XY\"", "[X]"},
      {"{{ ('a,' ~ x ~ ',b').split(',') | join('+') }}", "\"X,Y\"", "a+[X]+[Y]+b"},
      {"{{ x.replace('Y', '<|t|>') }}", "\"XYZ\"", "[X]<|t|>[Z]"},
      {"{{ '<|t|>'.replace('t', x) }}", "\"X\"", "<|[X]|>"},
      {"{{ x * 2 }}", "\"X\"", "[XX]"},
      {"{{ x | tojson }}", "\"X\\n\"", "[\"X\\n\"]"},
      {"{{ {'a': x} | tojson }}", "\"X\"", "{\"a\": [\"X\"]}"},
      {"{{ x | tojson(indent=1) }}", "{\"k\":[1,null]}", "[{\n \"k\": [\n  1,\n  null\n ]\n}]"},
      {"{{ x }}", "{\"k\":[1,null,true,2.5]}", "[{'k': [1, None, True, 2.5]}]"},
      {"{{ {'a': x} }}", "\"X\"", "{'a': ['X']}"},
      {"{{ x ~ 1 }}", "7", "[7]1"},
      {"{{ x + 1 }}", "7", "[8]"},
      {"{{ x | string }}{{ x | int }}{{ -x }}", "7", "[77-7]"},
      {"{{ x | int }}{{ x | float }}", "\"7\"", "[77.0]"},
      {"{{ m(x) }}", "\"X\"", "<[X]>"},
      {"{% set ns = namespace(v=x) %}{{ ns.v }}", "\"X\"", "[X]"},
      {"{% set y %}a{{ x }}b{% endset %}{{ y | upper }}", "\"x\"", "A[X]B"},
      {"{% filter upper %}a{{ x }}{% endfilter %}", "\"x\"", "A[X]"},
      {"{% for k, v in x.items() %}{{ k }}={{ v }}{% endfor %}", "{\"K\":\"V\"}", "[K]=[V]"},
      {"{% for k, v in x | dictsort %}{{ k }}={{ v }}{% endfor %}", "{\"K\":1}", "[K]=[1]"},
      {"{% for c in 'a' ~ x %}{{ c }}.{% endfor %}", "\"XY\"", "a.[X].[Y]."},
      {"{{ x | map(attribute='n') | join('/') }}", "[{\"n\":\"A\"},{\"n\":\"B\"}]", "[A]/[B]"},
      {"{{ x | sort | unique | first }}{{ x | max }}", "[\"B\",\"A\"]", "[AB]"},
      {"{{ ('a\n' ~ x) | indent(2) }}", "\"X\"", "a\n  [X]"},
      {"{{ '{}<{a}>'.format(x, a=x) }}", "\"X\"", "[X]<[X]>"},
      {"{{ missing | default(x) }}{{ x or 'y' }}", "\"X\"", "[XX]"},
      {"{{ '<' + x | safe }}", "\"X\"", "&lt;[X]"},
      {"{{ x.a.b[0] }}{{ x['a']['b'][-1] }}", "{\"a\":{\"b\":[\"X\"]}}", "[XX]"},
      {"{{ strftime_now(x) }}{{ strftime_now('%Y') }}", "\"%Y\"", "[1970]1970"},
      {"{{ x | length }}{{ range(x | length) | list | length }}", "\"XY\"", "22"},
      {"{{ ('ab' ~ x).rsplit('b', 1) | last | reverse }}", "\"XY\"", "[YX]"},
      {"{{ 'aXb'.partition(x)[1] ~ x.removeprefix('X') }}", "\"X\"", "[X]"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(MarkedValue(c.expression, c.json), c.marked) << c.expression;
  }
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
      {"\n\n{% raw %}{% endraw %}", "line 3: the tag 'raw' is not supported"},
      {"{% include 'x' %}", "the tag 'include'"},
      {"{% block x %}{% endblock %}", "the tag 'block'"},
      {"{% call f() %}{% endcall %}", "the tag 'call'"},
      {"{% with %}{% endwith %}", "the tag 'with'"},
      {"{% for (a, b), c in x %}{% endfor %}", "a tuple of names in another"},
      {"{% for m in messages recursive %}{% endfor %}", "a recursive for"},
      {"{% set ns.a, b = 1, 2 %}", "a tuple with an attribute"},
      {"{{ f(*x) }}", "unpacking arguments"},
      {"{{ x[1, 2] }}", "a tuple as a subscript"},
      {"{{ 0x10 }}", "the number 0x10"},
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

// Only what is reached: a template may hold what it never needs.
TEST(ChatTemplateTest, UnsupportedFunctionsAreNamedWhenTheyAreReached) {
  const Refusal cases[] = {
      {"\n{{ messages | pprint }}", "line 2: the filter 'pprint' is not supported"},
      {"{{ 1 is sameas 1 }}", "the test 'sameas'"},
      {"{{ cycler(1, 2) }}", "'cycler'"},
      {"{{ 'a'.zfill(3) }}", "the method '.zfill'"},
      {"{{ 'a%s' % 'b' }}", "'%' of a string"},
      {"{{ '{:>3}'.format(1) }}", "the format '{:>3}'"},
      {"{{ loop }}{% for m in messages %}{{ loop.cycle(1) }}{% endfor %}", "'loop.cycle'"},
      {"{% for m in messages %}{{ loop }}{% endfor %}", "writing a loop as text"},
      {"{{ messages | select }}", "writing a generator as text"},
      {"{{ strftime_now('%c') }}", "the format '%c'"},
      {"{{ 999999999999999999 * 999999999999999999 }}", "a number of more than 64 bits"},
  };
  for (const Refusal& refusal : cases) {
    const absl::Status status = Render(refusal.source).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << refusal.source << status;
    EXPECT_NE(status.message().find(refusal.message), absl::string_view::npos)
        << refusal.source << status;
    EXPECT_TRUE(Render(absl::StrCat("{% if false %}", refusal.source, "{% endif %}")).ok());
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
      {"{{ a not b }}", "expected '}}', found 'not'"},
      {"{{ a] }}", "']' closes nothing"},
      {"{% break %}", "'break' outside of a loop"},
      {"{% for x in y %}{% set z %}{% break %}{% endset %}{% endfor %}", "outside of a loop"},
      {"{% macro f(a=1, b) %}{% endmacro %}", "without a default"},
      {"{{ f(a=1, 2) }}", "without a name"},
      {"{% set a, b %}{% endset %}", "expected '='"},
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
        "{{ 1 % 0 }}", "{{ 1 in 2 }}", "{{ none | length }}", "{{ messages['a':] }}",
        "{% for x in 3 %}{% endfor %}", "{{ f() }}", "{{ missing.f() }}",
        "{{ messages.append(1) }}", "{% set messages.a = 1 %}", "{{ missing | tojson }}"}) {
    const auto rendered = Render(source);
    EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument) << source;
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
           "{{ " + Repeated("{1:", kDeep) + "1 }}",
           "{{ " + Repeated("f(x=", kDeep) + "1 }}",
           "{{ x" + Repeated("()", kDeep) + " }}",
           "{{ 1" + Repeated(" is eq 1", kDeep) + " }}",
           "{{ x" + Repeated("|default([", kDeep) + " }}",
           Repeated("{% macro f() %}", kDeep),
           Repeated("{% filter trim %}", kDeep),
           "{% set x | " + Repeated("trim | ", kDeep) + "trim %}{% endset %}",
           Repeated("{% set x = [x] %}", 10'000),
           Repeated("{% set x = {1: x} %}", 10'000),
           Repeated("{% set x = dict(a=x) %}", 10'000),
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

TEST(ChatTemplateTest, NothingThatATemplateCallsCostsMoreThanTheLimits) {
  ChatTemplateLimits limits;
  limits.steps_max = 4'000'000;
  const std::string large = "{% set x = 'ab' * 10000000 %}";
  for (const std::string& source : std::vector<std::string>{
           std::string("{{ 'a' * 9999999999 }}"),
           std::string("{{ [1] * 9999999999 }}"),
           std::string("{{ '' * 9999999999 }}{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
           std::string("{% macro f(n) %}{{ f(n + 1) ~ f(n) }}{% endmacro %}{{ f(0) }}"),
           std::string("{% macro f(a=f()) %}{% endmacro %}{{ f() }}"),
           large + "{{ x.replace('a', x) }}",
           large + "{{ x | replace('', x) }}",
           large + "{{ x | list }}",
           large + "{{ x.split('b') | join(x) }}",
           large + "{{ x | tojson | tojson | tojson | tojson }}" + Repeated("{{ x | tojson }}", 9),
           large + "{{ [x, x, x, x] }}",
           large + "{{ '{}{}{}{}'.format(x, x, x, x) }}",
           large + "{{ x ~ x ~ x ~ x }}",
           large + Repeated("{{ x | upper | lower | length }}", 40),
           "{% set r = range(100000) | list %}" + Repeated("{% set r = r + r %}", 9),
           "{% set r = range(100000) | list %}" + Repeated("{{ r | unique | list | length }}", 9),
           "{% set r = range(100000) | list %}" + Repeated("{{ r | sort | length }}", 90),
           "{% set r = range(100000) %}{% for x in r %}{{ x in r }}{% endfor %}",
           "{% set ns = namespace(l=[]) %}{% for x in range(100000) %}"
           "{% set ns.l = ns.l + [x] %}{% endfor %}",
           std::string("{% for a in range(100000) %}{% for b in range(100000) %}"
                       "{% set n = namespace(a=b) %}{% endfor %}{% endfor %}"),
           std::string("{% for a in range(100000) %}{% for b in range(100000) %}"
                       "{% macro f() %}{% endmacro %}{% endfor %}{% endfor %}"),
       }) {
    const absl::Status status = Render(source, Hello(), limits).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted)
        << source.substr(0, 120) << status;
  }
  EXPECT_EQ(Render("{{ 2 ** 9999999999 }}").status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Marked("{{ 1 ** 9999999999 }}{{ (0 - 1) ** 9999999999 }}"), "1-1");
  EXPECT_EQ(Marked("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns.a.a.a is defined }}"),
            "True");
  EXPECT_EQ(
      Render("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a | tojson }}").status().code(),
      absl::StatusCode::kInvalidArgument);
}

// No template, however broken, does more than fail.
TEST(ChatTemplateTest, BrokenTemplatesDoNoHarm) {
  base::Rng rng(TestSeed(17));
  const std::string small =
      "{%- for m in messages -%}{% if loop.first and m['role'] != \"a\\n\" %}{# c #}{{ m.content | "
      "trim ~ 'x' }}{% elif m.x is not defined or 1 in [1, -2] %}{{ (m.role if 1 else none)[1:] }}"
      "{% else %}{% set y = x + 3 % 2 %}{% endif %}\n{% endfor +%}";
  const std::string large =
      "{% macro f(a, b=[{'k': 1.5}]) %}"
      "{{ a.split(',')[::-1] | map('upper') | join }}{% endmacro %}{{ f('x', b=(1,)) }}{% set ns = "
      "namespace(v=0) %}{% set ns.v = ns.v // 2 ** 2 %}{% set z | trim %}{{ {'a': [1]} | tojson }}"
      "{% endset %}{% for k, v in z if k is eq 1 %}{% break %}{% else %}{{ 1 < 2 <= 3 }}{% endfor "
      "%}";
  static const char* const kPieces[] = {
      "{%", "%}", "{{", "}}",    "{#",     "#}",   "'",     "\"",         "\\",    "(",
      ")",  "[",  "]",  "-",     "+",      "not",  "if",    "else",       "endif", "endfor",
      "|",  ".",  "is", "\n",    " ",      "\xff", "\xc3",  "{",          "}",     "**",
      "//", ",",  "=",  "macro", "filter", "loop", "break", "generation", "1.5"};
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string source = i % 2 == 0 ? small : large;
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
