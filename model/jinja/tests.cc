#include "model/jinja/tests.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/operators.h"
#include "model/jinja/strings.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

// Tests of the kind alone.
std::optional<bool> TestKind(absl::string_view test, const Value& value) {
  const Kind kind = value.kind();
  const bool is_list = value.IsSequence() || kind == Kind::kView;
  if (test == "defined") return !value.IsUndefined();
  if (test == "undefined") return value.IsUndefined();
  if (test == "none") return kind == Kind::kNone;
  if (test == "string") return value.IsText();
  if (test == "mapping") return value.IsDict();
  if (test == "number") return value.IsNumber();
  if (test == "integer") return kind == Kind::kInteger;
  if (test == "float") return kind == Kind::kFloat;
  if (test == "boolean") return kind == Kind::kBool;
  if (test == "true") return kind == Kind::kBool && value.integer() == 1;
  if (test == "false") return kind == Kind::kBool && value.integer() == 0;
  // An undefined value answers to all names of Python's own, so it is a sequence and callable.
  if (test == "callable") return kind == Kind::kFunction || value.IsUndefined();
  if (test == "sequence") {
    return value.IsUndefined() || value.IsText() || value.IsSequence() || value.IsDict();
  }
  if (test == "iterable") {
    return value.IsUndefined() || value.IsText() || is_list || value.IsDict() ||
           kind == Kind::kGenerator || kind == Kind::kLoop;
  }
  return std::nullopt;
}

// The operator that a test is a name for, or "".
absl::string_view OperatorOf(absl::string_view test) {
  if (test == "eq" || test == "equalto" || test == "==") return "==";
  if (test == "ne" || test == "!=") return "!=";
  if (test == "lt" || test == "lessthan" || test == "<") return "<";
  if (test == "le" || test == "<=") return "<=";
  if (test == "gt" || test == "greaterthan" || test == ">") return ">";
  if (test == "ge" || test == ">=") return ">=";
  if (test == "in") return "in";
  return "";
}

absl::StatusOr<bool> TestRemainder(Context* context, const Value& value, int64_t divisor,
                                   int64_t rest) {
  ASSIGN_OR_RETURN(const Value modulo, Operate(context, "%", value, Value::Integer(divisor)));
  return modulo.IsNumber() && modulo.number() == static_cast<double>(rest);
}

}  // namespace

absl::StatusOr<bool> ApplyTest(Context* context, absl::string_view name, const Value& value,
                               const Arguments& arguments) {
  const absl::string_view comparison = OperatorOf(name);
  if (!comparison.empty()) {
    ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"other"}));
    if (bound[0] == nullptr) return context->Invalid(absl::StrCat("'", name, "' needs a value"));
    return Compare(context, comparison, value, *bound[0]);
  }
  if (name == "divisibleby") {
    ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"num"}));
    if (bound[0] == nullptr || !bound[0]->IsInteger()) {
      return context->Invalid("'divisibleby' needs a number");
    }
    return TestRemainder(context, value, bound[0]->integer(), 0);
  }
  if (name == "sameas") return context->Unsupported("the test 'sameas'");
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (const auto is = TestKind(name, value); is.has_value()) return *is;
  if (name == "odd") return TestRemainder(context, value, 2, 1);
  if (name == "even") return TestRemainder(context, value, 2, 0);
  if (name == "lower" || name == "upper") {
    ASSIGN_OR_RETURN(const Text text, ToText(context, value));
    RETURN_IF_ERROR(context->Spend(4 * text.size()));
    return name == "lower" ? IsLower(text) : IsUpper(text);
  }
  return context->Unsupported(absl::StrCat("the test '", name, "'"));
}

}  // namespace ebb::model::jinja
