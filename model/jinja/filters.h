// Jinja's filters: "x | trim".
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

// UNIMPLEMENTED: a filter that we do not know. Jinja may have it, or refuse it as it is reached.
absl::StatusOr<Value> ApplyFilter(Context* context, absl::string_view name, const Value& value,
                                  const Arguments& arguments);

// One filter; see filters.cc for their names.
using Filter = absl::StatusOr<Value> (*)(Context*, const Value&, const Arguments&);

// filters_text.cc
absl::StatusOr<Value> FilterTrim(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterUpper(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterLower(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterTitle(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterCapitalize(Context* context, const Value& value,
                                       const Arguments& arguments);
absl::StatusOr<Value> FilterReplace(Context* context, const Value& value,
                                    const Arguments& arguments);
absl::StatusOr<Value> FilterIndent(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterString(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterSafe(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterToJson(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterJoin(Context* context, const Value& value, const Arguments& arguments);

// filters_number.cc
absl::StatusOr<Value> FilterInt(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterFloat(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterAbs(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterRound(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterSum(Context* context, const Value& value, const Arguments& arguments);

// filters_list.cc
absl::StatusOr<Value> FilterLength(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterFirst(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterLast(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterList(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterItems(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterReverse(Context* context, const Value& value,
                                    const Arguments& arguments);
absl::StatusOr<Value> FilterMap(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterSelect(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterReject(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterSelectAttr(Context* context, const Value& value,
                                       const Arguments& arguments);
absl::StatusOr<Value> FilterRejectAttr(Context* context, const Value& value,
                                       const Arguments& arguments);

// filters_order.cc
absl::StatusOr<Value> FilterDictSort(Context* context, const Value& value,
                                     const Arguments& arguments);
absl::StatusOr<Value> FilterSort(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterUnique(Context* context, const Value& value,
                                   const Arguments& arguments);
absl::StatusOr<Value> FilterMin(Context* context, const Value& value, const Arguments& arguments);
absl::StatusOr<Value> FilterMax(Context* context, const Value& value, const Arguments& arguments);

// What `attribute` ("a.b.0", or a number) leads to from `value`; null: the value itself.
absl::StatusOr<Value> AttributePath(Context* context, const Value& value, const Value* attribute);

}  // namespace ebb::model::jinja
