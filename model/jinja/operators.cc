#include "model/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

absl::Status Mismatch(const Context& context, absl::string_view name, const Value& left,
                      const Value& right) {
  return context.Invalid(
      absl::StrCat("'", name, "' does not take ", left.KindName(), " and ", right.KindName()));
}

absl::StatusOr<Value> Repeat(Context* context, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const size_t unit = value.IsText() ? value.view().size() : value.list().size() * sizeof(Value);
  if (unit > 0 && static_cast<uint64_t>(times) > context->limits().text_bytes_max / unit) {
    return context->CheckBytes(SIZE_MAX);
  }
  RETURN_IF_ERROR(context->Spend(unit * static_cast<size_t>(times)));
  if (unit == 0) return value;
  if (value.IsText()) {
    Text text;
    for (int64_t i = 0; i < times; ++i) text.Append(value.text());
    return Value::OfText(std::move(text));
  }
  Value::List list;
  for (int64_t i = 0; i < times; ++i) {
    list.insert(list.end(), value.list().begin(), value.list().end());
  }
  return context->NewList(std::move(list), value.kind(), value.from_client());
}

// + of two texts, two lists or two tuples.
absl::StatusOr<Value> Join(Context* context, const Value& left, const Value& right) {
  if (left.IsText()) {
    RETURN_IF_ERROR(context->CheckBytes(left.view().size() + right.view().size()));
    Text text = left.text();
    text.Append(right.text());
    return context->NewText(std::move(text));
  }
  RETURN_IF_ERROR(context->CheckBytes((left.list().size() + right.list().size()) * sizeof(Value)));
  Value::List list = left.list();
  list.insert(list.end(), right.list().begin(), right.list().end());
  return context->NewList(std::move(list), left.kind(), left.from_client() || right.from_client());
}

// As MarkupSafe escapes what is added to a string that is marked safe.
Text EscapedHtml(const Value& value) {
  if (value.IsSafeText()) return value.text();
  Text escaped;
  for (TextReader at(value.text()); !at.done(); at.Next()) {
    const uint32_t c = at.code_point();
    const absl::string_view escape = c == '&'    ? "&amp;"
                                     : c == '<'  ? "&lt;"
                                     : c == '>'  ? "&gt;"
                                     : c == '"'  ? "&#34;"
                                     : c == '\'' ? "&#39;"
                                                 : at.bytes();
    escaped.Append(escape, at.is_template());
  }
  return escaped;
}

absl::StatusOr<Value> JoinSafe(Context* context, const Value& left, const Value& right) {
  RETURN_IF_ERROR(context->CheckBytes(5 * (left.view().size() + right.view().size())));
  RETURN_IF_ERROR(context->Spend(5 * (left.view().size() + right.view().size())));
  Text text = EscapedHtml(left);
  text.Append(EscapedHtml(right));
  return Value::OfSafeText(std::move(text));
}

// The sign of what is left is b's, as in Python.
double FloatModulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

absl::StatusOr<Value> FloatArithmetic(Context* context, absl::string_view name, double a, double b,
                                      bool from_client) {
  double result = 0;
  if (name == "+") {
    result = a + b;
  } else if (name == "-") {
    result = a - b;
  } else if (name == "*") {
    result = a * b;
  } else if (name == "**") {
    return context->Unsupported("'**' of numbers with a point");
  } else if (b == 0) {
    return context->Invalid("a division by zero");
  } else if (name == "/") {
    result = a / b;
  } else if (name == "//") {
    result = std::floor(a / b);
  } else {
    result = FloatModulo(a, b);
  }
  return Value::Float(result, from_client);
}

absl::StatusOr<Value> Power(Context* context, int64_t base, int64_t exponent, bool from_client) {
  if (exponent < 0) return context->Unsupported("'**' with a negative exponent");
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (base == 0 || base == 1 || base == -1) {
      if (base == 0) result = 0;
      if (base == -1) result = exponent % 2 == 0 ? 1 : -1;
      break;
    }
    if (__builtin_mul_overflow(result, base, &result)) {
      return context->Unsupported("a number of more than 64 bits");
    }
  }
  return Value::Integer(result, from_client);
}

absl::StatusOr<Value> IntegerArithmetic(Context* context, absl::string_view name, int64_t a,
                                        int64_t b, bool from_client) {
  int64_t result = 0;
  bool overflow = false;
  if (name == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (name == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (name == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (name == "**") {
    return Power(context, a, b, from_client);
  } else if (b == 0) {
    return context->Invalid("a division by zero");
  } else if (b == -1) {  // The quotient can overflow.
    if (name == "//") overflow = __builtin_sub_overflow(int64_t{0}, a, &result);
  } else {
    const int64_t rest = a % b;
    const bool below = rest != 0 && (rest < 0) != (b < 0);
    // Rounded down, and the rest has the sign of b.
    result = name == "//" ? a / b - (below ? 1 : 0) : rest + (below ? b : 0);
  }
  if (overflow) return context->Unsupported("a number of more than 64 bits");
  return Value::Integer(result, from_client);
}

absl::StatusOr<bool> In(Context* context, const Value& left, const Value& right) {
  switch (right.kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kText:
      if (!left.IsText()) break;
      RETURN_IF_ERROR(context->Spend(left.view().size() + right.view().size()));
      return absl::StrContains(right.view(), left.view());
    case Kind::kDict: {
      if (!IsHashable(left)) break;
      const bool found = FindKey(right.dict(), left, &context->steps_left) != nullptr;
      RETURN_IF_ERROR(context->Spend(0));
      return found;
    }
    case Kind::kGenerator: {
      // What was looked at is read.
      while (true) {
        const Value::List next = right.TakeGenerated(1);
        if (next.empty()) return false;
        RETURN_IF_ERROR(context->Spend(0));
        if (Equal(left, next[0], &context->steps_left)) return true;
      }
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView: {
      const bool found = std::any_of(right.list().begin(), right.list().end(), [&](const Value& e) {
        return Equal(left, e, &context->steps_left);
      });
      RETURN_IF_ERROR(context->Spend(0));
      return found;
    }
    default:
      break;
  }
  return Mismatch(*context, "in", left, right);
}

}  // namespace

absl::StatusOr<Value> Operate(Context* context, absl::string_view name, const Value& left,
                              const Value& right) {
  const bool from_client = left.from_client() || right.from_client();
  if (left.IsInteger() && right.IsInteger() && name != "/") {
    return IntegerArithmetic(context, name, left.integer(), right.integer(), from_client);
  }
  if (left.IsNumber() && right.IsNumber()) {
    return FloatArithmetic(context, name, left.number(), right.number(), from_client);
  }
  const auto can_repeat = [](const Value& value) {
    return value.IsText() || value.Is(Kind::kList) || value.Is(Kind::kTuple);
  };
  if (left.IsSafeText() || right.IsSafeText()) {
    if (name == "+" && left.IsText() && right.IsText()) return JoinSafe(context, left, right);
    return context->Unsupported(absl::StrCat("'", name, "' of a string that is marked safe"));
  }
  if (name == "+" && left.kind() == right.kind() && can_repeat(left)) {
    return Join(context, left, right);
  }
  if (name == "*" && can_repeat(left) && right.IsInteger()) {
    return Repeat(context, left, right.integer());
  }
  if (name == "*" && left.IsInteger() && can_repeat(right)) {
    return Repeat(context, right, left.integer());
  }
  if (name == "%" && left.IsText()) return context->Unsupported("'%' of a string");
  return Mismatch(*context, name, left, right);
}

absl::StatusOr<bool> Compare(Context* context, absl::string_view name, const Value& left,
                             const Value& right) {
  const bool views = left.Is(Kind::kView) && right.Is(Kind::kView);
  if (views && name != "in" && name != "not in") {
    return context->Unsupported("comparing views of mappings");
  }
  if (name == "==" || name == "!=") {
    const bool equal = Equal(left, right, &context->steps_left);
    RETURN_IF_ERROR(context->Spend(0));
    return equal == (name == "==");
  }
  if (name == "in") return In(context, left, right);
  if (name == "not in") {
    ASSIGN_OR_RETURN(const bool in, In(context, left, right));
    return !in;
  }
  const bool numbers = left.IsNumber() && right.IsNumber();
  if (numbers && (std::isnan(left.number()) || std::isnan(right.number()))) return false;
  if (name == "<") return Less(context, left, right);
  if (name == ">") return Less(context, right, left);
  ASSIGN_OR_RETURN(const bool beyond,
                   name == "<=" ? Less(context, right, left) : Less(context, left, right));
  return !beyond;
}

absl::StatusOr<Value> Negate(Context* context, const Value& value) {
  if (value.IsInteger()) {
    if (value.integer() == INT64_MIN) return context->Unsupported("a number of more than 64 bits");
    return Value::Integer(-value.integer(), value.from_client());
  }
  if (value.Is(Kind::kFloat)) return Value::Float(-value.number(), value.from_client());
  return context->Invalid(absl::StrCat("'-' does not take ", value.KindName()));
}

}  // namespace ebb::model::jinja
