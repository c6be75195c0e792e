#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/jinja/filters.h"
#include "model/jinja/operators.h"
#include "model/jinja/strings.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

// As float(). Empty: it is none.
std::optional<double> ParseFloat(const Value& value) {
  if (value.IsNumber()) return value.number();
  double number = 0;
  const Text text = Strip(value.text(), nullptr, Ends::kBoth);
  if (!absl::SimpleAtod(text.view(), &number)) return std::nullopt;
  return number;
}

// As int(), towards zero. Empty: it is none, or has more than 64 bits.
std::optional<int64_t> ToInteger(double number) {
  if (!(std::fabs(number) < 9.2e18)) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

absl::StatusOr<Value> FilterInt(Context* context, const Value& value, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"default", "base"}));
  if (bound[1] != nullptr && !(bound[1]->IsInteger() && bound[1]->integer() == 10)) {
    return context->Unsupported("a number with another base than 10");
  }
  if (value.IsUndefined()) return context->Invalid("an undefined value is no number");
  if (value.IsInteger()) return Value::Integer(value.integer(), value.from_client());
  const Value missing = bound[0] == nullptr ? Value::Integer(0) : *bound[0];
  if (!value.IsText() && !value.IsNumber()) return missing;
  if (value.IsText()) {
    RETURN_IF_ERROR(context->Spend(4 * value.view().size()));
    const Text text = Strip(value.text(), nullptr, Ends::kBoth);
    int64_t integer = 0;
    if (absl::SimpleAtoi(text.view(), &integer)) {
      return Value::Integer(integer, IsFromClient(value));
    }
  }
  const std::optional<double> number = ParseFloat(value);
  if (!number.has_value() || !std::isfinite(*number)) return missing;
  const std::optional<int64_t> integer = ToInteger(*number);
  if (!integer.has_value()) return context->Unsupported("a number of more than 64 bits");
  return Value::Integer(*integer, IsFromClient(value));
}

absl::StatusOr<Value> FilterFloat(Context* context, const Value& value,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"default"}));
  if (value.IsUndefined()) return context->Invalid("an undefined value is no number");
  const Value missing = bound[0] == nullptr ? Value::Float(0) : *bound[0];
  if (!value.IsText() && !value.IsNumber()) return missing;
  const std::optional<double> number = ParseFloat(value);
  return number.has_value() ? Value::Float(*number, IsFromClient(value)) : missing;
}

absl::StatusOr<Value> FilterAbs(Context* context, const Value& value, const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (!value.IsNumber()) {
    return context->Invalid(absl::StrCat("abs does not take ", value.KindName()));
  }
  if (value.number() < 0) return Negate(context, value);
  return value.IsInteger() ? Value::Integer(value.integer(), value.from_client()) : value;
}

absl::StatusOr<Value> FilterRound(Context* context, const Value& value,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"precision", "method"}));
  if (!value.IsNumber()) {
    return context->Invalid(absl::StrCat("round does not take ", value.KindName()));
  }
  const int64_t precision = bound[0] != nullptr && bound[0]->IsInteger() ? bound[0]->integer() : 0;
  const absl::string_view method =
      bound[1] != nullptr && bound[1]->IsText() ? bound[1]->view() : "common";
  if (precision < 0 || precision > 15) return context->Unsupported("rounding to such a precision");
  if (method == "common") {
    if (value.IsInteger()) return Value::Integer(value.integer(), value.from_client());
    // Printing rounds the exact number, as Python does.
    double rounded = 0;
    const std::string text = absl::StrFormat("%.*f", static_cast<int>(precision), value.number());
    if (!absl::SimpleAtod(text, &rounded)) return context->Invalid("round takes finite numbers");
    return Value::Float(rounded, value.from_client());
  }
  if (method != "ceil" && method != "floor") return context->Invalid("no such method of rounding");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.number() * scale;
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale,
                      value.from_client());
}

absl::StatusOr<Value> FilterSum(Context* context, const Value& value, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"attribute", "start"}));
  ASSIGN_OR_RETURN(const Value::List list, Iterate(context, value));
  Value sum = bound[1] == nullptr ? Value::Integer(0) : *bound[1];
  if (sum.IsText()) return context->Invalid("sum does not take strings");
  for (const Value& element : list) {
    ASSIGN_OR_RETURN(const Value term, AttributePath(context, element, bound[0]));
    ASSIGN_OR_RETURN(sum, Operate(context, "+", sum, term));
  }
  return sum;
}

}  // namespace ebb::model::jinja
