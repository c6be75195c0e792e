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
using Filter = absl::StatusOr<Value>(Context*, const Value&, const Arguments&);

// filters_text.cc
Filter FilterTrim, FilterUpper, FilterLower, FilterTitle, FilterCapitalize, FilterReplace,
    FilterIndent, FilterString, FilterSafe, FilterToJson, FilterJoin;
// filters_number.cc
Filter FilterInt, FilterFloat, FilterAbs, FilterRound, FilterSum;
// filters_list.cc
Filter FilterLength, FilterFirst, FilterLast, FilterList, FilterItems, FilterReverse, FilterMap,
    FilterSelect, FilterReject, FilterSelectAttr, FilterRejectAttr;
// filters_order.cc
Filter FilterDictSort, FilterSort, FilterUnique, FilterMin, FilterMax;

// A client wrote the value, or part of it where it is a text: so what it gives is the client's.
bool IsFromClient(const Value& value);

// What `attribute` ("a.b.0", or a number) leads to from `value`; null: the value itself.
absl::StatusOr<Value> AttributePath(Context* context, const Value& value, const Value* attribute);

}  // namespace ebb::model::jinja
