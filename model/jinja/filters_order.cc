// Filters that order and compare elements.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/filters.h"
#include "model/jinja/strings.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

struct Keyed {
  Value key;
  Value value;
};

// The elements with what they are compared by: the attribute, in lower case unless
// `case_sensitive`.
absl::StatusOr<std::vector<Keyed>> WithKeys(Context* context, const Value::List& list,
                                            const Value* attribute, const Value* case_sensitive) {
  const bool lower = case_sensitive == nullptr || !case_sensitive->IsTrue();
  std::vector<Keyed> keyed;
  keyed.reserve(list.size());
  for (const Value& element : list) {
    ASSIGN_OR_RETURN(Value key, AttributePath(context, element, attribute));
    if (lower && key.IsText()) {
      ASSIGN_OR_RETURN(key, context->NewText(Lower(key.text())));
    }
    keyed.push_back({std::move(key), element});
  }
  return keyed;
}

// INVALID_ARGUMENT: keys that Python cannot order. Only keys whose order cannot fail are sorted.
absl::Status Sort(Context* context, std::vector<Keyed>* keyed, bool reverse) {
  const auto is_number = [](const Keyed& k) { return k.key.IsNumber(); };
  const auto is_text = [](const Keyed& k) { return k.key.IsText(); };
  const bool numbers = std::all_of(keyed->begin(), keyed->end(), is_number);
  if (!numbers && !std::all_of(keyed->begin(), keyed->end(), is_text)) {
    // Python compares only what differs.
    const bool alike = std::all_of(keyed->begin(), keyed->end(), [&](const Keyed& k) {
      return Equal(k.key, keyed->front().key, &context->steps_left);
    });
    RETURN_IF_ERROR(context->Spend(0));
    if (alike) return absl::OkStatus();
    return std::any_of(keyed->begin(), keyed->end(),
                       [](const Keyed& k) { return k.key.IsSequence(); })
               ? context->Unsupported("sorting lists")
               : context->Invalid("values of such kinds cannot be sorted");
  }
  size_t bytes = keyed->size() * 16 * sizeof(Keyed);
  for (const Keyed& k : *keyed)
    bytes += numbers ? 0 : 16 * std::min<size_t>(k.key.view().size(), 64);
  RETURN_IF_ERROR(context->Spend(bytes));
  const auto less = [numbers](const Keyed& a, const Keyed& b) {
    return numbers ? a.key.number() < b.key.number() : a.key.view() < b.key.view();
  };
  if (reverse) {  // What is equal stays in order.
    std::stable_sort(keyed->begin(), keyed->end(),
                     [&](const Keyed& a, const Keyed& b) { return less(b, a); });
  } else {
    std::stable_sort(keyed->begin(), keyed->end(), less);
  }
  return absl::OkStatus();
}

Value::List ValuesOf(std::vector<Keyed> keyed) {
  Value::List list;
  list.reserve(keyed.size());
  for (Keyed& k : keyed) list.push_back(std::move(k.value));
  return list;
}

absl::StatusOr<Value> Extreme(Context* context, const Value& value, const Arguments& arguments,
                              bool want_less) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const Value::List list, Iterate(context, value));
  ASSIGN_OR_RETURN(const std::vector<Keyed> keyed, WithKeys(context, list, bound[1], bound[0]));
  if (keyed.empty()) return Value();
  const Keyed* best = &keyed[0];
  for (const Keyed& k : keyed) {
    if (&k == best) continue;
    ASSIGN_OR_RETURN(const bool better,
                     want_less ? Less(context, k.key, best->key) : Less(context, best->key, k.key));
    if (better) best = &k;
  }
  return best->value;
}

}  // namespace

absl::StatusOr<Value> FilterDictSort(Context* context, const Value& value,
                                     const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   Bind(*context, arguments, {"case_sensitive", "by", "reverse"}));
  if (!value.IsDict()) {
    return context->Invalid(absl::StrCat("dictsort does not take ", value.KindName()));
  }
  Value by = Value::Integer(0);
  if (bound[1] != nullptr) {
    const absl::string_view name = bound[1]->IsText() ? bound[1]->view() : "";
    if (name != "key" && name != "value") return context->Invalid("dictsort is by key or value");
    by = Value::Integer(name == "value" ? 1 : 0);
  }
  Value::List pairs;
  for (const auto& [key, member] : value.dict()) {
    ASSIGN_OR_RETURN(pairs.emplace_back(),
                     context->NewList({key, member}, Kind::kTuple, value.from_client()));
  }
  ASSIGN_OR_RETURN(std::vector<Keyed> keyed, WithKeys(context, pairs, &by, bound[0]));
  RETURN_IF_ERROR(Sort(context, &keyed, bound[2] != nullptr && bound[2]->IsTrue()));
  return context->NewList(ValuesOf(std::move(keyed)), Kind::kList, value.from_client());
}

absl::StatusOr<Value> FilterSort(Context* context, const Value& value, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   Bind(*context, arguments, {"reverse", "case_sensitive", "attribute"}));
  if (bound[2] != nullptr && bound[2]->IsText() &&
      bound[2]->view().find(',') != absl::string_view::npos) {
    return context->Unsupported("sorting by several attributes");
  }
  ASSIGN_OR_RETURN(const Value::List list, Iterate(context, value));
  ASSIGN_OR_RETURN(std::vector<Keyed> keyed, WithKeys(context, list, bound[2], bound[1]));
  RETURN_IF_ERROR(Sort(context, &keyed, bound[0] != nullptr && bound[0]->IsTrue()));
  return context->NewList(ValuesOf(std::move(keyed)), Kind::kList, value.from_client());
}

absl::StatusOr<Value> FilterUnique(Context* context, const Value& value,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const Value::List list, Iterate(context, value));
  ASSIGN_OR_RETURN(std::vector<Keyed> keyed, WithKeys(context, list, bound[1], bound[0]));
  std::vector<Keyed> kept;
  for (Keyed& k : keyed) {
    if (!IsHashable(k.key)) {
      return context->Invalid(absl::StrCat("unique does not take ", k.key.KindName()));
    }
    const bool seen = std::any_of(kept.begin(), kept.end(), [&](const Keyed& other) {
      return Equal(other.key, k.key, &context->steps_left);
    });
    RETURN_IF_ERROR(context->Spend(0));
    if (!seen) kept.push_back(std::move(k));
  }
  return context->NewList(ValuesOf(std::move(kept)), Kind::kGenerator, value.from_client());
}

absl::StatusOr<Value> FilterMin(Context* context, const Value& value, const Arguments& arguments) {
  return Extreme(context, value, arguments, /*want_less=*/true);
}

absl::StatusOr<Value> FilterMax(Context* context, const Value& value, const Arguments& arguments) {
  return Extreme(context, value, arguments, /*want_less=*/false);
}

}  // namespace ebb::model::jinja
