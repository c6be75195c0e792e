// The syntax tree of a chat template, and its parser. Internal to chat_template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::model::chat {

struct Expression {
  enum class Kind {
    kString,       // text
    kInteger,      // integer
    kBool,         // integer: 0 or 1
    kNone,         //
    kList,         // operands
    kName,         // text
    kAttribute,    // operands[0].text
    kSubscript,    // operands[0][operands[1]]
    kSlice,        // operands[0][operands[1]:operands[2]]; a missing bound is a null operand
    kNot,          // operands[0]
    kNegate,       // operands[0]
    kBinary,       // operands[0] text operands[1]; text is the operator, and/or/in among them
    kConditional,  // operands[0] if operands[1] else operands[2] (may be null)
    kFilter,       // operands[0] | text
    kTest,         // operands[0] is text
    kRaise,        // raise_exception(operands[0])
  };
  Kind kind = Kind::kNone;
  int32_t line = 1;
  int32_t depth = 1;  // Levels of the tree below and with this node.
  std::string text;
  int64_t integer = 0;
  std::vector<std::unique_ptr<Expression>> operands;
};

struct Statement;
struct Block {
  std::vector<std::unique_ptr<Statement>> statements;
};

struct Statement {
  enum class Kind {
    kText,    // text
    kOutput,  // {{ expression }}
    kSet,     // text = expression
    kFor,     // for text in expression: blocks[0]
    kIf,      // if conditions[i]: blocks[i]; one more block is the else
  };
  Kind kind = Kind::kText;
  int32_t line = 1;
  std::string text;
  std::unique_ptr<Expression> expression;
  std::vector<std::unique_ptr<Expression>> conditions;
  std::vector<Block> blocks;
};

// No path through the tree is longer than `nesting_max` expressions within `nesting_max` blocks.
// UNIMPLEMENTED: a construct that chat_template.h does not list. INVALID_ARGUMENT: not Jinja, or
// nested too deeply. Both name the line.
absl::StatusOr<std::unique_ptr<const Block>> ParseTemplate(absl::string_view source,
                                                           int32_t nesting_max);

}  // namespace ebb::model::chat
