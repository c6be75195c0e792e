#include "model/jinja/methods.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/lexer.h"
#include "model/jinja/strings.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;
using Bound = std::vector<const Value*>;

constexpr absl::string_view kTextMethods[] = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};
constexpr absl::string_view kDictMethods[] = {"copy", "fromkeys", "get", "items", "keys", "values"};
constexpr absl::string_view kListMethods[] = {"copy", "count", "index"};
constexpr absl::string_view kDictForbidden[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr absl::string_view kListForbidden[] = {"append", "clear",   "extend", "insert",
                                                "pop",    "reverse", "remove", "sort"};

template <size_t n>
bool Contains(const absl::string_view (&list)[n], absl::string_view text) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

absl::Status NotText(const Context& context, const Value& value) {
  return context.Invalid(absl::StrCat("expected a string, found ", value.KindName()));
}

// The number at `value`, or `missing`.
absl::StatusOr<int64_t> Count(const Context& context, const Value* value, int64_t missing) {
  if (value == nullptr) return missing;
  if (!value->IsInteger()) {
    return context.Invalid(absl::StrCat("expected a number, found ", value->KindName()));
  }
  return value->integer();
}

// How often `wanted` is in `text`, without overlaps. REQUIRES: `wanted` is not empty.
size_t Occurrences(absl::string_view text, absl::string_view wanted) {
  size_t count = 0;
  for (size_t at = text.find(wanted); at != absl::string_view::npos;
       at = text.find(wanted, at + wanted.size())) {
    ++count;
  }
  return count;
}

absl::StatusOr<Value> StripMethod(Context* context, const Text& text, Ends ends,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"chars"}));
  RETURN_IF_ERROR(context->Spend(4 * text.size()));
  if (bound[0] == nullptr || bound[0]->Is(Kind::kNone)) {
    return context->NewText(Strip(text, nullptr, ends));
  }
  if (!bound[0]->IsText()) return NotText(*context, *bound[0]);
  const absl::string_view characters = bound[0]->view();
  RETURN_IF_ERROR(context->Spend(text.size() * std::min<size_t>(characters.size(), 64)));
  return context->NewText(Strip(text, &characters, ends));
}

absl::StatusOr<Value> SplitMethod(Context* context, const Text& text, bool from_right,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"sep", "maxsplit"}));
  ASSIGN_OR_RETURN(const int64_t splits_max, Count(*context, bound[1], -1));
  if (bound[0] == nullptr || bound[0]->Is(Kind::kNone)) {
    RETURN_IF_ERROR(context->Spend(64 * text.size()));
    return ListOfTexts(context, SplitAtSpace(text, splits_max, from_right));
  }
  if (!bound[0]->IsText()) return NotText(*context, *bound[0]);
  if (bound[0]->view().empty()) return context->Invalid("the separator is empty");
  RETURN_IF_ERROR(context->Spend(64 * (text.size() / bound[0]->view().size())));
  return ListOfTexts(context, Split(text, bound[0]->view(), splits_max, from_right));
}

absl::StatusOr<Value> PartitionMethod(Context* context, const Text& text, bool from_right,
                                      const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"sep"}));
  if (bound[0] == nullptr || !bound[0]->IsText() || bound[0]->view().empty()) {
    return context->Invalid("partition needs a separator");
  }
  std::vector<Text> parts = Split(text, bound[0]->view(), 1, from_right);
  const bool found = parts.size() == 2;
  if (!found) parts.insert(from_right ? parts.begin() : parts.end(), Text());
  return context->NewList(
      {Value::OfText(parts[0]), found ? *bound[0] : Value::OfText(Text()), Value::OfText(parts[1])},
      Kind::kTuple);
}

// startswith and endswith: of one string, or of any in a tuple.
absl::StatusOr<Value> EdgeMethod(Context* context, absl::string_view text, bool at_start,
                                 const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty()) {
    return context->Unsupported("startswith or endswith with a start");
  }
  const Value& edges = arguments.positional[0];
  const auto matches = [&](absl::string_view edge) {
    return at_start ? absl::StartsWith(text, edge) : absl::EndsWith(text, edge);
  };
  if (edges.IsText()) return Value::Bool(matches(edges.view()));
  if (!edges.Is(Kind::kTuple)) return NotText(*context, edges);
  for (const Value& edge : edges.list()) {
    if (!edge.IsText()) return NotText(*context, edge);
    if (matches(edge.view())) return Value::Bool(true);
  }
  return Value::Bool(false);
}

absl::StatusOr<Value> ReplaceMethod(Context* context, const Text& text,
                                    const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"old", "new", "count"}));
  if (bound[0] == nullptr || bound[1] == nullptr) {
    return context->Invalid("replace needs two strings");
  }
  if (!bound[0]->IsText()) return NotText(*context, *bound[0]);
  if (!bound[1]->IsText()) return NotText(*context, *bound[1]);
  ASSIGN_OR_RETURN(const int64_t count_max, Count(*context, bound[2], -1));
  RETURN_IF_ERROR(context->Spend(text.size()));
  if (bound[1]->view().size() > 1) {  // The result may be larger than the text.
    const absl::string_view from = bound[0]->view();
    const size_t found = from.empty() ? text.size() + 1 : Occurrences(text.view(), from);
    if (found > context->limits().text_bytes_max / bound[1]->view().size()) {
      return context->CheckBytes(SIZE_MAX);
    }
    RETURN_IF_ERROR(context->CheckBytes(text.size() + found * bound[1]->view().size()));
  }
  return context->NewText(Replace(text, bound[0]->view(), bound[1]->text(), count_max));
}

// find, rfind, index, rindex, count: of the whole string.
absl::StatusOr<Value> FindMethod(Context* context, absl::string_view text, absl::string_view name,
                                 const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty()) {
    return context->Unsupported(absl::StrCat(name, " with a start"));
  }
  if (!arguments.positional[0].IsText()) return NotText(*context, arguments.positional[0]);
  const absl::string_view wanted = arguments.positional[0].view();
  RETURN_IF_ERROR(context->Spend(2 * text.size()));
  if (name == "count") {
    const size_t count = wanted.empty() ? CountCharacters(text) + 1 : Occurrences(text, wanted);
    return Value::Integer(static_cast<int64_t>(count));
  }
  const size_t at = name[0] == 'r' ? text.rfind(wanted) : text.find(wanted);
  if (at != absl::string_view::npos) {
    return Value::Integer(static_cast<int64_t>(CountCharacters(text.substr(0, at))));
  }
  if (absl::EndsWith(name, "index")) return context->Invalid("the string was not found");
  return Value::Integer(-1);
}

absl::StatusOr<Value> RemoveMethod(Context* context, const Text& text, bool at_start,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"prefix"}));
  if (bound[0] == nullptr || !bound[0]->IsText()) return context->Invalid("expected a string");
  const absl::string_view edge = bound[0]->view();
  if (at_start && absl::StartsWith(text.view(), edge)) {
    return context->NewText(text.Slice(edge.size(), text.size()));
  }
  if (!at_start && absl::EndsWith(text.view(), edge)) {
    return context->NewText(text.Slice(0, text.size() - edge.size()));
  }
  return Value::OfText(text);
}

// isdigit, isspace, ...: as far as they can be told for all characters.
absl::StatusOr<Value> IsMethodOfText(Context* context, const Text& text, absl::string_view name) {
  RETURN_IF_ERROR(context->Spend(4 * text.size()));
  if (name == "islower") return Value::Bool(IsLower(text));
  if (name == "isupper") return Value::Bool(IsUpper(text));
  bool all = true;
  for (TextReader at(text); !at.done(); at.Next()) {
    const uint32_t c = at.code_point();
    const bool digit = c >= '0' && c <= '9';
    if (name == "isspace") {
      all &= IsPythonSpace(c);
    } else if (name == "isascii") {
      all &= c < 0x80;
    } else if (c >= 0x80 && !IsLetter(c)) {
      return context->Unsupported(absl::StrCat("'", name, "' of characters outside ASCII"));
    } else if (name == "isalpha") {
      all &= IsLetter(c);
    } else if (name == "isalnum") {
      all &= digit || IsLetter(c);
    } else {  // isdigit, isdecimal, isnumeric.
      all &= digit;
    }
  }
  return Value::Bool(all && (name == "isascii" || !text.empty()));
}

absl::StatusOr<Value> TextMethod(Context* context, const Text& text, absl::string_view name,
                                 const Arguments& arguments) {
  if (name == "strip") return StripMethod(context, text, Ends::kBoth, arguments);
  if (name == "lstrip") return StripMethod(context, text, Ends::kLeft, arguments);
  if (name == "rstrip") return StripMethod(context, text, Ends::kRight, arguments);
  if (name == "split") return SplitMethod(context, text, false, arguments);
  if (name == "rsplit") return SplitMethod(context, text, true, arguments);
  if (name == "partition") return PartitionMethod(context, text, false, arguments);
  if (name == "rpartition") return PartitionMethod(context, text, true, arguments);
  if (name == "startswith") return EdgeMethod(context, text.view(), true, arguments);
  if (name == "endswith") return EdgeMethod(context, text.view(), false, arguments);
  if (name == "replace") return ReplaceMethod(context, text, arguments);
  if (name == "format") return Format(context, text, arguments);
  if (name == "removeprefix") return RemoveMethod(context, text, true, arguments);
  if (name == "removesuffix") return RemoveMethod(context, text, false, arguments);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count") {
    return FindMethod(context, text.view(), name, arguments);
  }
  if (name == "join") {
    ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"iterable"}));
    if (bound[0] == nullptr) return context->Invalid("join needs a list");
    ASSIGN_OR_RETURN(const Value::List list, Iterate(context, *bound[0]));
    for (const Value& element : list) {
      if (!element.IsText()) return NotText(*context, element);
    }
    return JoinTexts(context, text, list);
  }
  if (name == "splitlines") {
    ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"keepends"}));
    RETURN_IF_ERROR(context->Spend(64 * text.size()));
    return ListOfTexts(context, SplitLines(text, bound[0] != nullptr && bound[0]->IsTrue()));
  }
  if (!arguments.positional.empty() || !arguments.named.empty()) {
    return context->Unsupported(absl::StrCat("the method '.", name, "' with arguments"));
  }
  RETURN_IF_ERROR(context->Spend(4 * text.size()));
  if (name == "upper") return context->NewText(Upper(text));
  if (name == "lower") return context->NewText(Lower(text));
  if (name == "title") return context->NewText(Title(text, /*jinja_words=*/false));
  if (name == "capitalize") return context->NewText(Capitalize(text));
  for (const absl::string_view known : {"isspace", "isascii", "islower", "isupper", "isalpha",
                                        "isalnum", "isdigit", "isdecimal", "isnumeric"}) {
    if (name == known) return IsMethodOfText(context, text, name);
  }
  return context->Unsupported(absl::StrCat("the method '.", name, "'"));
}

absl::StatusOr<Value> DictMethod(Context* context, const Value& value, absl::string_view name,
                                 const Arguments& arguments) {
  const Value::Dict& dict = value.dict();
  if (name == "get") {
    if (!arguments.named.empty()) return context->Invalid("get takes no named arguments");
    ASSIGN_OR_RETURN(const Bound bound, Bind(*context, arguments, {"key", "default"}));
    if (bound[0] == nullptr) return context->Invalid("get needs a key");
    if (!IsHashable(*bound[0])) {
      return context->Invalid(absl::StrCat(bound[0]->KindName(), " cannot be a key"));
    }
    const Value* const member = FindKey(dict, *bound[0], &context->steps_left);
    if (member != nullptr) return *member;
    return bound[1] == nullptr ? Value::None() : *bound[1];
  }
  RETURN_IF_ERROR(Bind(*context, arguments, {}).status());
  if (name == "copy") return value;
  if (name == "fromkeys") return context->Unsupported("the method '.fromkeys'");
  Value::List list;
  for (const auto& [key, member] : dict) {
    if (name == "keys") {
      list.push_back(key);
    } else if (name == "values") {
      list.push_back(member);
    } else {
      ASSIGN_OR_RETURN(list.emplace_back(),
                       context->NewList({key, member}, Kind::kTuple, value.from_client()));
    }
  }
  return context->NewList(std::move(list), Kind::kView, value.from_client());
}

absl::StatusOr<Value> ListMethod(Context* context, const Value& value, absl::string_view name,
                                 const Arguments& arguments) {
  if (name == "copy") return value;
  if (arguments.positional.size() != 1) return context->Unsupported("more than one argument");
  int64_t count = 0;
  for (size_t i = 0; i < value.list().size(); ++i) {
    RETURN_IF_ERROR(context->Spend(0));
    if (!Equal(value.list()[i], arguments.positional[0], &context->steps_left)) continue;
    if (name == "index") return Value::Integer(static_cast<int64_t>(i));
    ++count;
  }
  if (name == "index") return context->Invalid("the list has no such element");
  return Value::Integer(count);
}

}  // namespace

bool IsMethod(const Value& value, absl::string_view name) {
  if (value.IsText()) return Contains(kTextMethods, name);
  if (value.IsDict()) return Contains(kDictMethods, name);
  if (value.Is(Kind::kList)) return Contains(kListMethods, name);
  return value.IsSequence() && (name == "count" || name == "index");
}

bool IsForbiddenMethod(const Value& value, absl::string_view name) {
  if (value.IsDict()) return Contains(kDictForbidden, name);
  return value.Is(Kind::kList) && Contains(kListForbidden, name);
}

absl::StatusOr<Value> CallMethod(Context* context, const Value& receiver, absl::string_view name,
                                 const Arguments& arguments) {
  if (receiver.IsSafeText() && !arguments.positional.empty()) {
    return context->Unsupported("a method of a string that is marked safe");
  }
  if (receiver.IsText()) return TextMethod(context, receiver.text(), name, arguments);
  if (receiver.IsDict()) return DictMethod(context, receiver, name, arguments);
  return ListMethod(context, receiver, name, arguments);
}

}  // namespace ebb::model::jinja
