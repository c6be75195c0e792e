#include "model/chat_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/chat_template_ast.h"
#include "model/chat_template_lexer.h"
#include "model/chat_template_value.h"
#include "model/utf8.h"

namespace ebb::model {
namespace chat {
namespace {

using Kind = Expression::Kind;

// One rendering: walks the tree over a stack of scopes.
class Renderer {
 public:
  explicit Renderer(const ChatTemplateLimits& limits)
      : limits_(limits), steps_left_(limits.steps_max) {
    scopes_.emplace_back();
  }

  void Define(absl::string_view name, Value value);
  absl::Status Run(const Block& block);
  Text TakeOutput() && { return std::move(output_); }

 private:
  using Scope = std::vector<std::pair<absl::string_view, Value>>;

  static absl::Status Invalid(int32_t line, absl::string_view message) {
    return TemplateError(absl::StatusCode::kInvalidArgument, line, message);
  }
  // For what Jinja can do with values of these kinds and we cannot: parsing does not know them.
  static absl::Status Unsupported(int32_t line, absl::string_view what) {
    return TemplateError(absl::StatusCode::kUnimplemented, line,
                         absl::StrCat(what, " is not supported"));
  }
  // Takes steps for a node at `line` and for `bytes` of text that it copies.
  absl::Status Spend(int32_t line, size_t bytes);
  absl::Status CheckTextBytes(int32_t line, size_t bytes) const;

  absl::Status RunFor(const Statement& statement);
  absl::Status RunIf(const Statement& statement);

  Value Lookup(absl::string_view name) const;
  absl::StatusOr<Value> Evaluate(const Expression& node);
  absl::StatusOr<Value> EvaluateBinary(const Expression& node);
  absl::StatusOr<Value> EvaluateSubscript(const Expression& node);
  absl::StatusOr<Value> EvaluateSlice(const Expression& node);
  absl::StatusOr<Value> EvaluateFilter(const Expression& node);
  absl::StatusOr<Value> EvaluateTest(const Expression& node);
  absl::StatusOr<Value> EvaluateRaise(const Expression& node);
  absl::StatusOr<Value> Member(int32_t line, const Value& value, absl::string_view name) const;
  absl::StatusOr<Value> Add(const Expression& node, const Value& left, const Value& right);
  absl::StatusOr<Value> Arithmetic(const Expression& node, const Value& left, const Value& right);
  absl::StatusOr<Value> Order(const Expression& node, const Value& left, const Value& right);
  absl::StatusOr<Value> In(const Expression& node, const Value& left, const Value& right);
  absl::StatusOr<Value> Join(int32_t line, const Text& left, const Text& right);
  absl::StatusOr<Text> ToText(int32_t line, const Value& value) const;

  const ChatTemplateLimits& limits_;
  int64_t steps_left_;
  std::vector<Scope> scopes_;
  Text output_;
};

absl::Status Renderer::Spend(int32_t line, size_t bytes) {
  steps_left_ -= 1 + static_cast<int64_t>(bytes / 64);
  if (steps_left_ >= 0) return absl::OkStatus();
  return TemplateError(absl::StatusCode::kResourceExhausted, line,
                       absl::StrCat("rendering takes more than ", limits_.steps_max, " steps"));
}

absl::Status Renderer::CheckTextBytes(int32_t line, size_t bytes) const {
  if (bytes <= limits_.text_bytes_max) return absl::OkStatus();
  return TemplateError(absl::StatusCode::kResourceExhausted, line,
                       absl::StrCat("a value has more than ", limits_.text_bytes_max, " bytes"));
}

void Renderer::Define(absl::string_view name, Value value) {
  Scope& scope = scopes_.back();
  for (auto& [defined, old] : scope) {
    if (defined != name) continue;
    old = std::move(value);
    return;
  }
  scope.emplace_back(name, std::move(value));
}

Value Renderer::Lookup(absl::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    for (const auto& [defined, value] : *scope) {
      if (defined == name) return value;
    }
  }
  return Value();
}

absl::Status Renderer::Run(const Block& block) {
  for (const auto& statement : block.statements) {
    const int32_t line = statement->line;
    RETURN_IF_ERROR(Spend(line, statement->text.size()));
    switch (statement->kind) {
      case Statement::Kind::kText:
        output_.Append(statement->text, /*is_template=*/true);
        break;
      case Statement::Kind::kOutput: {
        ASSIGN_OR_RETURN(const Value value, Evaluate(*statement->expression));
        ASSIGN_OR_RETURN(const Text text, ToText(line, value));
        RETURN_IF_ERROR(Spend(line, text.bytes()));
        RETURN_IF_ERROR(CheckTextBytes(line, output_.bytes() + text.bytes()));
        output_.Append(text);
        break;
      }
      case Statement::Kind::kSet: {
        ASSIGN_OR_RETURN(Value value, Evaluate(*statement->expression));
        Define(statement->text, std::move(value));
        break;
      }
      case Statement::Kind::kFor:
        RETURN_IF_ERROR(RunFor(*statement));
        break;
      case Statement::Kind::kIf:
        RETURN_IF_ERROR(RunIf(*statement));
        break;
    }
    RETURN_IF_ERROR(CheckTextBytes(line, output_.bytes()));
  }
  return absl::OkStatus();
}

absl::Status Renderer::RunFor(const Statement& statement) {
  ASSIGN_OR_RETURN(const Value iterated, Evaluate(*statement.expression));
  if (iterated.kind == Value::Kind::kUndefined) return absl::OkStatus();
  if (iterated.kind == Value::Kind::kText || iterated.kind == Value::Kind::kDict) {
    return Unsupported(statement.line, absl::StrCat("going over ", iterated.KindName()));
  }
  if (iterated.kind != Value::Kind::kList) {
    return Invalid(statement.line, absl::StrCat(iterated.KindName(), " is not a list to go over"));
  }
  const auto count = static_cast<int64_t>(iterated.list->size());
  for (int64_t i = 0; i < count; ++i) {
    // Making a scope costs about as much as sixteen simple nodes.
    RETURN_IF_ERROR(Spend(statement.line, 16 * 64));
    // What is set inside an iteration is forgotten after it.
    scopes_.emplace_back();
    Define("loop", Value::OfDict({{"first", Value::Bool(i == 0)},
                                  {"last", Value::Bool(i + 1 == count)},
                                  {"index", Value::Integer(i + 1)},
                                  {"index0", Value::Integer(i)},
                                  {"revindex", Value::Integer(count - i)},
                                  {"revindex0", Value::Integer(count - i - 1)},
                                  {"length", Value::Integer(count)}}));
    Define(statement.text, (*iterated.list)[i]);
    RETURN_IF_ERROR(Run(statement.blocks[0]));
    scopes_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status Renderer::RunIf(const Statement& statement) {
  for (size_t i = 0; i < statement.conditions.size(); ++i) {
    ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.conditions[i]));
    if (condition.IsTrue()) return Run(statement.blocks[i]);
  }
  if (statement.blocks.size() == statement.conditions.size()) return absl::OkStatus();
  return Run(statement.blocks.back());
}

absl::StatusOr<Value> Renderer::Evaluate(const Expression& node) {
  RETURN_IF_ERROR(Spend(node.line, node.text.size()));
  switch (node.kind) {
    case Kind::kString:
      return Value::OfText(Text(node.text, /*is_template=*/true));
    case Kind::kInteger:
      return Value::Integer(node.integer);
    case Kind::kBool:
      return Value::Bool(node.integer != 0);
    case Kind::kNone:
      return Value::None();
    case Kind::kName:
      return Lookup(node.text);
    case Kind::kList: {
      Value::List elements;
      for (const auto& operand : node.operands) {
        ASSIGN_OR_RETURN(elements.emplace_back(), Evaluate(*operand));
        // Comparing and freeing lists recurse.
        if (elements.back().depth >= limits_.nesting_max) {
          return Invalid(node.line, "lists are nested too deeply");
        }
      }
      return Value::OfList(std::move(elements));
    }
    case Kind::kAttribute: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
      return Member(node.line, value, node.text);
    }
    case Kind::kSubscript:
      return EvaluateSubscript(node);
    case Kind::kSlice:
      return EvaluateSlice(node);
    case Kind::kNot: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
      return Value::Bool(!value.IsTrue());
    }
    case Kind::kNegate: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
      if (!value.IsNumber() || value.integer == INT64_MIN) {
        return Invalid(node.line, absl::StrCat("'-' does not take ", value.KindName()));
      }
      return Value::Integer(-value.integer);
    }
    case Kind::kBinary:
      return EvaluateBinary(node);
    case Kind::kConditional: {
      ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.operands[1]));
      if (condition.IsTrue()) return Evaluate(*node.operands[0]);
      return node.operands[2] == nullptr ? Value() : Evaluate(*node.operands[2]);
    }
    case Kind::kFilter:
      return EvaluateFilter(node);
    case Kind::kTest:
      return EvaluateTest(node);
    case Kind::kRaise:
      return EvaluateRaise(node);
  }
  return Value();
}

absl::StatusOr<Value> Renderer::EvaluateBinary(const Expression& node) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*node.operands[0]));
  if (node.text == "and" || node.text == "or") {
    if (left.IsTrue() == (node.text == "or")) return left;
    return Evaluate(*node.operands[1]);
  }
  ASSIGN_OR_RETURN(const Value right, Evaluate(*node.operands[1]));
  if (node.text == "+") return Add(node, left, right);
  if (node.text == "~") {
    ASSIGN_OR_RETURN(const Text left_text, ToText(node.line, left));
    ASSIGN_OR_RETURN(const Text right_text, ToText(node.line, right));
    return Join(node.line, left_text, right_text);
  }
  if (node.text == "==" || node.text == "!=") {
    const bool equal = Equal(left, right, &steps_left_);
    RETURN_IF_ERROR(Spend(node.line, 0));
    return Value::Bool(equal == (node.text == "=="));
  }
  if (node.text == "in") return In(node, left, right);
  if (node.text == "-" || node.text == "*" || node.text == "%") {
    return Arithmetic(node, left, right);
  }
  return Order(node, left, right);
}

absl::StatusOr<Value> Renderer::Join(int32_t line, const Text& left, const Text& right) {
  RETURN_IF_ERROR(CheckTextBytes(line, left.bytes() + right.bytes()));
  RETURN_IF_ERROR(Spend(line, left.bytes() + right.bytes()));
  Text joined = left;
  joined.Append(right);
  return Value::OfText(std::move(joined));
}

absl::StatusOr<Value> Renderer::Add(const Expression& node, const Value& left, const Value& right) {
  if (left.kind == Value::Kind::kText && right.kind == Value::Kind::kText) {
    return Join(node.line, *left.text, *right.text);
  }
  if (left.kind == Value::Kind::kList && right.kind == Value::Kind::kList) {
    const size_t bytes = sizeof(Value) * (left.list->size() + right.list->size());
    RETURN_IF_ERROR(CheckTextBytes(node.line, bytes));
    RETURN_IF_ERROR(Spend(node.line, 4 * bytes));
    Value::List joined = *left.list;
    joined.insert(joined.end(), right.list->begin(), right.list->end());
    return Value::OfList(std::move(joined));
  }
  return Arithmetic(node, left, right);
}

absl::StatusOr<Value> Renderer::Arithmetic(const Expression& node, const Value& left,
                                           const Value& right) {
  if (!left.IsNumber() || !right.IsNumber()) {
    const auto is_sequence = [](const Value& value) {
      return value.kind == Value::Kind::kText || value.kind == Value::Kind::kList;
    };
    if ((node.text == "*" && left.IsNumber() && is_sequence(right)) ||
        (node.text == "*" && is_sequence(left) && right.IsNumber()) ||
        (node.text == "%" && left.kind == Value::Kind::kText)) {
      return Unsupported(node.line, absl::StrCat("'", node.text, "' of ", left.KindName(), " and ",
                                                 right.KindName()));
    }
    return Invalid(node.line, absl::StrCat("'", node.text, "' does not take ", left.KindName(),
                                           " and ", right.KindName()));
  }
  const int64_t a = left.integer;
  const int64_t b = right.integer;
  int64_t result = 0;
  bool overflow = false;
  if (node.text == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (node.text == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (node.text == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (b == 0) {
    return Invalid(node.line, "the remainder of a division by zero");
  } else if (b != -1) {  // The remainder by -1 is 0; computing it can overflow.
    result = a % b;
    if (result != 0 && (result < 0) != (b < 0)) result += b;  // The sign of b, as in Python.
  }
  if (overflow) return Invalid(node.line, "a number is too large");
  return Value::Integer(result);
}

absl::StatusOr<Value> Renderer::Order(const Expression& node, const Value& left,
                                      const Value& right) {
  int order = 0;
  if (left.IsNumber() && right.IsNumber()) {
    order = left.integer < right.integer ? -1 : left.integer > right.integer;
  } else if (left.kind == Value::Kind::kText && right.kind == Value::Kind::kText) {
    RETURN_IF_ERROR(Spend(node.line, left.text->bytes() + right.text->bytes()));
    order = left.text->Joined().compare(right.text->Joined());
  } else if (left.kind == Value::Kind::kList && right.kind == Value::Kind::kList) {
    return Unsupported(node.line, "the order of lists");
  } else {
    return Invalid(node.line, absl::StrCat("'", node.text, "' does not compare ", left.KindName(),
                                           " with ", right.KindName()));
  }
  if (node.text == "<") return Value::Bool(order < 0);
  if (node.text == "<=") return Value::Bool(order <= 0);
  if (node.text == ">") return Value::Bool(order > 0);
  return Value::Bool(order >= 0);
}

absl::StatusOr<Value> Renderer::In(const Expression& node, const Value& left, const Value& right) {
  switch (right.kind) {
    case Value::Kind::kUndefined:
      return Value::Bool(false);
    case Value::Kind::kText:
      if (left.kind != Value::Kind::kText) break;
      RETURN_IF_ERROR(Spend(node.line, left.text->bytes() + right.text->bytes()));
      return Value::Bool(absl::StrContains(right.text->Joined(), left.text->Joined()));
    case Value::Kind::kList: {
      const bool found =
          std::any_of(right.list->begin(), right.list->end(),
                      [&](const Value& element) { return Equal(left, element, &steps_left_); });
      RETURN_IF_ERROR(Spend(node.line, 0));
      return Value::Bool(found);
    }
    case Value::Kind::kDict: {
      if (left.kind != Value::Kind::kText) break;
      RETURN_IF_ERROR(Spend(node.line, left.text->bytes()));
      const std::string key = left.text->Joined();
      return Value::Bool(std::any_of(right.dict->begin(), right.dict->end(),
                                     [&](const auto& entry) { return entry.first == key; }));
    }
    default:
      break;
  }
  return Invalid(node.line,
                 absl::StrCat(left.KindName(), " cannot be looked for in ", right.KindName()));
}

// value.name or value['name']. As in Jinja, a name that is not there is undefined, and a member of
// something undefined is an error.
absl::StatusOr<Value> Renderer::Member(int32_t line, const Value& value,
                                       absl::string_view name) const {
  if (value.kind == Value::Kind::kUndefined) {
    return Invalid(line, absl::StrCat("'", name, "' of an undefined value"));
  }
  if (value.kind == Value::Kind::kDict) {
    for (const auto& [key, member] : *value.dict) {
      if (key == name) return member;
    }
  }
  return Value();
}

absl::StatusOr<Value> Renderer::EvaluateSubscript(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  ASSIGN_OR_RETURN(const Value index, Evaluate(*node.operands[1]));
  if (index.kind == Value::Kind::kText) {
    RETURN_IF_ERROR(Spend(node.line, index.text->bytes()));
    return Member(node.line, value, index.text->Joined());
  }
  if (value.kind == Value::Kind::kText && index.IsNumber()) {
    return Unsupported(node.line, "a subscript of a string");
  }
  if (value.kind != Value::Kind::kList || !index.IsNumber()) {
    return Invalid(node.line,
                   absl::StrCat(value.KindName(), " cannot be subscripted by ", index.KindName()));
  }
  const auto count = static_cast<int64_t>(value.list->size());
  const int64_t at = index.integer < 0 ? index.integer + count : index.integer;
  return at >= 0 && at < count ? (*value.list)[at] : Value();
}

absl::StatusOr<Value> Renderer::EvaluateSlice(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  if (value.kind == Value::Kind::kText) return Unsupported(node.line, "a slice of a string");
  if (value.kind != Value::Kind::kList) {
    return Invalid(node.line, absl::StrCat(value.KindName(), " cannot be sliced"));
  }
  const auto count = static_cast<int64_t>(value.list->size());
  int64_t bounds[2] = {0, count};
  for (int i = 0; i < 2; ++i) {
    if (node.operands[i + 1] == nullptr) continue;
    ASSIGN_OR_RETURN(const Value bound, Evaluate(*node.operands[i + 1]));
    if (bound.kind == Value::Kind::kNone) continue;
    if (!bound.IsNumber()) {
      return Invalid(node.line, absl::StrCat(bound.KindName(), " is not the bound of a slice"));
    }
    const int64_t at = bound.integer < 0 ? bound.integer + count : bound.integer;
    bounds[i] = std::clamp<int64_t>(at, 0, count);
  }
  const int64_t end = std::max(bounds[0], bounds[1]);
  RETURN_IF_ERROR(Spend(node.line, static_cast<size_t>(end - bounds[0]) * 4 * sizeof(Value)));
  return Value::OfList(Value::List(value.list->begin() + bounds[0], value.list->begin() + end));
}

absl::StatusOr<Value> Renderer::EvaluateFilter(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  if (node.text == "trim") {
    ASSIGN_OR_RETURN(const Text text, ToText(node.line, value));
    RETURN_IF_ERROR(Spend(node.line, 2 * text.bytes()));
    return Value::OfText(text.Trimmed());
  }
  // length
  switch (value.kind) {
    case Value::Kind::kUndefined:
      return Value::Integer(0);
    case Value::Kind::kList:
      return Value::Integer(static_cast<int64_t>(value.list->size()));
    case Value::Kind::kDict:
      return Value::Integer(static_cast<int64_t>(value.dict->size()));
    case Value::Kind::kText: {
      RETURN_IF_ERROR(Spend(node.line, value.text->bytes()));
      const std::string joined = value.text->Joined();
      return Value::Integer(std::count_if(joined.begin(), joined.end(), [](char c) {
        return (static_cast<uint8_t>(c) & 0xC0) != 0x80;  // First bytes of characters.
      }));
    }
    default:
      return Invalid(node.line, absl::StrCat(value.KindName(), " has no length"));
  }
}

absl::StatusOr<Value> Renderer::EvaluateTest(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  const Value::Kind kind = value.kind;
  const absl::string_view test = node.text;
  const bool is_undefined = kind == Value::Kind::kUndefined;
  if (test == "defined") return Value::Bool(!is_undefined);
  if (test == "undefined") return Value::Bool(is_undefined);
  if (test == "none") return Value::Bool(kind == Value::Kind::kNone);
  if (test == "string") return Value::Bool(kind == Value::Kind::kText);
  if (test == "mapping") return Value::Bool(kind == Value::Kind::kDict);
  if (test == "number") return Value::Bool(value.IsNumber());
  if (test == "boolean") return Value::Bool(kind == Value::Kind::kBool);
  if (test == "true") return Value::Bool(kind == Value::Kind::kBool && value.integer == 1);
  if (test == "false") return Value::Bool(kind == Value::Kind::kBool && value.integer == 0);
  // iterable and sequence; in Jinja an undefined value is both.
  return Value::Bool(is_undefined || kind == Value::Kind::kText || kind == Value::Kind::kList ||
                     kind == Value::Kind::kDict);
}

absl::StatusOr<Value> Renderer::EvaluateRaise(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  ASSIGN_OR_RETURN(const Text text, ToText(node.line, value));
  return Invalid(node.line, text.Joined().substr(0, 1024));
}

// As Python's str().
absl::StatusOr<Text> Renderer::ToText(int32_t line, const Value& value) const {
  switch (value.kind) {
    case Value::Kind::kUndefined:
      return Text();
    case Value::Kind::kNone:
      return Text("None", true);
    case Value::Kind::kBool:
      return Text(value.integer != 0 ? "True" : "False", true);
    case Value::Kind::kInteger:
      return Text(absl::StrCat(value.integer), true);
    case Value::Kind::kText:
      return *value.text;
    default:
      return Unsupported(line, absl::StrCat("writing ", value.KindName(), " as text"));
  }
}

}  // namespace
}  // namespace chat

ChatTemplate::ChatTemplate(std::unique_ptr<const chat::Block> body,
                           const ChatTemplateLimits& limits)
    : body_(std::move(body)), limits_(limits) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(absl::string_view source,
                                                 const ChatTemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("the chat template has ", source.size(),
                                                   " bytes; at most ", limits.source_bytes_max,
                                                   " are allowed"));
  }
  const size_t invalid = FindInvalidUtf8(source);
  if (invalid != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat template is not UTF-8 at byte ", invalid));
  }
  ASSIGN_OR_RETURN(auto body, chat::ParseTemplate(source, limits.nesting_max));
  return ChatTemplate(std::move(body), limits);
}

absl::StatusOr<std::vector<TextSegment>> ChatTemplate::Render(
    absl::Span<const ChatMessage> messages, const ChatRenderOptions& options) const {
  using chat::Text;
  using chat::Value;
  Value::List list;
  list.reserve(messages.size());
  size_t bytes = 0;
  for (const ChatMessage& message : messages) {
    // The role is the client's too.
    list.push_back(
        Value::OfDict({{"role", Value::OfText(Text(message.role, /*is_template=*/false))},
                       {"content", Value::OfText(Text(message.content, false))}}));
    bytes += message.role.size() + message.content.size();
  }
  if (bytes > limits_.text_bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the messages have ", bytes, " bytes; at most ", limits_.text_bytes_max, " are allowed"));
  }
  chat::Renderer renderer(limits_);
  renderer.Define("messages", Value::OfList(std::move(list)));
  renderer.Define("add_generation_prompt", Value::Bool(options.add_generation_prompt));
  renderer.Define("tools", Value::None());
  renderer.Define("documents", Value::None());
  if (options.bos_token.has_value()) {
    renderer.Define("bos_token", Value::OfText(Text(*options.bos_token, true)));
  }
  if (options.eos_token.has_value()) {
    renderer.Define("eos_token", Value::OfText(Text(*options.eos_token, true)));
  }
  RETURN_IF_ERROR(renderer.Run(*body_));
  return std::move(renderer).TakeOutput().TakeSegments();
}

}  // namespace ebb::model
