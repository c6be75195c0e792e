#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/filters.h"
#include "model/jinja/methods.h"
#include "model/jinja/strings.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

// The text of `value` changed by `change`, which takes time in proportion to it.
template <typename Change>
absl::StatusOr<Value> Changed(Context* context, const Value& value, const Arguments& arguments,
                              const Change& change) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  ASSIGN_OR_RETURN(const Text text, ToText(context, value));
  RETURN_IF_ERROR(context->Spend(4 * text.size()));
  return context->NewText(change(text));
}

absl::StatusOr<std::string> IndentOf(Context* context, const Value& width) {
  if (width.IsText()) return std::string(width.view());
  if (!width.IsInteger()) return context->Invalid("an indent is a number or a string");
  const int64_t count = std::max<int64_t>(width.integer(), 0);
  if (count > 1024) return context->Unsupported("an indent of more than 1024");
  std::string indent;
  indent.resize(static_cast<size_t>(count), ' ');
  return indent;
}

}  // namespace

absl::StatusOr<Value> FilterTrim(Context* context, const Value& value, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text text, ToText(context, value));
  return CallMethod(context, Value::OfText(text), "strip", arguments);
}

absl::StatusOr<Value> FilterUpper(Context* context, const Value& value,
                                  const Arguments& arguments) {
  return Changed(context, value, arguments, Upper);
}

absl::StatusOr<Value> FilterLower(Context* context, const Value& value,
                                  const Arguments& arguments) {
  return Changed(context, value, arguments, Lower);
}

absl::StatusOr<Value> FilterTitle(Context* context, const Value& value,
                                  const Arguments& arguments) {
  return Changed(context, value, arguments,
                 [](const Text& text) { return Title(text, /*jinja_words=*/true); });
}

absl::StatusOr<Value> FilterCapitalize(Context* context, const Value& value,
                                       const Arguments& arguments) {
  return Changed(context, value, arguments, Capitalize);
}

absl::StatusOr<Value> FilterReplace(Context* context, const Value& value,
                                    const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"old", "new", "count"}));
  if (bound[0] == nullptr || bound[1] == nullptr) {
    return context->Invalid("replace needs two strings");
  }
  ASSIGN_OR_RETURN(const Text text, ToText(context, value));
  ASSIGN_OR_RETURN(Text from, ToText(context, *bound[0]));
  ASSIGN_OR_RETURN(Text to, ToText(context, *bound[1]));
  Arguments texts;
  texts.positional = {Value::OfText(std::move(from)), Value::OfText(std::move(to))};
  if (bound[2] != nullptr && !bound[2]->Is(Kind::kNone)) texts.positional.push_back(*bound[2]);
  return CallMethod(context, Value::OfText(text), "replace", texts);
}

// Every line but the first, and empty ones, by so many blanks.
absl::StatusOr<Value> FilterIndent(Context* context, const Value& value,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"width", "first", "blank"}));
  const Value width = bound[0] == nullptr ? Value::Integer(4) : *bound[0];
  ASSIGN_OR_RETURN(const std::string indent, IndentOf(context, width));
  if (!value.IsText()) {
    return context->Invalid(absl::StrCat("indent does not take ", value.KindName()));
  }
  const bool first = bound[1] != nullptr && bound[1]->IsTrue();
  const bool blank = bound[2] != nullptr && bound[2]->IsTrue();
  const bool indent_is_template = !IsFromClient(width);
  Text text = value.text();
  RETURN_IF_ERROR(context->Spend(64 * text.size()));
  text.Append("\n", true);  // As Jinja does: a newline at the end is not lost.
  const std::vector<Text> lines = SplitLines(text, /*keep_ends=*/false);
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.Append("\n", true);
    const bool indented = i == 0 ? first : blank || !lines[i].empty();
    if (indented) out.Append(indent, indent_is_template);
    out.Append(lines[i]);
    RETURN_IF_ERROR(context->CheckBytes(out.size()));
  }
  return context->NewText(std::move(out));
}

absl::StatusOr<Value> FilterString(Context* context, const Value& value,
                                   const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (value.IsText()) return value;
  ASSIGN_OR_RETURN(Text text, ToText(context, value));
  return context->NewText(std::move(text));
}

// Nothing is escaped anyway; but what is marked so escapes what is added to it.
absl::StatusOr<Value> FilterSafe(Context* context, const Value& value, const Arguments& arguments) {
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  ASSIGN_OR_RETURN(Text text, ToText(context, value));
  return Value::OfSafeText(std::move(text));
}

// As transformers has it: json.dumps() without its escapes for HTML.
absl::StatusOr<Value> FilterToJson(Context* context, const Value& value,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments,
                                          {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = bound[0] != nullptr && bound[0]->IsTrue();
  style.sort_keys = bound[3] != nullptr && bound[3]->IsTrue();
  if (bound[1] != nullptr && !bound[1]->Is(Kind::kNone)) {
    ASSIGN_OR_RETURN(style.indent, IndentOf(context, *bound[1]));
    style.item_separator = std::string(1, ',');
  }
  if (bound[2] != nullptr && !bound[2]->Is(Kind::kNone)) {
    const Value& pair = *bound[2];
    if (!pair.IsSequence() || pair.list().size() != 2 || !pair.list()[0].IsText() ||
        !pair.list()[1].IsText()) {
      return context->Invalid("separators are a pair of strings");
    }
    style.item_separator = std::string(pair.list()[0].view());
    style.key_separator = std::string(pair.list()[1].view());
  }
  ASSIGN_OR_RETURN(Text text, ToJson(context, value, style));
  return context->NewText(std::move(text));
}

absl::StatusOr<Value> FilterJoin(Context* context, const Value& value, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"d", "attribute"}));
  ASSIGN_OR_RETURN(Value::List list, Iterate(context, value));
  for (Value& element : list) {
    ASSIGN_OR_RETURN(element, AttributePath(context, element, bound[1]));
  }
  Text separator;
  if (bound[0] != nullptr) {
    ASSIGN_OR_RETURN(separator, ToText(context, *bound[0]));
  }
  return JoinTexts(context, separator, list);
}

}  // namespace ebb::model::jinja
