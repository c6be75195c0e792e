// Value: what expressions of a template give, as Python knows it.
//
// Values do not change once made, except namespaces, which the rendering owns, and the place up to
// which a generator was read. Copies share what is large. Nothing can hold itself but through a
// namespace or a scope, so counting references frees everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/jinja/text.h"

namespace ebb::model::jinja {

struct Function;
struct LoopState;
struct Namespace;

class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInteger,
    kFloat,
    kText,
    kList,
    kTuple,
    kRange,      // A list that is written otherwise.
    kView,       // keys(), values() or items() of a dict.
    kGenerator,  // What many filters give: read once, always true, without length.
    kDict,
    kNamespace,
    kLoop,
    kFunction,
  };
  using List = std::vector<Value>;
  using Entry = std::pair<Value, Value>;
  using Dict = std::vector<Entry>;  // In the order of insertion; keys differ.

  Value() = default;
  static Value None(bool from_client = false) { return Scalar(Kind::kNone, 0, from_client); }
  static Value Bool(bool value, bool from_client = false) {
    return Scalar(Kind::kBool, value ? 1 : 0, from_client);
  }
  static Value Integer(int64_t value, bool from_client = false) {
    return Scalar(Kind::kInteger, value, from_client);
  }
  static Value Float(double value, bool from_client = false);
  static Value OfText(Text text);
  // A text that Jinja's filter "safe" marked: what is added to it is escaped as HTML there.
  static Value OfSafeText(Text text);
  static Value Literal(absl::string_view text) { return OfText(Text(text, /*is_template=*/true)); }
  // `kind`: kList, kTuple, kRange, kView or kGenerator.
  static Value OfList(List list, Kind kind = Kind::kList, bool from_client = false);
  static Value OfDict(Dict dict, bool from_client = false);
  static Value OfFunction(std::shared_ptr<const Function> function);
  static Value OfLoop(std::shared_ptr<const LoopState> loop);
  static Value OfNamespace(Namespace* space);  // Outlives the value.

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool IsText() const { return kind_ == Kind::kText; }
  bool IsDict() const { return kind_ == Kind::kDict; }
  bool IsUndefined() const { return kind_ == Kind::kUndefined; }
  bool IsInteger() const { return kind_ == Kind::kBool || kind_ == Kind::kInteger; }
  bool IsNumber() const { return IsInteger() || kind_ == Kind::kFloat; }
  // What has elements by number: lists, tuples, ranges.
  bool IsSequence() const {
    return kind_ == Kind::kList || kind_ == Kind::kTuple || kind_ == Kind::kRange;
  }

  // For what is no text: a client wrote it, so it is a client's text when it is written out.
  bool from_client() const { return from_client_; }
  bool IsSafeText() const { return kind_ == Kind::kText && is_safe_; }
  // Levels of lists and dicts inside, this one included. Walking them recurses.
  int32_t depth() const { return depth_; }

  // REQUIRES of each: the kind.
  int64_t integer() const { return integer_; }
  double number() const { return IsInteger() ? static_cast<double>(integer_) : number_; }
  const Text& text() const { return *static_cast<const Text*>(data_.get()); }
  absl::string_view view() const { return text().view(); }
  const List& list() const { return *static_cast<const List*>(data_.get()); }
  const Dict& dict() const { return *static_cast<const Dict*>(data_.get()); }
  const Function& function() const { return *static_cast<const Function*>(data_.get()); }
  const LoopState& loop() const { return *static_cast<const LoopState*>(data_.get()); }
  Namespace* space() const { return space_; }
  // The elements of a generator that were not read yet; they are read by this.
  List TakeGenerated(size_t count_max) const;

  // As in Python: empty, zero, none and undefined are false.
  bool IsTrue() const;
  absl::string_view KindName() const;

 private:
  static Value Scalar(Kind kind, int64_t integer, bool from_client);

  Kind kind_ = Kind::kUndefined;
  bool from_client_ = false;
  bool is_safe_ = false;
  int32_t depth_ = 0;
  union {
    int64_t integer_ = 0;
    double number_;
    Namespace* space_;
  };
  std::shared_ptr<const void> data_;
};

struct Namespace {
  Value::Dict members;
};

// The member of `dict` with a text as its key, or null. Sets *steps_left to less by what it costs.
const Value* FindKey(const Value::Dict& dict, absl::string_view key, int64_t* steps_left);
// The same with any key.
const Value* FindKey(const Value::Dict& dict, const Value& key, int64_t* steps_left);
// Adds the member, or gives the one with an equal key its value.
void SetKey(Value::Dict* dict, Value key, Value value, int64_t* steps_left);

// As Python's ==. Sets *steps_left to less by what it costs, and stops when there are none left.
bool Equal(const Value& a, const Value& b, int64_t* steps_left);

// Python's hash() takes it: it can be a key.
bool IsHashable(const Value& value);

}  // namespace ebb::model::jinja
