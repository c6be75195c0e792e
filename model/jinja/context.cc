#include "model/jinja/context.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/lexer.h"

namespace ebb::model::jinja {

absl::Status Context::Invalid(absl::string_view message) const {
  return TemplateError(absl::StatusCode::kInvalidArgument, line, message);
}

absl::Status Context::Unsupported(absl::string_view what) const {
  return TemplateUnsupported(line, what);
}

absl::Status Context::Spend(size_t bytes) {
  steps_left -= 1 + static_cast<int64_t>(bytes / 64);
  if (steps_left >= 0) return absl::OkStatus();
  return TemplateError(absl::StatusCode::kResourceExhausted, line,
                       absl::StrCat("rendering takes more than ", limits_.steps_max, " steps"));
}

absl::Status Context::CheckBytes(size_t bytes) const {
  if (bytes <= limits_.text_bytes_max) return absl::OkStatus();
  return TemplateError(absl::StatusCode::kResourceExhausted, line,
                       absl::StrCat("a value has more than ", limits_.text_bytes_max, " bytes"));
}

absl::Status Context::CheckDepth(int32_t depth) const {
  if (depth <= limits_.recursion_max) return absl::OkStatus();
  return TemplateError(
      absl::StatusCode::kResourceExhausted, line,
      absl::StrCat("rendering is nested more than ", limits_.recursion_max, " deep"));
}

absl::StatusOr<Value> Context::NewText(Text text) {
  RETURN_IF_ERROR(CheckBytes(text.size()));
  RETURN_IF_ERROR(Spend(text.size()));
  return Value::OfText(std::move(text));
}

absl::StatusOr<Value> Context::NewList(Value::List list, Value::Kind kind, bool from_client) {
  const size_t bytes = list.size() * sizeof(Value);
  RETURN_IF_ERROR(CheckBytes(bytes));
  RETURN_IF_ERROR(Spend(4 * bytes));
  Value value = Value::OfList(std::move(list), kind, from_client);
  if (value.depth() > limits_.nesting_max) return Invalid("lists are nested too deeply");
  return value;
}

absl::StatusOr<Value> Context::NewDict(Value::Dict dict, bool from_client) {
  const size_t bytes = dict.size() * sizeof(Value::Entry);
  RETURN_IF_ERROR(CheckBytes(bytes));
  RETURN_IF_ERROR(Spend(4 * bytes));
  Value value = Value::OfDict(std::move(dict), from_client);
  if (value.depth() > limits_.nesting_max) return Invalid("mappings are nested too deeply");
  return value;
}

absl::StatusOr<Namespace*> Context::NewNamespace() {
  RETURN_IF_ERROR(Spend(16 * 64));
  return &namespaces_.emplace_back();
}

absl::StatusOr<std::vector<const Value*>> Bind(const Context& context, const Arguments& arguments,
                                               std::initializer_list<absl::string_view> names) {
  std::vector<const Value*> bound(names.size(), nullptr);
  if (arguments.positional.size() > names.size()) {
    return context.Invalid(absl::StrCat("at most ", names.size(), " arguments are taken, not ",
                                        arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto* const at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) return context.Invalid(absl::StrCat("no argument is named ", name));
    const Value*& slot = bound[static_cast<size_t>(at - names.begin())];
    if (slot != nullptr) return context.Invalid(absl::StrCat("two arguments are named ", name));
    slot = &value;
  }
  return bound;
}

absl::StatusOr<Value::List> Iterate(Context* context, const Value& value) {
  using Kind = Value::Kind;
  switch (value.kind()) {
    case Kind::kUndefined:
      return Value::List();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      RETURN_IF_ERROR(context->Spend(4 * value.list().size() * sizeof(Value)));
      return value.list();
    case Kind::kGenerator: {
      Value::List list = value.TakeGenerated(SIZE_MAX);
      RETURN_IF_ERROR(context->Spend(4 * list.size() * sizeof(Value)));
      return list;
    }
    case Kind::kDict: {
      RETURN_IF_ERROR(context->Spend(4 * value.dict().size() * sizeof(Value)));
      Value::List keys;
      for (const auto& [key, member] : value.dict()) keys.push_back(key);
      return keys;
    }
    case Kind::kText: {
      const size_t count = CountCharacters(value.view());
      RETURN_IF_ERROR(context->CheckBytes(count * sizeof(Value)));
      RETURN_IF_ERROR(context->Spend(count * 256));
      Value::List characters;
      characters.reserve(count);
      for (TextReader at(value.text()); !at.done(); at.Next()) {
        characters.push_back(Value::OfText(Text(at.bytes(), at.is_template())));
      }
      return characters;
    }
    default:
      return context->Invalid(absl::StrCat(value.KindName(), " is not a list to go over"));
  }
}

absl::StatusOr<bool> Less(Context* context, const Value& a, const Value& b) {
  RETURN_IF_ERROR(context->Spend(0));
  if (a.IsInteger() && b.IsInteger()) return a.integer() < b.integer();
  if (a.IsNumber() && b.IsNumber()) return a.number() < b.number();
  if (a.IsText() && b.IsText()) {
    RETURN_IF_ERROR(context->Spend(std::min(a.view().size(), b.view().size())));
    return a.view() < b.view();  // UTF-8 keeps the order of code points.
  }
  const bool lists =
      a.kind() == b.kind() && (a.Is(Value::Kind::kList) || a.Is(Value::Kind::kTuple));
  if (!lists) {
    return context->Invalid(
        absl::StrCat(a.KindName(), " and ", b.KindName(), " have no order to compare by"));
  }
  for (size_t i = 0; i < a.list().size() && i < b.list().size(); ++i) {
    if (Equal(a.list()[i], b.list()[i], &context->steps_left)) continue;
    return Less(context, a.list()[i], b.list()[i]);
  }
  return a.list().size() < b.list().size();
}

}  // namespace ebb::model::jinja
