#include <algorithm>

#include "absl/strings/numbers.h"
#include "base/status_macros.h"
#include "model/jinja/parser.h"

namespace ebb::model::jinja {

// Every node is made here: the tree's depth bounds the recursion of whoever walks or frees it.
absl::StatusOr<ExpressionPtr> Parser::New(Kind kind, int32_t line, std::string text,
                                          std::vector<ExpressionPtr> operands) {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = line;
  node->text = std::move(text);
  for (const ExpressionPtr& operand : operands) {
    if (operand != nullptr) node->depth = std::max(node->depth, operand->depth + 1);
  }
  node->operands = std::move(operands);
  if (node->depth > nesting_max_) return TooDeep();
  return node;
}

absl::StatusOr<ExpressionPtr> Parser::ParseTuple(bool with_conditional) {
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> elements;
  while (true) {
    ASSIGN_OR_RETURN(elements.emplace_back(),
                     with_conditional ? ParseExpression() : ParseBinary(0));
    if (!TakeOperator(",")) break;
    // A comma may stand at the end.
    const bool at_end = Next().kind == Token::Kind::kOutputEnd ||
                        Next().kind == Token::Kind::kBlockEnd || IsName("recursive");
    if (at_end) return New(Kind::kTuple, line, "", std::move(elements));
  }
  if (elements.size() == 1) return std::move(elements[0]);
  return New(Kind::kTuple, line, "", std::move(elements));
}

absl::StatusOr<ExpressionPtr> Parser::ParseExpression() {
  const DepthGuard guard(&expression_depth_);
  if (expression_depth_ > nesting_max_) return TooDeep();
  const int32_t line = Next().line;
  ASSIGN_OR_RETURN(ExpressionPtr value, ParseBinary(0));
  while (TakeName("if")) {
    ASSIGN_OR_RETURN(ExpressionPtr condition, ParseBinary(0));
    ExpressionPtr otherwise;
    if (TakeName("else")) {
      ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    ASSIGN_OR_RETURN(value, Make(Kind::kConditional, line, "", std::move(value),
                                 std::move(condition), std::move(otherwise)));
  }
  return value;
}

// Left-associative operators, loosest first: or; and; (not and comparisons;) + -; (~;) * / // %;
// **.
absl::StatusOr<ExpressionPtr> Parser::ParseBinary(int level) {
  static constexpr absl::string_view kOperators[][4] = {
      {"or"}, {"and"}, {}, {"+", "-"}, {}, {"*", "/", "//", "%"}, {"**"}};
  constexpr int kCompareLevel = 2;
  constexpr int kConcatLevel = 4;
  constexpr int kLevels = 7;
  if (level == kCompareLevel) return ParseNot();
  if (level == kConcatLevel) return ParseConcat();
  if (level == kLevels) return ParseUnary(/*with_filters=*/true);
  const int32_t line = Next().line;
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseBinary(level + 1));
  while (true) {
    std::string found;
    for (const absl::string_view text : kOperators[level]) {
      if (!text.empty() && (level < kCompareLevel ? TakeName(text) : TakeOperator(text))) {
        found = std::string(text);
        break;
      }
    }
    if (found.empty()) return left;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseBinary(level + 1));
    ASSIGN_OR_RETURN(left, Make(Kind::kBinary, line, found, std::move(left), std::move(right)));
  }
}

absl::StatusOr<ExpressionPtr> Parser::ParseNot() {
  const int32_t line = Next().line;
  if (!TakeName("not")) return ParseCompare();
  const DepthGuard guard(&expression_depth_);
  if (expression_depth_ > nesting_max_) return TooDeep();
  ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
  return Make(Kind::kNot, line, "", std::move(operand));
}

// The comparison that is next, or "".
std::string Parser::TakeComparison() {
  for (const absl::string_view text : {"==", "!=", "<=", ">=", "<", ">"}) {
    if (TakeOperator(text)) return std::string(text);
  }
  if (TakeName("in")) return "in";
  if (!IsName("not") || !Is(AfterNext(), Token::Kind::kName, "in")) return "";
  at_ += 2;
  return "not in";
}

absl::StatusOr<ExpressionPtr> Parser::ParseCompare() {
  constexpr int kSumLevel = 3;
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> comparisons;
  ASSIGN_OR_RETURN(operands.emplace_back(), ParseBinary(kSumLevel));
  while (true) {
    std::string comparison = TakeComparison();
    if (comparison.empty()) break;
    comparisons.push_back(std::move(comparison));
    ASSIGN_OR_RETURN(operands.emplace_back(), ParseBinary(kSumLevel));
  }
  if (comparisons.empty()) return std::move(operands[0]);
  ASSIGN_OR_RETURN(ExpressionPtr node, New(Kind::kCompare, line, "", std::move(operands)));
  node->names = std::move(comparisons);
  return node;
}

absl::StatusOr<ExpressionPtr> Parser::ParseConcat() {
  constexpr int kProductLevel = 5;
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> operands;
  do {
    ASSIGN_OR_RETURN(operands.emplace_back(), ParseBinary(kProductLevel));
  } while (TakeOperator("~"));
  if (operands.size() == 1) return std::move(operands[0]);
  return New(Kind::kConcat, line, "", std::move(operands));
}

absl::StatusOr<ExpressionPtr> Parser::ParseUnary(bool with_filters) {
  const int32_t line = Next().line;
  ExpressionPtr value;
  if (IsOperator("-") || IsOperator("+")) {
    const Kind kind = Take().text == "-" ? Kind::kNegate : Kind::kPlus;
    const DepthGuard guard(&expression_depth_);
    if (expression_depth_ > nesting_max_) return TooDeep();
    ASSIGN_OR_RETURN(ExpressionPtr operand, ParseUnary(/*with_filters=*/false));
    ASSIGN_OR_RETURN(value, Make(kind, line, "", std::move(operand)));
  } else {
    ASSIGN_OR_RETURN(value, ParsePrimary());
  }
  ASSIGN_OR_RETURN(value, ParsePostfix(std::move(value)));
  return with_filters ? ParseFilters(std::move(value)) : std::move(value);
}

absl::StatusOr<ExpressionPtr> Parser::ParsePrimary() {
  const int32_t line = Next().line;
  switch (Next().kind) {
    case Token::Kind::kName:
      return ParseName();
    case Token::Kind::kString: {
      std::string text;
      while (Next().kind == Token::Kind::kString) text += Take().text;  // As in Python.
      return Make(Kind::kString, line, std::move(text));
    }
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return ParseNumber();
    default:
      break;
  }
  if (TakeOperator("(")) return ParseParentheses();
  if (TakeOperator("[")) return ParseList();
  if (TakeOperator("{")) return ParseDict();
  return Invalid(absl::StrCat("expected a value", Found()));
}

absl::StatusOr<ExpressionPtr> Parser::ParseNumber() {
  const Token token = Take();
  const bool is_integer = token.kind == Token::Kind::kInteger;
  ASSIGN_OR_RETURN(ExpressionPtr node,
                   Make(is_integer ? Kind::kInteger : Kind::kFloat, token.line, ""));
  const bool read = is_integer ? absl::SimpleAtoi(token.text, &node->integer)
                               : absl::SimpleAtod(token.text, &node->number);
  if (!read) return Invalid(absl::StrCat("'", token.text.substr(0, 32), "' is no number"));
  return node;
}

absl::StatusOr<ExpressionPtr> Parser::ParseName() {
  const Token token = Take();
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    ASSIGN_OR_RETURN(ExpressionPtr node, Make(Kind::kBool, token.line, ""));
    node->integer = name[0] == 't' || name[0] == 'T';
    return node;
  }
  if (name == "none" || name == "None") return Make(Kind::kNone, token.line, "");
  return Make(Kind::kName, token.line, name);
}

// After "(": an expression in parentheses, or a tuple.
absl::StatusOr<ExpressionPtr> Parser::ParseParentheses() {
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> elements;
  bool is_tuple = IsOperator(")");
  while (!IsOperator(")")) {
    ASSIGN_OR_RETURN(elements.emplace_back(), ParseExpression());
    if (!TakeOperator(",")) break;
    is_tuple = true;
  }
  RETURN_IF_ERROR(ExpectOperator(")"));
  if (!is_tuple) return std::move(elements[0]);
  return New(Kind::kTuple, line, "", std::move(elements));
}

absl::StatusOr<ExpressionPtr> Parser::ParseList() {
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> elements;
  while (!TakeOperator("]")) {
    if (!elements.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator("]")) break;
    }
    ASSIGN_OR_RETURN(elements.emplace_back(), ParseExpression());
  }
  return New(Kind::kList, line, "", std::move(elements));
}

absl::StatusOr<ExpressionPtr> Parser::ParseDict() {
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> members;
  while (!TakeOperator("}")) {
    if (!members.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator("}")) break;
    }
    ASSIGN_OR_RETURN(members.emplace_back(), ParseExpression());
    RETURN_IF_ERROR(ExpectOperator(":"));
    ASSIGN_OR_RETURN(members.emplace_back(), ParseExpression());
  }
  return New(Kind::kDict, line, "", std::move(members));
}

absl::StatusOr<ExpressionPtr> Parser::ParsePostfix(ExpressionPtr value) {
  while (true) {
    if (IsOperator("(")) {
      ASSIGN_OR_RETURN(value, ParseCall(Kind::kCall, "", std::move(value), true));
    } else if (TakeOperator("[")) {
      ASSIGN_OR_RETURN(value, ParseBrackets(std::move(value)));
    } else if (TakeOperator(".")) {
      ASSIGN_OR_RETURN(value, ParseMember(std::move(value)));
    } else {
      return value;
    }
  }
}

// After ".": a name, or a number.
absl::StatusOr<ExpressionPtr> Parser::ParseMember(ExpressionPtr value) {
  const int32_t line = Next().line;
  if (Next().kind == Token::Kind::kInteger) {
    ASSIGN_OR_RETURN(ExpressionPtr index, ParseNumber());
    return Make(Kind::kSubscript, line, "", std::move(value), std::move(index));
  }
  ASSIGN_OR_RETURN(std::string name, ExpectName("a name after '.'"));
  return Make(Kind::kAttribute, line, std::move(name), std::move(value));
}

// After "[": an index, a key or a slice.
absl::StatusOr<ExpressionPtr> Parser::ParseBrackets(ExpressionPtr value) {
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> parts(4);
  parts[0] = std::move(value);
  size_t colons = 0;
  while (!IsOperator("]")) {
    if (IsOperator(",")) return Unsupported("a tuple as a subscript");
    if (colons < 2 && TakeOperator(":")) {
      ++colons;
      continue;
    }
    if (parts[colons + 1] != nullptr) break;
    ASSIGN_OR_RETURN(parts[colons + 1], ParseExpression());
  }
  RETURN_IF_ERROR(ExpectOperator("]"));
  if (colons > 0) return New(Kind::kSlice, line, "", std::move(parts));
  if (parts[1] == nullptr) return Invalid(absl::StrCat("expected a subscript", Found()));
  return Make(Kind::kSubscript, line, "", std::move(parts[0]), std::move(parts[1]));
}

absl::StatusOr<ExpressionPtr> Parser::ParseFilters(ExpressionPtr value) {
  while (true) {
    if (TakeOperator("|")) {
      ASSIGN_OR_RETURN(value, ParseFilter(std::move(value)));
    } else if (TakeName("is")) {
      ASSIGN_OR_RETURN(value, ParseTest(std::move(value)));
    } else if (IsOperator("(")) {
      ASSIGN_OR_RETURN(value, ParseCall(Kind::kCall, "", std::move(value), true));
    } else {
      return value;
    }
  }
}

// After "|".
absl::StatusOr<ExpressionPtr> Parser::ParseFilter(ExpressionPtr value) {
  ASSIGN_OR_RETURN(std::string name, ExpectName("a filter"));
  return ParseCall(Kind::kFilter, std::move(name), std::move(value), IsOperator("("));
}

// After "is". An argument may stand without parentheses: "x is divisibleby 3".
absl::StatusOr<ExpressionPtr> Parser::ParseTest(ExpressionPtr value) {
  const int32_t line = Next().line;
  const bool negated = TakeName("not");
  ASSIGN_OR_RETURN(std::string name, ExpectName("a test"));
  const bool is_value = Next().kind == Token::Kind::kName || Next().kind == Token::Kind::kString ||
                        Next().kind == Token::Kind::kInteger ||
                        Next().kind == Token::Kind::kFloat || IsOperator("[") || IsOperator("{");
  if (is_value && !IsName("else") && !IsName("or") && !IsName("and")) {
    if (IsName("is")) return Invalid("tests cannot be chained with 'is'");
    const DepthGuard guard(&expression_depth_);
    if (expression_depth_ > nesting_max_) return TooDeep();
    ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    ASSIGN_OR_RETURN(
        value, Make(Kind::kTest, line, std::move(name), std::move(value), std::move(argument)));
  } else {
    ASSIGN_OR_RETURN(value,
                     ParseCall(Kind::kTest, std::move(name), std::move(value), IsOperator("(")));
  }
  return negated ? Make(Kind::kNot, line, "", std::move(value)) : std::move(value);
}

absl::StatusOr<ExpressionPtr> Parser::ParseCall(Kind kind, std::string name, ExpressionPtr value,
                                                bool has_arguments) {
  const int32_t line = Next().line;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> names;
  operands.push_back(std::move(value));
  if (has_arguments) {
    ++at_;
    RETURN_IF_ERROR(ParseArguments(&operands, &names));
  }
  ASSIGN_OR_RETURN(ExpressionPtr node, New(kind, line, std::move(name), std::move(operands)));
  node->names = std::move(names);
  return node;
}

absl::Status Parser::ParseArguments(std::vector<ExpressionPtr>* operands,
                                    std::vector<std::string>* names) {
  bool is_first = true;
  while (!TakeOperator(")")) {
    if (!is_first) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator(")")) break;
    }
    is_first = false;
    if (IsOperator("*") || IsOperator("**")) return Unsupported("unpacking arguments");
    if (Next().kind == Token::Kind::kName && Is(AfterNext(), Token::Kind::kOperator, "=")) {
      names->push_back(Take().text);
      ++at_;
    } else if (!names->empty()) {
      return Invalid("an argument without a name follows one with a name");
    }
    ASSIGN_OR_RETURN(operands->emplace_back(), ParseExpression());
  }
  return absl::OkStatus();
}

}  // namespace ebb::model::jinja
