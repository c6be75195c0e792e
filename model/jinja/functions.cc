#include "model/jinja/functions.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

constexpr int64_t kRangeMax = 100'000;  // As in Jinja's sandbox.
constexpr size_t kMessageBytesMax = 1024;

absl::StatusOr<Value> Range(Context* context, const Arguments& arguments) {
  const std::vector<Value>& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    return context->Invalid("range takes one to three numbers");
  }
  for (const Value& bound : given) {
    if (!bound.IsInteger()) return context->Invalid("range takes numbers");
  }
  const int64_t begin = given.size() == 1 ? 0 : given[0].integer();
  const int64_t end = given.size() == 1 ? given[0].integer() : given[1].integer();
  const int64_t step = given.size() == 3 ? given[2].integer() : 1;
  if (step == 0) return context->Invalid("the step of a range is zero");
  const bool from_client = given[0].from_client() || (given.size() > 1 && given[1].from_client());
  Value::List list;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    if (list.size() == kRangeMax) return context->Invalid("a range is too large");
    list.push_back(Value::Integer(at, from_client));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return context->NewList(std::move(list), Kind::kRange, from_client);
}

// The members that the arguments of dict() or namespace() give.
absl::StatusOr<Value::Dict> Members(Context* context, const Arguments& arguments) {
  Value::Dict members;
  if (arguments.positional.size() > 1) return context->Invalid("at most one mapping is taken");
  if (!arguments.positional.empty()) {
    const Value& given = arguments.positional[0];
    if (given.IsDict()) {
      members = given.dict();
    } else {
      ASSIGN_OR_RETURN(const Value::List pairs, Iterate(context, given));
      for (const Value& pair : pairs) {
        ASSIGN_OR_RETURN(const Value::List entry, Iterate(context, pair));
        if (entry.size() != 2 || !IsHashable(entry[0])) {
          return context->Invalid("expected pairs of a key and a value");
        }
        SetKey(&members, entry[0], entry[1], &context->steps_left);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    SetKey(&members, Value::Literal(name), value, &context->steps_left);
  }
  RETURN_IF_ERROR(context->Spend(4 * members.size() * sizeof(Value::Entry)));
  return members;
}

absl::StatusOr<Value> MakeDict(Context* context, const Arguments& arguments) {
  ASSIGN_OR_RETURN(Value::Dict members, Members(context, arguments));
  return context->NewDict(std::move(members));
}

absl::StatusOr<Value> MakeNamespace(Context* context, const Arguments& arguments) {
  ASSIGN_OR_RETURN(Value::Dict members, Members(context, arguments));
  for (const auto& [name, value] : members) {
    if (name.IsText() && absl::StartsWith(name.view(), "_")) {
      return context->Invalid("a namespace has no names that begin with '_'");
    }
  }
  ASSIGN_OR_RETURN(Namespace* const space, context->NewNamespace());
  space->members = std::move(members);
  return Value::OfNamespace(space);
}

absl::StatusOr<Value> StrftimeNow(Context* context, const Arguments& arguments) {
  // What absl and Python write alike.
  constexpr absl::string_view kSupported = "aAbBdeHIjmMnpStUwWyYFTDRZz%";
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"format"}));
  if (bound[0] == nullptr || !bound[0]->IsText()) return context->Invalid("expected a format");
  const absl::string_view format = bound[0]->view();
  RETURN_IF_ERROR(context->Spend(8 * format.size()));
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') continue;
    ++at;
    if (at == format.size() || kSupported.find(format[at]) == absl::string_view::npos) {
      return context->Unsupported(absl::StrCat("the format '", format.substr(at - 1, 2), "'"));
    }
    if (format[at] == 'Z' || format[at] == 'z') {  // datetime.now() knows of no zone.
      return context->Unsupported("the zone of a time");
    }
  }
  const std::string written = absl::FormatTime(format, context->now, context->zone);
  return context->NewText(Text(written, bound[0]->text().IsTemplate()));
}

absl::StatusOr<Value> RaiseException(Context* context, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, Bind(*context, arguments, {"message"}));
  if (bound[0] == nullptr) return context->Invalid("raise_exception needs a message");
  ASSIGN_OR_RETURN(const Text text, ToText(context, *bound[0]));
  return context->Invalid(text.view().substr(0, kMessageBytesMax));
}

struct Named {
  absl::string_view name;
  absl::StatusOr<Value> (*function)(Context*, const Arguments&);
};
constexpr Named kFunctions[] = {
    {"dict", MakeDict}, {"namespace", MakeNamespace},  {"raise_exception", RaiseException},
    {"range", Range},   {"strftime_now", StrftimeNow},
};

// Null: there is none of that name.
const Named* FindFunction(absl::string_view name) {
  for (const Named& named : kFunctions) {
    if (named.name == name) return &named;
  }
  return nullptr;
}

}  // namespace

bool IsGlobalFunction(absl::string_view name) { return FindFunction(name) != nullptr; }

absl::StatusOr<Value> CallGlobal(Context* context, absl::string_view name,
                                 const Arguments& arguments) {
  const Named* const named = FindFunction(name);
  CHECK(named != nullptr);
  return named->function(context, arguments);
}

}  // namespace ebb::model::jinja
