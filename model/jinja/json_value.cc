#include "model/jinja/json_value.h"

#include <utility>

#include "absl/status/status.h"
#include "base/check.h"

namespace ebb::model::jinja {

Value FromJson(JsonValue json) {
  constexpr bool kFromClient = true;
  if (const auto text = json.String()) return Value::OfText(Text(*text, !kFromClient));
  if (const auto flag = json.Bool()) return Value::Bool(*flag, kFromClient);
  if (const auto integer = json.Int64()) return Value::Integer(*integer, kFromClient);
  if (const auto number = json.Number()) return Value::Float(*number, kFromClient);
  if (json.IsArray()) {
    Value::List list;
    list.reserve(json.size());
    CHECK(json.ForEachElement([&](JsonValue element) {
                list.push_back(FromJson(element));
                return absl::OkStatus();
              })
              .ok());
    return Value::OfList(std::move(list), Value::Kind::kList, kFromClient);
  }
  if (json.IsObject()) {
    Value::Dict dict;
    dict.reserve(json.size());
    CHECK(json.ForEachMember([&](absl::string_view key, JsonValue member) {
                dict.emplace_back(Value::OfText(Text(key, !kFromClient)), FromJson(member));
                return absl::OkStatus();
              })
              .ok());
    return Value::OfDict(std::move(dict), kFromClient);
  }
  return Value::None(kFromClient);
}

}  // namespace ebb::model::jinja
