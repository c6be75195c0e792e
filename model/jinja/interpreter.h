// Interpreter: renders a syntax tree.
//
// It walks the tree over a chain of scopes: a for and a macro have scopes of their own, an if has
// none. A macro sees the scope that it was defined in, with the values of the time of the call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/jinja/ast.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

struct Scope {
  std::vector<std::pair<absl::string_view, Value>> names;
  Scope* parent = nullptr;
  bool has_macros = false;  // They point here: it must live as long as they may.
};

// What can be called: a macro, a function by its name, or a method of `receiver`.
struct Function {
  const Statement* macro = nullptr;
  Scope* scope = nullptr;  // That the macro was defined in.
  std::string name;
  std::unique_ptr<const Value> receiver;
};

// The variable "loop". Changes as the loop goes on.
struct LoopState {
  Value::List items;
  size_t index = 0;
};

// For one rendering. The tree and the names that are defined outlive this, values that it made do
// not outlive it.
class Interpreter {
 public:
  explicit Interpreter(Context* context) : context_(*context) {}

  void Define(absl::string_view name, Value value);
  absl::StatusOr<Text> Render(const Block& block);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class InScope;

  // Statements: interpreter.cc.
  absl::StatusOr<Flow> Run(const Block& block);
  absl::StatusOr<Flow> RunStatement(const Statement& statement);
  absl::StatusOr<Flow> RunFor(const Statement& statement);
  absl::StatusOr<Value::List> ItemsOf(const Statement& statement);
  absl::StatusOr<Flow> RunIf(const Statement& statement);
  absl::Status RunSet(const Statement& statement);
  absl::Status SetMember(const Statement& statement);
  absl::StatusOr<Value> RunFiltered(const Statement& statement);
  absl::StatusOr<Text> Capture(const Block& block);
  absl::Status DefineMacro(const Statement& statement);
  absl::Status DefineAll(const Statement& statement, const Value& value);
  absl::Status Output(const Text& text);
  absl::StatusOr<Value> CallMacro(const Function& function, const Arguments& arguments);

  // Expressions: expressions.cc.
  absl::StatusOr<Value> Evaluate(const Expression& node);
  absl::StatusOr<Value> EvaluateInner(const Expression& node);
  absl::StatusOr<Value> Lookup(absl::string_view name);
  absl::StatusOr<Value::List> EvaluateAll(const Expression& node);
  absl::StatusOr<Value> EvaluateDict(const Expression& node);
  absl::StatusOr<Value> EvaluateBinary(const Expression& node);
  absl::StatusOr<Value> EvaluateConcat(const Expression& node);
  absl::StatusOr<Value> EvaluateCompare(const Expression& node);
  absl::StatusOr<Value> EvaluateSubscript(const Expression& node);
  absl::StatusOr<Value> EvaluateSlice(const Expression& node);
  absl::StatusOr<Value> EvaluateFilter(const Expression& node);
  absl::StatusOr<Value> EvaluateTest(const Expression& node);
  absl::StatusOr<Value> EvaluateCall(const Expression& node);
  absl::StatusOr<Arguments> EvaluateArguments(const Expression& node);

  Context& context_;
  Scope global_;
  Scope* scope_ = &global_;
  std::vector<std::unique_ptr<Scope>> kept_scopes_;  // With macros that may be called still.
  Text* out_ = nullptr;
  Text filtered_;  // What the innermost filter of a filter tag takes.
  int32_t recursion_ = 0;
};

}  // namespace ebb::model::jinja
