// Texts made of texts: str.format() and str.join().

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/methods.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {
namespace {

// What stands between the braces: nothing, a number or a name.
absl::StatusOr<Value> FieldValue(Context* context, absl::string_view field, size_t* next_automatic,
                                 const Arguments& arguments) {
  uint32_t index = 0;
  if (field.empty()) {
    index = static_cast<uint32_t>((*next_automatic)++);
  } else if (!absl::SimpleAtoi(field, &index)) {
    if (field.find_first_of("!:.[") != absl::string_view::npos) {
      return context->Unsupported(absl::StrCat("the format '{", field.substr(0, 32), "}'"));
    }
    for (const auto& [name, value] : arguments.named) {
      if (name == field) return value;
    }
    return context->Invalid(absl::StrCat("no argument is named ", field.substr(0, 32)));
  }
  if (index >= arguments.positional.size()) {
    return context->Invalid("the format has more fields than there are arguments");
  }
  return arguments.positional[index];
}

}  // namespace

absl::StatusOr<Value> Format(Context* context, const Text& text, const Arguments& arguments) {
  const absl::string_view view = text.view();
  Text out;
  size_t next_automatic = 0;
  for (size_t at = 0; at < view.size();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out.AppendSlice(text, at, brace);
    at = brace;
    if (at == view.size()) break;
    if (at + 1 < view.size() && view[at + 1] == view[at]) {  // A doubled brace is one.
      out.AppendSlice(text, at, at + 1);
      at += 2;
      continue;
    }
    const size_t close = view.find('}', at);
    if (view[at] == '}' || close == absl::string_view::npos) {
      return context->Invalid("a single brace in a format");
    }
    ASSIGN_OR_RETURN(const Value value, FieldValue(context, view.substr(at + 1, close - at - 1),
                                                   &next_automatic, arguments));
    ASSIGN_OR_RETURN(const Text field, ToText(context, value));
    RETURN_IF_ERROR(context->CheckBytes(out.size() + field.size()));
    out.Append(field);
    at = close + 1;
  }
  return context->NewText(std::move(out));
}

absl::StatusOr<Value> JoinTexts(Context* context, const Text& separator,
                                const Value::List& values) {
  Text out;
  bool is_first = true;
  for (const Value& value : values) {
    if (!is_first) out.Append(separator);
    is_first = false;
    ASSIGN_OR_RETURN(const Text text, ToText(context, value));
    RETURN_IF_ERROR(context->Spend(separator.size()));
    RETURN_IF_ERROR(context->CheckBytes(out.size() + text.size()));
    out.Append(text);
  }
  return context->NewText(std::move(out));
}

absl::StatusOr<Value> ListOfTexts(Context* context, std::vector<Text> texts) {
  Value::List list;
  list.reserve(texts.size());
  for (Text& text : texts) {
    RETURN_IF_ERROR(context->Spend(text.size()));
    list.push_back(Value::OfText(std::move(text)));
  }
  return context->NewList(std::move(list));
}

}  // namespace ebb::model::jinja
