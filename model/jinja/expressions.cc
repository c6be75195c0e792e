#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/depth_guard.h"
#include "model/jinja/filters.h"
#include "model/jinja/functions.h"
#include "model/jinja/interpreter.h"
#include "model/jinja/methods.h"
#include "model/jinja/operators.h"
#include "model/jinja/tests.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {

absl::StatusOr<Value> Interpreter::Lookup(absl::string_view name) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [defined, value] : scope->names) {
      if (defined == name) return value;
    }
  }
  if (IsGlobalFunction(name)) {
    auto function = std::make_shared<Function>();
    function->name = std::string(name);
    return Value::OfFunction(std::move(function));
  }
  // Never taken for undefined variables.
  for (const absl::string_view unsupported :
       {"cycler", "joiner", "lipsum", "self", "super", "varargs", "kwargs"}) {
    if (name == unsupported) return context_.Unsupported(absl::StrCat("'", name, "'"));
  }
  return Value();
}

absl::StatusOr<Value> Interpreter::Evaluate(const Expression& node) {
  const DepthGuard guard(&recursion_);
  RETURN_IF_ERROR(context_.CheckDepth(recursion_));
  context_.line = node.line;
  RETURN_IF_ERROR(context_.Spend(node.text.size()));
  return EvaluateInner(node);
}

absl::StatusOr<Value> Interpreter::EvaluateInner(const Expression& node) {
  using Kind = Expression::Kind;
  switch (node.kind) {
    case Kind::kString:
      return Value::Literal(node.text);
    case Kind::kInteger:
      return Value::Integer(node.integer);
    case Kind::kFloat:
      return Value::Float(node.number);
    case Kind::kBool:
      return Value::Bool(node.integer != 0);
    case Kind::kNone:
      return Value::None();
    case Kind::kName:
      return Lookup(node.text);
    case Kind::kList:
    case Kind::kTuple: {
      ASSIGN_OR_RETURN(Value::List elements, EvaluateAll(node));
      return context_.NewList(std::move(elements),
                              node.kind == Kind::kList ? Value::Kind::kList : Value::Kind::kTuple);
    }
    case Kind::kDict:
      return EvaluateDict(node);
    case Kind::kAttribute: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
      context_.line = node.line;
      return Attribute(&context_, value, node.text);
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
      return Negate(&context_, value);
    }
    case Kind::kPlus: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
      return Operate(&context_, "+", Value::Integer(0), value);
    }
    case Kind::kBinary:
      return EvaluateBinary(node);
    case Kind::kConcat:
      return EvaluateConcat(node);
    case Kind::kCompare:
      return EvaluateCompare(node);
    case Kind::kConditional: {
      ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.operands[1]));
      if (condition.IsTrue()) return Evaluate(*node.operands[0]);
      return node.operands[2] == nullptr ? Value() : Evaluate(*node.operands[2]);
    }
    case Kind::kFilter:
      return EvaluateFilter(node);
    case Kind::kTest:
      return EvaluateTest(node);
    case Kind::kCall:
      return EvaluateCall(node);
  }
  return Value();
}

absl::StatusOr<Value::List> Interpreter::EvaluateAll(const Expression& node) {
  Value::List values;
  values.reserve(node.operands.size());
  for (const auto& operand : node.operands) {
    ASSIGN_OR_RETURN(values.emplace_back(), Evaluate(*operand));
  }
  return values;
}

absl::StatusOr<Value> Interpreter::EvaluateDict(const Expression& node) {
  ASSIGN_OR_RETURN(Value::List members, EvaluateAll(node));
  Value::Dict dict;
  for (size_t i = 0; i < members.size(); i += 2) {
    if (!IsHashable(members[i])) {
      return context_.Invalid(absl::StrCat(members[i].KindName(), " cannot be a key"));
    }
    SetKey(&dict, std::move(members[i]), std::move(members[i + 1]), &context_.steps_left);
  }
  return context_.NewDict(std::move(dict));
}

absl::StatusOr<Value> Interpreter::EvaluateBinary(const Expression& node) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*node.operands[0]));
  if (node.text == "and" || node.text == "or") {
    if (left.IsTrue() == (node.text == "or")) return left;
    return Evaluate(*node.operands[1]);
  }
  ASSIGN_OR_RETURN(const Value right, Evaluate(*node.operands[1]));
  context_.line = node.line;
  return Operate(&context_, node.text, left, right);
}

absl::StatusOr<Value> Interpreter::EvaluateConcat(const Expression& node) {
  Text joined;
  for (const auto& operand : node.operands) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*operand));
    ASSIGN_OR_RETURN(const Text text, ToText(&context_, value));
    RETURN_IF_ERROR(context_.CheckBytes(joined.size() + text.size()));
    joined.Append(text);
  }
  return context_.NewText(std::move(joined));
}

// a < b < c: each operand is evaluated once, and none after a comparison that fails.
absl::StatusOr<Value> Interpreter::EvaluateCompare(const Expression& node) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*node.operands[0]));
  for (size_t i = 0; i < node.names.size(); ++i) {
    ASSIGN_OR_RETURN(Value right, Evaluate(*node.operands[i + 1]));
    context_.line = node.line;
    ASSIGN_OR_RETURN(const bool holds, Compare(&context_, node.names[i], left, right));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Interpreter::EvaluateSubscript(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  ASSIGN_OR_RETURN(const Value index, Evaluate(*node.operands[1]));
  context_.line = node.line;
  return Subscript(&context_, value, index);
}

absl::StatusOr<Value> Interpreter::EvaluateSlice(const Expression& node) {
  Value parts[4] = {Value::None(), Value::None(), Value::None(), Value::None()};
  for (size_t i = 0; i < 4; ++i) {
    if (node.operands[i] == nullptr) continue;
    ASSIGN_OR_RETURN(parts[i], Evaluate(*node.operands[i]));
  }
  context_.line = node.line;
  return Slice(&context_, parts[0], parts[1], parts[2], parts[3]);
}

absl::StatusOr<Arguments> Interpreter::EvaluateArguments(const Expression& node) {
  Arguments arguments;
  const size_t first_named = node.operands.size() - node.names.size();
  for (size_t i = 1; i < node.operands.size(); ++i) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*node.operands[i]));
    if (i < first_named) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(node.names[i - first_named], std::move(value));
    }
  }
  context_.line = node.line;
  return arguments;
}

absl::StatusOr<Value> Interpreter::EvaluateFilter(const Expression& node) {
  Value value;
  if (node.operands[0] == nullptr) {
    ASSIGN_OR_RETURN(value, context_.NewText(std::exchange(filtered_, Text())));
  } else {
    ASSIGN_OR_RETURN(value, Evaluate(*node.operands[0]));
  }
  ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
  return ApplyFilter(&context_, node.text, value, arguments);
}

absl::StatusOr<Value> Interpreter::EvaluateTest(const Expression& node) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*node.operands[0]));
  ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
  ASSIGN_OR_RETURN(const bool holds, ApplyTest(&context_, node.text, value, arguments));
  return Value::Bool(holds);
}

absl::StatusOr<Value> Interpreter::EvaluateCall(const Expression& node) {
  ASSIGN_OR_RETURN(const Value callee, Evaluate(*node.operands[0]));
  ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
  if (!callee.Is(Value::Kind::kFunction)) {
    return context_.Invalid(absl::StrCat(
        callee.KindName(), " cannot be called",
        node.operands[0]->text.empty() ? "" : absl::StrCat(": '", node.operands[0]->text, "'")));
  }
  const Function& function = callee.function();
  if (function.macro != nullptr) return CallMacro(function, arguments);
  if (function.receiver == nullptr) return CallGlobal(&context_, function.name, arguments);
  return CallMethod(&context_, *function.receiver, function.name, arguments);
}

}  // namespace ebb::model::jinja
