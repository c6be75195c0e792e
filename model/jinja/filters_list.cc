#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "model/jinja/filters.h"
#include "model/jinja/interpreter.h"
#include "model/jinja/methods.h"
#include "model/jinja/operators.h"
#include "model/jinja/tests.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

// Keeps the elements that pass the test whose name and arguments stand from `first` on (without
// one: those that are true), or those that do not. With an attribute it looks at that.
absl::StatusOr<Value> Select(Context* context, const Value& value, const Arguments& arguments,
                             bool by_attribute, bool wanted) {
  if (!value.IsTrue()) return context->NewList({}, Kind::kGenerator);  // None, too.
  const size_t first = by_attribute ? 1 : 0;
  const std::vector<Value>& given = arguments.positional;
  if (given.size() < first) return context->Invalid("the name of an attribute is missing");
  const Value* const attribute = by_attribute ? &given[0] : nullptr;
  Arguments rest;
  absl::string_view test;
  if (given.size() > first) {
    if (!given[first].IsText()) return context->Invalid("the name of a test must be a string");
    test = given[first].view();
    rest.positional.assign(given.begin() + static_cast<std::ptrdiff_t>(first) + 1, given.end());
    rest.named = arguments.named;
  }
  ASSIGN_OR_RETURN(Value::List list, Iterate(context, value));
  Value::List kept;
  for (Value& element : list) {
    ASSIGN_OR_RETURN(const Value looked_at, AttributePath(context, element, attribute));
    bool passes = looked_at.IsTrue();
    if (!test.empty()) {
      ASSIGN_OR_RETURN(passes, ApplyTest(context, test, looked_at, rest));
    }
    if (passes == wanted) kept.push_back(std::move(element));
  }
  return context->NewList(std::move(kept), Kind::kGenerator, value.from_client());
}

}  // namespace

absl::StatusOr<Value> AttributePath(Context* context, const Value& value, const Value* attribute) {
  RETURN_IF_ERROR(context->Spend(0));
  if (attribute == nullptr || attribute->Is(Kind::kNone)) return value;
  if (!attribute->IsText()) return Subscript(context, value, *attribute);
  Value at = value;
  for (const absl::string_view part : absl::StrSplit(attribute->view(), '.')) {
    int64_t index = 0;
    const bool is_number = !part.empty() &&
                           part.find_first_not_of("0123456789") == absl::string_view::npos &&
                           absl::SimpleAtoi(part, &index);
    ASSIGN_OR_RETURN(
        at, Subscript(context, at, is_number ? Value::Integer(index) : Value::Literal(part)));
  }
  return at;
}

absl::StatusOr<Value> FilterLength(Context* context, const Value& value,
                                   const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  size_t length = 0;
  if (value.IsText()) {
    RETURN_IF_ERROR(context->Spend(value.view().size()));
    length = CountCharacters(value.view());
  } else if (value.IsSequence() || value.Is(Kind::kView)) {
    length = value.list().size();
  } else if (value.IsDict()) {
    length = value.dict().size();
  } else if (value.Is(Kind::kLoop)) {
    length = value.loop().items.size();
  } else if (!value.IsUndefined()) {
    return context->Invalid(absl::StrCat(value.KindName(), " has no length"));
  }
  return Value::Integer(static_cast<int64_t>(length));
}

absl::StatusOr<Value> FilterFirst(Context* context, const Value& value,
                                  const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (value.Is(Kind::kGenerator)) {
    const Value::List first = value.TakeGenerated(1);
    return first.empty() ? Value() : first[0];
  }
  if (value.IsText()) return Subscript(context, value, Value::Integer(0));
  ASSIGN_OR_RETURN(const Value::List list, Iterate(context, value));
  return list.empty() ? Value() : list.front();
}

absl::StatusOr<Value> FilterLast(Context* context, const Value& value, const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (value.IsText()) return Subscript(context, value, Value::Integer(-1));
  if (value.Is(Kind::kGenerator)) return context->Invalid("a generator cannot be reversed");
  ASSIGN_OR_RETURN(const Value::List list, Iterate(context, value));
  return list.empty() ? Value() : list.back();
}

absl::StatusOr<Value> FilterList(Context* context, const Value& value, const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  ASSIGN_OR_RETURN(Value::List list, Iterate(context, value));
  return context->NewList(std::move(list), Kind::kList, value.from_client());
}

absl::StatusOr<Value> FilterItems(Context* context, const Value& value,
                                  const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (value.IsUndefined()) return context->NewList({}, Kind::kGenerator);
  if (!value.IsDict()) return context->Invalid("items are of mappings only");
  ASSIGN_OR_RETURN(const Value view, CallMethod(context, value, "items", {}));
  return context->NewList(view.list(), Kind::kGenerator, value.from_client());
}

absl::StatusOr<Value> FilterReverse(Context* context, const Value& value,
                                    const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (value.IsText()) {
    return Slice(context, value, Value::None(), Value::None(), Value::Integer(-1));
  }
  ASSIGN_OR_RETURN(Value::List list, Iterate(context, value));
  std::reverse(list.begin(), list.end());
  // Python reverses what has an order lazily, and copies the rest.
  return context->NewList(std::move(list),
                          value.Is(Kind::kGenerator) ? Kind::kList : Kind::kGenerator,
                          value.from_client());
}

absl::StatusOr<Value> FilterMap(Context* context, const Value& value, const Arguments& arguments) {
  if (!value.IsTrue()) return context->NewList({}, Kind::kGenerator);  // None, too.
  ASSIGN_OR_RETURN(Value::List list, Iterate(context, value));
  if (arguments.positional.empty()) {
    ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"attribute", "default"}));
    if (bound[0] == nullptr) return context->Invalid("map needs a filter or an attribute");
    const bool has_default = bound[1] != nullptr && !bound[1]->Is(Kind::kNone);
    for (Value& element : list) {
      ASSIGN_OR_RETURN(element, AttributePath(context, element, bound[0]));
      if (element.IsUndefined() && has_default) element = *bound[1];
    }
  } else {
    if (!arguments.positional[0].IsText()) return context->Invalid("map needs a filter's name");
    Arguments rest;
    rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
    rest.named = arguments.named;
    for (Value& element : list) {
      ASSIGN_OR_RETURN(element,
                       ApplyFilter(context, arguments.positional[0].view(), element, rest));
    }
  }
  return context->NewList(std::move(list), Kind::kGenerator, value.from_client());
}

absl::StatusOr<Value> FilterSelect(Context* context, const Value& value,
                                   const Arguments& arguments) {
  return Select(context, value, arguments, /*by_attribute=*/false, /*wanted=*/true);
}

absl::StatusOr<Value> FilterReject(Context* context, const Value& value,
                                   const Arguments& arguments) {
  return Select(context, value, arguments, /*by_attribute=*/false, /*wanted=*/false);
}

absl::StatusOr<Value> FilterSelectAttr(Context* context, const Value& value,
                                       const Arguments& arguments) {
  return Select(context, value, arguments, /*by_attribute=*/true, /*wanted=*/true);
}

absl::StatusOr<Value> FilterRejectAttr(Context* context, const Value& value,
                                       const Arguments& arguments) {
  return Select(context, value, arguments, /*by_attribute=*/true, /*wanted=*/false);
}

}  // namespace ebb::model::jinja
