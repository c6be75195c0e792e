#include "model/jinja/filters.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ebb::model::jinja {
namespace {

absl::StatusOr<Value> FilterDefault(Context* context, const Value& value,
                                    const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"default_value", "boolean"}));
  const bool of_false = bound[1] != nullptr && bound[1]->IsTrue();
  if (!value.IsUndefined() && !(of_false && !value.IsTrue())) return value;
  return bound[0] == nullptr ? Value::Literal("") : *bound[0];
}

struct Named {
  absl::string_view name;
  Filter* filter;
};
constexpr Named kFilters[] = {
    {"abs", FilterAbs},
    {"capitalize", FilterCapitalize},
    {"count", FilterLength},
    {"d", FilterDefault},
    {"default", FilterDefault},
    {"dictsort", FilterDictSort},
    {"first", FilterFirst},
    {"float", FilterFloat},
    {"indent", FilterIndent},
    {"int", FilterInt},
    {"items", FilterItems},
    {"join", FilterJoin},
    {"last", FilterLast},
    {"length", FilterLength},
    {"list", FilterList},
    {"lower", FilterLower},
    {"map", FilterMap},
    {"max", FilterMax},
    {"min", FilterMin},
    {"reject", FilterReject},
    {"rejectattr", FilterRejectAttr},
    {"replace", FilterReplace},
    {"reverse", FilterReverse},
    {"round", FilterRound},
    {"safe", FilterSafe},
    {"select", FilterSelect},
    {"selectattr", FilterSelectAttr},
    {"sort", FilterSort},
    {"string", FilterString},
    {"sum", FilterSum},
    {"title", FilterTitle},
    {"tojson", FilterToJson},
    {"trim", FilterTrim},
    {"unique", FilterUnique},
    {"upper", FilterUpper},
};

}  // namespace

bool IsFromClient(const Value& value) {
  return value.IsText() ? !value.text().IsTemplate() : value.from_client();
}

absl::StatusOr<Value> ApplyFilter(Context* context, absl::string_view name, const Value& value,
                                  const Arguments& arguments) {
  for (const Named& named : kFilters) {
    if (named.name == name) return named.filter(context, value, arguments);
  }
  return context->Unsupported(absl::StrCat("the filter '", name, "'"));
}

}  // namespace ebb::model::jinja
