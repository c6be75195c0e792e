// What a value has by a name, an index or a slice.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/interpreter.h"
#include "model/jinja/methods.h"
#include "model/jinja/operators.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

// The byte at which character `index` of `text` begins.
size_t OffsetOf(absl::string_view text, size_t index) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) continue;
    if (index-- == 0) break;
  }
  return at;
}

absl::StatusOr<Value> LoopAttribute(Context* context, const LoopState& loop,
                                    absl::string_view name) {
  const auto index = static_cast<int64_t>(loop.index);
  const auto length = static_cast<int64_t>(loop.items.size());
  if (name == "index") return Value::Integer(index + 1);
  if (name == "index0") return Value::Integer(index);
  if (name == "revindex") return Value::Integer(length - index);
  if (name == "revindex0") return Value::Integer(length - index - 1);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(index + 1 == length);
  if (name == "length") return Value::Integer(length);
  // Only recursive loops are deeper.
  if (name == "depth") return Value::Integer(1);
  if (name == "depth0") return Value::Integer(0);
  if (name == "previtem") return index == 0 ? Value() : loop.items[loop.index - 1];
  if (name == "nextitem") return index + 1 >= length ? Value() : loop.items[loop.index + 1];
  return context->Unsupported(absl::StrCat("'loop.", name, "'"));
}

absl::StatusOr<Value> MethodOf(Context* context, const Value& value, absl::string_view name) {
  RETURN_IF_ERROR(context->Spend(0));
  auto function = std::make_shared<Function>();
  function->name = std::string(name);
  function->receiver = std::make_unique<const Value>(value);
  return Value::OfFunction(std::move(function));
}

// The bounds of a slice as Python's slice.indices() gives them.
struct Bounds {
  int64_t begin;
  int64_t end;
  int64_t step;
};

absl::StatusOr<int64_t> Bound(Context* context, const Value& value, int64_t length, int64_t step,
                              int64_t missing) {
  if (value.Is(Kind::kNone)) return missing;
  if (!value.IsInteger()) {
    return context->Invalid(absl::StrCat(value.KindName(), " is not the bound of a slice"));
  }
  const int64_t low = step < 0 ? -1 : 0;
  const int64_t high = step < 0 ? length - 1 : length;
  int64_t at = value.integer();
  if (at < 0) at = at < -length ? low : at + length;
  return std::clamp(at, low, std::max(low, high));
}

absl::StatusOr<Bounds> BoundsOf(Context* context, int64_t length, const Value& begin,
                                const Value& end, const Value& step) {
  Bounds bounds{0, 0, 1};
  if (!step.Is(Kind::kNone)) {
    if (!step.IsInteger() || step.integer() == 0 || step.integer() == INT64_MIN) {
      return context->Invalid("the step of a slice must be a number other than zero");
    }
    bounds.step = step.integer();
  }
  const bool back = bounds.step < 0;
  ASSIGN_OR_RETURN(bounds.begin, Bound(context, begin, length, bounds.step, back ? length - 1 : 0));
  ASSIGN_OR_RETURN(bounds.end, Bound(context, end, length, bounds.step, back ? -1 : length));
  return bounds;
}

// Calls f for each index of the slice.
template <typename F>
void ForEachIndex(const Bounds& bounds, const F& f) {
  if (bounds.step > 0) {
    for (int64_t i = bounds.begin; i < bounds.end;) {
      f(static_cast<size_t>(i));
      if (bounds.step > bounds.end - i) break;  // The sum could overflow.
      i += bounds.step;
    }
  } else {
    for (int64_t i = bounds.begin; i > bounds.end;) {
      f(static_cast<size_t>(i));
      if (bounds.step < bounds.end - i) break;
      i += bounds.step;
    }
  }
}

absl::StatusOr<Value> SliceText(Context* context, const Text& text, const Bounds& bounds) {
  const absl::string_view view = text.view();
  if (bounds.step == 1) {
    const size_t begin = OffsetOf(view, static_cast<size_t>(bounds.begin));
    const auto count = static_cast<size_t>(std::max<int64_t>(0, bounds.end - bounds.begin));
    return context->NewText(text.Slice(begin, begin + OffsetOf(view.substr(begin), count)));
  }
  std::vector<size_t> starts;
  RETURN_IF_ERROR(context->CheckBytes(view.size() * sizeof(size_t)));
  for (TextReader at(text); !at.done(); at.Next()) starts.push_back(at.offset());
  starts.push_back(view.size());
  Text slice;
  ForEachIndex(bounds, [&](size_t i) { slice.AppendSlice(text, starts[i], starts[i + 1]); });
  return context->NewText(std::move(slice));
}

}  // namespace

absl::StatusOr<Value> Attribute(Context* context, const Value& value, absl::string_view name) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return context->Invalid(absl::StrCat("'", name, "' of an undefined value"));
    case Kind::kLoop:
      return LoopAttribute(context, value.loop(), name);
    case Kind::kFunction:
      return context->Unsupported(absl::StrCat("'", name, "' of a function"));
    case Kind::kNamespace: {
      const Value* const member = FindKey(value.space()->members, name, &context->steps_left);
      return member == nullptr ? Value() : *member;
    }
    default:
      break;
  }
  if (IsMethod(value, name)) return MethodOf(context, value, name);
  // It would change the value: Jinja's sandbox does not let templates see it.
  if (IsForbiddenMethod(value, name) || !value.IsDict()) return Value();
  const Value* const member = FindKey(value.dict(), name, &context->steps_left);
  return member == nullptr ? Value() : *member;
}

absl::StatusOr<Value> Subscript(Context* context, const Value& value, const Value& index) {
  if (value.IsUndefined()) return context->Invalid("a subscript of an undefined value");
  if (value.IsDict() && IsHashable(index)) {
    const Value* const member = FindKey(value.dict(), index, &context->steps_left);
    if (member != nullptr) return *member;
  }
  if (index.IsText()) {
    RETURN_IF_ERROR(context->Spend(index.view().size()));
    const bool is_key = value.IsDict() && !IsMethod(value, index.view());
    return is_key ? Value() : Attribute(context, value, index.view());
  }
  if (!index.IsInteger()) return Value();
  const bool is_text = value.IsText();
  if (!is_text && !value.IsSequence()) return Value();
  if (is_text) RETURN_IF_ERROR(context->Spend(value.view().size()));
  const auto length =
      static_cast<int64_t>(is_text ? CountCharacters(value.view()) : value.list().size());
  const int64_t at = index.integer() < 0 ? index.integer() + length : index.integer();
  if (at < 0 || at >= length) return Value();
  if (!is_text) return value.list()[static_cast<size_t>(at)];
  return SliceText(context, value.text(), {at, at + 1, 1});
}

absl::StatusOr<Value> Slice(Context* context, const Value& value, const Value& begin,
                            const Value& end, const Value& step) {
  const bool is_text = value.IsText();
  if (!is_text && !value.IsSequence()) {
    return context->Invalid(absl::StrCat(value.KindName(), " cannot be sliced"));
  }
  if (is_text) RETURN_IF_ERROR(context->Spend(2 * value.view().size()));
  const size_t length = is_text ? CountCharacters(value.view()) : value.list().size();
  ASSIGN_OR_RETURN(const Bounds bounds,
                   BoundsOf(context, static_cast<int64_t>(length), begin, end, step));
  if (is_text) return SliceText(context, value.text(), bounds);
  Value::List list;
  ForEachIndex(bounds, [&](size_t i) { list.push_back(value.list()[i]); });
  return context->NewList(std::move(list), value.kind(), value.from_client());
}

}  // namespace ebb::model::jinja
