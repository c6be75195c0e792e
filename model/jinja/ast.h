// The syntax tree of a template, and its parser.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::model::jinja {

struct Expression {
  enum class Kind {
    kString,       // text
    kInteger,      // integer
    kFloat,        // number
    kBool,         // integer: 0 or 1
    kNone,         //
    kList,         // operands
    kTuple,        // operands
    kDict,         // operands: key, value, key, value...
    kName,         // text
    kAttribute,    // operands[0].text
    kSubscript,    // operands[0][operands[1]]
    kSlice,        // operands[0][operands[1]:operands[2]:operands[3]]; what is missing is null
    kNot,          // operands[0]
    kNegate,       // operands[0]
    kPlus,         // +operands[0]
    kBinary,       // operands[0] text operands[1]; text is the operator, "and" and "or" among them
    kConcat,       // operands[0] ~ operands[1] ~ ...
    kCompare,      // operands[0] names[0] operands[1] names[1] operands[2]...
    kConditional,  // operands[0] if operands[1] else operands[2] (may be null)
    // operands[0] is null for the text of a filter tag. Arguments are the operands after it; the
    // last of them have the names in `names`.
    kFilter,  // operands[0] | text(...)
    kTest,    // operands[0] is text(...)
    kCall,    // operands[0](...)
  };
  Kind kind = Kind::kNone;
  int32_t line = 1;
  int32_t depth = 1;  // Levels of the tree below and with this node.
  std::string text;
  int64_t integer = 0;
  double number = 0;
  std::vector<std::unique_ptr<Expression>> operands;
  std::vector<std::string> names;
};

struct Statement;
struct Block {
  std::vector<std::unique_ptr<Statement>> statements;
};

struct Statement {
  enum class Kind {
    kText,       // text
    kOutput,     // {{ expression }}
    kSet,        // names = expression; one name is the whole value, more unpack it
    kSetMember,  // names[0].names[1] = expression
    kSetBlock,   // names[0] = blocks[0] as text, through expression (filters) if that is not null
    kFilter,     // blocks[0] as text, through expression
    kFor,        // for names in expression if conditions[0]: blocks[0], else: blocks[1]
    kIf,         // if conditions[i]: blocks[i]; one more block is the else
    kMacro,      // text(names): blocks[0]; the last names have the defaults in `conditions`
    kScope,      // blocks[0] with names of its own: the tag "generation"
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  int32_t line = 1;
  bool unpacks = false;  // kSet, kFor: the names are a tuple.
  std::string text;
  std::vector<std::string> names;
  std::unique_ptr<Expression> expression;
  std::vector<std::unique_ptr<Expression>> conditions;
  std::vector<Block> blocks;
};

// No path through the tree is longer than `nesting_max` expressions within `nesting_max` blocks.
// UNIMPLEMENTED: a construct that README.md does not list. INVALID_ARGUMENT: not Jinja, or nested
// too deeply. Both name the line.
absl::StatusOr<std::unique_ptr<const Block>> ParseTemplate(absl::string_view source,
                                                           int32_t nesting_max);

}  // namespace ebb::model::jinja
