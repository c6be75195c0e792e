#include "model/jinja/interpreter.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/depth_guard.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {

// A scope within `parent` while it lives.
class Interpreter::InScope {
 public:
  InScope(Interpreter* interpreter, Scope* parent)
      : interpreter_(interpreter), outer_(interpreter->scope_) {
    Enter(parent);
  }
  ~InScope() {
    Leave();
    interpreter_->scope_ = outer_;
  }
  InScope(const InScope&) = delete;
  InScope& operator=(const InScope&) = delete;

  // An empty scope in place of this.
  void Renew() {
    if (!scope_->has_macros) return scope_->names.clear();
    Scope* const parent = scope_->parent;
    Leave();
    Enter(parent);
  }

 private:
  void Enter(Scope* parent) {
    scope_ = std::make_unique<Scope>();
    scope_->parent = parent;
    interpreter_->scope_ = scope_.get();
  }
  void Leave() {
    if (scope_->has_macros) interpreter_->kept_scopes_.push_back(std::move(scope_));
  }

  Interpreter* const interpreter_;
  Scope* const outer_;
  std::unique_ptr<Scope> scope_;
};

void Interpreter::Define(absl::string_view name, Value value) {
  for (auto& [defined, old] : scope_->names) {
    if (defined != name) continue;
    old = std::move(value);
    return;
  }
  scope_->names.emplace_back(name, std::move(value));
}

absl::StatusOr<Text> Interpreter::Render(const Block& block) { return Capture(block); }

absl::StatusOr<Text> Interpreter::Capture(const Block& block) {
  Text text;
  Text* const outer = std::exchange(out_, &text);
  const absl::StatusOr<Flow> flow = Run(block);
  out_ = outer;
  RETURN_IF_ERROR(flow.status());
  return text;
}

absl::StatusOr<Interpreter::Flow> Interpreter::Run(const Block& block) {
  const DepthGuard guard(&recursion_);
  RETURN_IF_ERROR(context_.CheckDepth(recursion_));
  for (const auto& statement : block.statements) {
    context_.line = statement->line;
    RETURN_IF_ERROR(context_.Spend(0));
    ASSIGN_OR_RETURN(const Flow flow, RunStatement(*statement));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunStatement(const Statement& statement) {
  using Kind = Statement::Kind;
  switch (statement.kind) {
    case Kind::kText:
      RETURN_IF_ERROR(Output(Text(statement.text, /*is_template=*/true)));
      return Flow::kNext;
    case Kind::kOutput: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.expression));
      ASSIGN_OR_RETURN(const Text text, ToText(&context_, value));
      RETURN_IF_ERROR(Output(text));
      return Flow::kNext;
    }
    case Kind::kSet:
      RETURN_IF_ERROR(RunSet(statement));
      return Flow::kNext;
    case Kind::kSetMember:
      RETURN_IF_ERROR(SetMember(statement));
      return Flow::kNext;
    case Kind::kSetBlock: {
      ASSIGN_OR_RETURN(Value value, RunFiltered(statement));
      Define(statement.names[0], std::move(value));
      return Flow::kNext;
    }
    case Kind::kFilter: {
      ASSIGN_OR_RETURN(const Value value, RunFiltered(statement));
      ASSIGN_OR_RETURN(const Text text, ToText(&context_, value));
      RETURN_IF_ERROR(Output(text));
      return Flow::kNext;
    }
    case Kind::kFor:
      return RunFor(statement);
    case Kind::kIf:
      return RunIf(statement);
    case Kind::kMacro:
      RETURN_IF_ERROR(DefineMacro(statement));
      return Flow::kNext;
    case Kind::kScope: {
      const InScope scope(this, scope_);
      return Run(statement.blocks[0]);
    }
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

absl::Status Interpreter::Output(const Text& text) {
  RETURN_IF_ERROR(context_.Spend(text.size()));
  RETURN_IF_ERROR(context_.CheckBytes(out_->size() + text.size()));
  out_->Append(text);
  return absl::OkStatus();
}

// The items, without those that the tag's condition leaves out.
absl::StatusOr<Value::List> Interpreter::ItemsOf(const Statement& statement) {
  ASSIGN_OR_RETURN(const Value iterated, Evaluate(*statement.expression));
  context_.line = statement.line;
  ASSIGN_OR_RETURN(Value::List items, Iterate(&context_, iterated));
  if (statement.conditions.empty()) return items;
  Value::List kept;
  InScope scope(this, scope_);
  for (Value& item : items) {
    scope.Renew();
    RETURN_IF_ERROR(DefineAll(statement, item));
    ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.conditions[0]));
    if (condition.IsTrue()) kept.push_back(std::move(item));
  }
  return kept;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunFor(const Statement& statement) {
  const auto loop = std::make_shared<LoopState>();
  ASSIGN_OR_RETURN(loop->items, ItemsOf(statement));
  InScope scope(this, scope_);
  if (loop->items.empty()) {
    return statement.blocks.size() > 1 ? Run(statement.blocks[1]) : Flow::kNext;
  }
  for (; loop->index < loop->items.size(); ++loop->index) {
    // Making a scope costs about as much as sixteen simple nodes.
    RETURN_IF_ERROR(context_.Spend(16 * 64));
    // What is set inside an iteration is forgotten after it.
    scope.Renew();
    Define("loop", Value::OfLoop(loop));
    RETURN_IF_ERROR(DefineAll(statement, loop->items[loop->index]));
    ASSIGN_OR_RETURN(const Flow flow, Run(statement.blocks[0]));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunIf(const Statement& statement) {
  for (size_t i = 0; i < statement.conditions.size(); ++i) {
    ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.conditions[i]));
    if (condition.IsTrue()) return Run(statement.blocks[i]);
  }
  if (statement.blocks.size() == statement.conditions.size()) return Flow::kNext;
  return Run(statement.blocks.back());
}

// Gives the names of a for or a set their values.
absl::Status Interpreter::DefineAll(const Statement& statement, const Value& value) {
  if (!statement.unpacks) {
    Define(statement.names[0], value);
    return absl::OkStatus();
  }
  if (value.IsUndefined()) return context_.Invalid("an undefined value cannot be unpacked");
  ASSIGN_OR_RETURN(const Value::List elements, Iterate(&context_, value));
  if (elements.size() != statement.names.size()) {
    return context_.Invalid(
        absl::StrCat(statement.names.size(), " names for ", elements.size(), " values"));
  }
  for (size_t i = 0; i < elements.size(); ++i) Define(statement.names[i], elements[i]);
  return absl::OkStatus();
}

absl::Status Interpreter::RunSet(const Statement& statement) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.expression));
  return DefineAll(statement, value);
}

absl::Status Interpreter::SetMember(const Statement& statement) {
  ASSIGN_OR_RETURN(Value value, Evaluate(*statement.expression));
  ASSIGN_OR_RETURN(const Value space, Lookup(statement.names[0]));
  context_.line = statement.line;
  if (!space.Is(Value::Kind::kNamespace)) {
    return context_.Invalid(absl::StrCat("'", statement.names[0], "' is not a namespace"));
  }
  if (absl::StartsWith(statement.names[1], "_")) {
    return context_.Invalid("a namespace has no names that begin with '_'");
  }
  SetKey(&space.space()->members, Value::Literal(statement.names[1]), std::move(value),
         &context_.steps_left);
  return absl::OkStatus();
}

// The text of a block, through the filters of its tag.
absl::StatusOr<Value> Interpreter::RunFiltered(const Statement& statement) {
  Text text;
  {
    const InScope scope(this, scope_);
    ASSIGN_OR_RETURN(text, Capture(statement.blocks[0]));
  }
  if (statement.expression == nullptr) return context_.NewText(std::move(text));
  filtered_ = std::move(text);
  return Evaluate(*statement.expression);
}

absl::Status Interpreter::DefineMacro(const Statement& statement) {
  RETURN_IF_ERROR(context_.Spend(16 * 64));
  scope_->has_macros = true;
  auto function = std::make_shared<Function>();
  function->macro = &statement;
  function->scope = scope_;
  Define(statement.text, Value::OfFunction(std::move(function)));
  return absl::OkStatus();
}

absl::StatusOr<Value> Interpreter::CallMacro(const Function& function, const Arguments& arguments) {
  const Statement& macro = *function.macro;
  const size_t count = macro.names.size();
  RETURN_IF_ERROR(context_.Spend(16 * 64));
  std::vector<const Value*> bound(count, nullptr);
  if (arguments.positional.size() > count) {
    return context_.Invalid(absl::StrCat("the macro '", macro.text, "' takes ", count,
                                         " arguments, not ", arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    size_t at = 0;
    while (at < count && macro.names[at] != name) ++at;
    if (at == count || bound[at] != nullptr) {
      return context_.Invalid(
          absl::StrCat("the macro '", macro.text, "' has no place for the argument '", name, "'"));
    }
    bound[at] = &value;
  }
  const InScope scope(this, function.scope);
  const size_t first_default = count - macro.conditions.size();
  for (size_t i = 0; i < count; ++i) {
    Value value;
    if (bound[i] != nullptr) {
      value = *bound[i];
    } else if (i >= first_default) {
      ASSIGN_OR_RETURN(value, Evaluate(*macro.conditions[i - first_default]));
    }
    Define(macro.names[i], std::move(value));
  }
  ASSIGN_OR_RETURN(Text text, Capture(macro.blocks[0]));
  return context_.NewText(std::move(text));
}

}  // namespace ebb::model::jinja
