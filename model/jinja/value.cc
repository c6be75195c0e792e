#include "model/jinja/value.h"

#include <algorithm>

namespace ebb::model::jinja {
namespace {

// A generator's elements with the place up to which they were read.
struct Generated {
  Value::List list;
  mutable size_t next = 0;
};

int32_t DepthOf(const Value::List& list) {
  int32_t depth = 0;
  for (const Value& element : list) depth = std::max(depth, element.depth());
  return depth + 1;
}

}  // namespace

Value Value::Scalar(Kind kind, int64_t integer, bool from_client) {
  Value value;
  value.kind_ = kind;
  value.integer_ = integer;
  value.from_client_ = from_client;
  return value;
}

Value Value::Float(double number, bool from_client) {
  Value value = Scalar(Kind::kFloat, 0, from_client);
  value.number_ = number;
  return value;
}

Value Value::OfText(Text text) {
  Value value;
  value.kind_ = Kind::kText;
  value.data_ = std::make_shared<const Text>(std::move(text));
  return value;
}

Value Value::OfSafeText(Text text) {
  Value value = OfText(std::move(text));
  value.is_safe_ = true;
  return value;
}

Value Value::OfList(List list, Kind kind, bool from_client) {
  Value value = Scalar(kind, 0, from_client);
  value.depth_ = DepthOf(list);
  if (kind == Kind::kGenerator) {
    value.data_ = std::make_shared<const Generated>(Generated{std::move(list)});
  } else {
    value.data_ = std::make_shared<const List>(std::move(list));
  }
  return value;
}

Value Value::OfDict(Dict dict, bool from_client) {
  Value value = Scalar(Kind::kDict, 0, from_client);
  for (const auto& [key, member] : dict) {
    value.depth_ = std::max({value.depth_, key.depth(), member.depth()});
  }
  ++value.depth_;
  value.data_ = std::make_shared<const Dict>(std::move(dict));
  return value;
}

Value Value::OfFunction(std::shared_ptr<const Function> function) {
  Value value;
  value.kind_ = Kind::kFunction;
  value.data_ = std::move(function);
  return value;
}

Value Value::OfLoop(std::shared_ptr<const LoopState> loop) {
  Value value;
  value.kind_ = Kind::kLoop;
  value.data_ = std::move(loop);
  return value;
}

Value Value::OfNamespace(Namespace* space) {
  Value value;
  value.kind_ = Kind::kNamespace;
  value.space_ = space;
  return value;
}

Value::List Value::TakeGenerated(size_t count_max) const {
  const auto& generated = *static_cast<const Generated*>(data_.get());
  const size_t count = std::min(count_max, generated.list.size() - generated.next);
  const auto begin = generated.list.begin() + static_cast<std::ptrdiff_t>(generated.next);
  generated.next += count;
  return List(begin, begin + static_cast<std::ptrdiff_t>(count));
}

bool Value::IsTrue() const {
  switch (kind_) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInteger:
      return integer_ != 0;
    case Kind::kFloat:
      return number_ != 0;
    case Kind::kText:
      return !text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return !list().empty();
    case Kind::kDict:
      return !dict().empty();
    case Kind::kGenerator:
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kFunction:
      return true;
  }
  return false;
}

absl::string_view Value::KindName() const {
  switch (kind_) {
    case Kind::kUndefined:
      return "an undefined value";
    case Kind::kNone:
      return "none";
    case Kind::kBool:
      return "a boolean";
    case Kind::kInteger:
    case Kind::kFloat:
      return "a number";
    case Kind::kText:
      return "a string";
    case Kind::kList:
      return "a list";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kRange:
      return "a range";
    case Kind::kView:
      return "a view of a mapping";
    case Kind::kGenerator:
      return "a generator";
    case Kind::kDict:
      return "a mapping";
    case Kind::kNamespace:
      return "a namespace";
    case Kind::kLoop:
      return "a loop";
    case Kind::kFunction:
      return "a function";
  }
  return "";
}

const Value* FindKey(const Value::Dict& dict, absl::string_view key, int64_t* steps_left) {
  for (const auto& [name, member] : dict) {
    if (name.IsText() && name.view() == key) return &member;
  }
  *steps_left -= static_cast<int64_t>(dict.size() / 4 + key.size() / 64);
  return nullptr;
}

const Value* FindKey(const Value::Dict& dict, const Value& key, int64_t* steps_left) {
  if (key.IsText()) return FindKey(dict, key.view(), steps_left);
  for (const auto& [name, member] : dict) {
    if (Equal(name, key, steps_left)) return &member;
  }
  return nullptr;
}

void SetKey(Value::Dict* dict, Value key, Value value, int64_t* steps_left) {
  for (auto& [name, member] : *dict) {
    if (!Equal(name, key, steps_left)) continue;
    member = std::move(value);
    return;
  }
  dict->emplace_back(std::move(key), std::move(value));
}

bool Equal(const Value& a, const Value& b, int64_t* steps_left) {
  using Kind = Value::Kind;
  if (--*steps_left < 0) return false;
  if (a.IsInteger() && b.IsInteger()) return a.integer() == b.integer();
  if (a.IsNumber() && b.IsNumber()) return a.number() == b.number();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kText:
      *steps_left -= static_cast<int64_t>(std::min(a.view().size(), b.view().size()) / 64);
      return a.view() == b.view();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(),
                        [&](const Value& x, const Value& y) { return Equal(x, y, steps_left); });
    case Kind::kDict:
      return a.dict().size() == b.dict().size() &&
             std::all_of(a.dict().begin(), a.dict().end(), [&](const Value::Entry& entry) {
               const Value* const other = FindKey(b.dict(), entry.first, steps_left);
               return other != nullptr && Equal(entry.second, *other, steps_left);
             });
    case Kind::kNamespace:
      return a.space() == b.space();
    case Kind::kFunction:
      return &a.function() == &b.function();
    case Kind::kLoop:
      return &a.loop() == &b.loop();
    default:  // Generators.
      return false;
  }
}

bool IsHashable(const Value& value) {
  using Kind = Value::Kind;
  if (value.Is(Kind::kTuple)) {
    return std::all_of(value.list().begin(), value.list().end(), IsHashable);
  }
  return !value.Is(Kind::kList) && !value.IsDict() && !value.Is(Kind::kView);
}

}  // namespace ebb::model::jinja
