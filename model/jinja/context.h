// Context: what one rendering may still spend, and how its errors read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

struct Limits {
  size_t source_bytes_max = size_t{256} << 10;
  int32_t nesting_max = 128;       // Of blocks, of expressions, and of lists and mappings.
  int32_t recursion_max = 800;     // Blocks and expressions within each other, through macros too.
  int64_t steps_max = 20'000'000;  // Nodes evaluated, and 64 bytes of text copied are one more.
  size_t text_bytes_max = size_t{64} << 20;  // Of any value and of the result.
};

// For one thread and one rendering.
class Context {
 public:
  // `limits` outlives this. strftime_now writes `now` in `zone`.
  Context(const Limits& limits, absl::Time now, absl::TimeZone zone)
      : now(now), zone(zone), steps_left(limits.steps_max), limits_(limits) {}

  // INVALID_ARGUMENT with the current line.
  absl::Status Invalid(absl::string_view message) const;
  // UNIMPLEMENTED: what Jinja can do and we cannot. Parsing cannot foresee the kinds of values.
  absl::Status Unsupported(absl::string_view what) const;
  // Takes steps for one node and for `bytes` that are copied or looked at.
  absl::Status Spend(size_t bytes);
  // RESOURCE_EXHAUSTED when a value cannot have so many bytes.
  absl::Status CheckBytes(size_t bytes) const;
  // RESOURCE_EXHAUSTED when blocks and expressions are nested deeper than `recursion_max`.
  absl::Status CheckDepth(int32_t depth) const;

  // Values of any size, checked and paid for. Check with CheckBytes while making what may become
  // larger than its parts.
  absl::StatusOr<Value> NewText(Text text);
  absl::StatusOr<Value> NewList(Value::List list, Value::Kind kind = Value::Kind::kList,
                                bool from_client = false);
  absl::StatusOr<Value> NewDict(Value::Dict dict, bool from_client = false);
  absl::StatusOr<Namespace*> NewNamespace();

  const Limits& limits() const { return limits_; }

  const absl::Time now;
  const absl::TimeZone zone;
  int32_t line = 1;    // Of what is being evaluated.
  int64_t steps_left;  // Below zero: there are none.

 private:
  const Limits& limits_;
  std::deque<Namespace> namespaces_;
};

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<absl::string_view, Value>> named;
};

// The arguments by the names of the parameters, in their order; null where there is none. Valid
// while `arguments` lives. INVALID_ARGUMENT: too many, or a name that is no parameter.
absl::StatusOr<std::vector<const Value*>> Bind(const Context& context, const Arguments& arguments,
                                               std::initializer_list<absl::string_view> names);

// The elements that a for would go over. A generator is read to its end.
absl::StatusOr<Value::List> Iterate(Context* context, const Value& value);

// As Python's <. INVALID_ARGUMENT for kinds that have no order.
absl::StatusOr<bool> Less(Context* context, const Value& a, const Value& b);

}  // namespace ebb::model::jinja
