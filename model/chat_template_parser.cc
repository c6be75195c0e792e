#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/chat_template_ast.h"
#include "model/chat_template_lexer.h"

namespace ebb::model::chat {
namespace {

using ExpressionPtr = std::unique_ptr<Expression>;
using Kind = Expression::Kind;

constexpr absl::string_view kFilters[] = {"trim", "length"};
constexpr absl::string_view kTests[] = {"defined", "undefined", "none",     "string",
                                        "mapping", "iterable",  "sequence", "number",
                                        "boolean", "true",      "false"};
constexpr absl::string_view kLoopAttributes[] = {"first",    "last",      "index", "index0",
                                                 "revindex", "revindex0", "length"};
// What Python's strings, lists and dictionaries answer to: `message.items` is a method, not a key.
constexpr absl::string_view kMethods[] = {
    "append",     "capitalize", "clear",        "copy",         "count",  "encode",  "endswith",
    "extend",     "find",       "format",       "get",          "index",  "insert",  "isalpha",
    "isdigit",    "isspace",    "items",        "join",         "keys",   "lower",   "lstrip",
    "pop",        "popitem",    "removeprefix", "removesuffix", "remove", "replace", "reverse",
    "rfind",      "rsplit",     "rstrip",       "setdefault",   "sort",   "split",   "splitlines",
    "startswith", "strip",      "title",        "update",       "upper",  "values",  "zfill"};
// Names that Jinja or transformers define and we do not: never taken for undefined variables.
constexpr absl::string_view kUnsupportedNames[] = {"namespace", "range",  "dict",         "cycler",
                                                   "joiner",    "lipsum", "strftime_now", "self",
                                                   "super",     "caller", "varargs",      "kwargs"};

template <size_t n>
bool Contains(const absl::string_view (&list)[n], absl::string_view text) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

class Parser {
 public:
  Parser(std::vector<Token> tokens, int32_t nesting_max)
      : tokens_(std::move(tokens)), nesting_max_(nesting_max) {}

  absl::StatusOr<std::unique_ptr<const Block>> Run() {
    auto block = std::make_unique<Block>();
    RETURN_IF_ERROR(ParseBlock({}, block.get()));
    return block;
  }

 private:
  // Counts the levels of recursion while it lives.
  struct Level {
    explicit Level(int32_t* depth) : depth_(depth) { ++*depth_; }
    ~Level() { --*depth_; }
    int32_t* depth_;
  };

  const Token& Next() const { return tokens_[at_]; }
  Token Take() { return tokens_[Next().kind == Token::Kind::kEnd ? at_ : at_++]; }
  bool IsOperator(absl::string_view text) const {
    return Next().kind == Token::Kind::kOperator && Next().text == text;
  }
  bool IsName(absl::string_view text) const {
    return Next().kind == Token::Kind::kName && Next().text == text;
  }
  bool TakeOperator(absl::string_view text) { return IsOperator(text) && (++at_, true); }
  bool TakeName(absl::string_view text) { return IsName(text) && (++at_, true); }

  absl::Status Invalid(absl::string_view message) const {
    return TemplateError(absl::StatusCode::kInvalidArgument, Next().line, message);
  }
  absl::Status Unsupported(absl::string_view construct) const {
    return TemplateError(absl::StatusCode::kUnimplemented, Next().line,
                         absl::StrCat(construct, " is not supported"));
  }
  absl::Status TooDeep() const {
    return Invalid(absl::StrCat("nested more than ", nesting_max_, " deep"));
  }
  absl::Status Expect(Token::Kind kind, absl::string_view what) {
    if (Next().kind != kind) return Invalid(absl::StrCat("expected ", what, Found()));
    ++at_;
    return absl::OkStatus();
  }
  absl::Status ExpectOperator(absl::string_view text) {
    if (!TakeOperator(text)) return Invalid(absl::StrCat("expected '", text, "'", Found()));
    return absl::OkStatus();
  }
  std::string Found() const {
    switch (Next().kind) {
      case Token::Kind::kEnd:
        return ", found the end of the template";
      case Token::Kind::kOutputEnd:
      case Token::Kind::kBlockEnd:
        return ", found the end of the tag";
      default:
        return absl::StrCat(", found '", Next().text.substr(0, 40), "'");
    }
  }

  absl::Status ParseBlock(const std::vector<absl::string_view>& ends, Block* block);
  absl::StatusOr<std::unique_ptr<Statement>> ParseTag();
  absl::Status ParseSet(Statement* statement);
  absl::Status ParseFor(Statement* statement);
  absl::Status ParseIf(Statement* statement);
  absl::Status ParseTarget(Statement* statement);

  absl::StatusOr<ExpressionPtr> New(Kind kind, int32_t line, std::string text,
                                    std::vector<ExpressionPtr> operands);
  template <typename... Operands>
  absl::StatusOr<ExpressionPtr> Make(Kind kind, int32_t line, std::string text,
                                     Operands... operands) {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(operands)), ...);
    return New(kind, line, std::move(text), std::move(list));
  }

  absl::StatusOr<ExpressionPtr> ParseExpression();
  absl::StatusOr<ExpressionPtr> ParseBinary(int level);
  absl::StatusOr<ExpressionPtr> ParseNot();
  absl::StatusOr<ExpressionPtr> ParseCompare();
  absl::StatusOr<std::string> TakeComparison();
  absl::StatusOr<ExpressionPtr> ParseUnary(bool with_filters);
  absl::StatusOr<ExpressionPtr> ParsePrimary();
  absl::StatusOr<ExpressionPtr> ParseNameOrCall();
  absl::StatusOr<ExpressionPtr> ParseList(int32_t line);
  absl::StatusOr<ExpressionPtr> ParsePostfix(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseBrackets(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseTest(ExpressionPtr value);

  const std::vector<Token> tokens_;
  const int32_t nesting_max_;
  size_t at_ = 0;
  int32_t block_depth_ = 0;
  int32_t expression_depth_ = 0;
};

// Statements up to a block tag that begins with one of `ends`, whose name is then next.
absl::Status Parser::ParseBlock(const std::vector<absl::string_view>& ends, Block* block) {
  const Level level(&block_depth_);
  if (block_depth_ > nesting_max_) return TooDeep();
  while (Next().kind != Token::Kind::kEnd) {
    auto statement = std::make_unique<Statement>();
    statement->line = Next().line;
    const Token token = Take();
    if (token.kind == Token::Kind::kData) {
      statement->text = token.text;
    } else if (token.kind == Token::Kind::kOutputBegin) {
      statement->kind = Statement::Kind::kOutput;
      ASSIGN_OR_RETURN(statement->expression, ParseExpression());
      RETURN_IF_ERROR(Expect(Token::Kind::kOutputEnd, "'}}'"));
    } else {
      if (Next().kind == Token::Kind::kName &&
          std::find(ends.begin(), ends.end(), Next().text) != ends.end()) {
        return absl::OkStatus();
      }
      ASSIGN_OR_RETURN(statement, ParseTag());
    }
    block->statements.push_back(std::move(statement));
  }
  if (!ends.empty()) return Invalid(absl::StrCat("expected '{% ", ends.back(), " %}'", Found()));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Statement>> Parser::ParseTag() {
  auto statement = std::make_unique<Statement>();
  statement->line = Next().line;
  if (Next().kind != Token::Kind::kName) return Invalid(absl::StrCat("expected a tag", Found()));
  if (TakeName("set")) {
    RETURN_IF_ERROR(ParseSet(statement.get()));
  } else if (TakeName("for")) {
    RETURN_IF_ERROR(ParseFor(statement.get()));
  } else if (TakeName("if")) {
    RETURN_IF_ERROR(ParseIf(statement.get()));
  } else if (IsName("else") || IsName("elif") || IsName("endif") || IsName("endfor") ||
             IsName("endset")) {
    return Invalid(absl::StrCat("'{% ", Next().text, " %}' stands alone"));
  } else {
    return Unsupported(absl::StrCat("the tag '", Next().text, "'"));
  }
  return statement;
}

// The one name that a for or a set gives a value.
absl::Status Parser::ParseTarget(Statement* statement) {
  if (IsOperator("(")) return Unsupported("a tuple of names");
  if (Next().kind != Token::Kind::kName) return Invalid(absl::StrCat("expected a name", Found()));
  statement->text = Take().text;
  if (statement->text == "loop") return Invalid("'loop' cannot be given a value");
  if (IsOperator(",")) return Unsupported("a tuple of names");
  if (IsOperator(".")) return Unsupported("giving an attribute a value");
  return absl::OkStatus();
}

absl::Status Parser::ParseSet(Statement* statement) {
  statement->kind = Statement::Kind::kSet;
  RETURN_IF_ERROR(ParseTarget(statement));
  if (Next().kind == Token::Kind::kBlockEnd || IsOperator("|")) return Unsupported("a set block");
  RETURN_IF_ERROR(ExpectOperator("="));
  ASSIGN_OR_RETURN(statement->expression, ParseExpression());
  if (IsOperator(",")) return Unsupported("a tuple");
  return Expect(Token::Kind::kBlockEnd, "'%}'");
}

absl::Status Parser::ParseFor(Statement* statement) {
  statement->kind = Statement::Kind::kFor;
  RETURN_IF_ERROR(ParseTarget(statement));
  if (!TakeName("in")) return Invalid(absl::StrCat("expected 'in'", Found()));
  // Not ParseExpression: in a for tag "if" is a filter on the elements.
  ASSIGN_OR_RETURN(statement->expression, ParseBinary(0));
  if (IsName("if")) return Unsupported("an 'if' in a for tag");
  if (IsName("recursive")) return Unsupported("a recursive for");
  if (IsOperator(",")) return Unsupported("a tuple");
  RETURN_IF_ERROR(Expect(Token::Kind::kBlockEnd, "'%}'"));
  RETURN_IF_ERROR(ParseBlock({"else", "endfor"}, &statement->blocks.emplace_back()));
  if (IsName("else")) return Unsupported("an else of a for");
  ++at_;
  return Expect(Token::Kind::kBlockEnd, "'%}'");
}

absl::Status Parser::ParseIf(Statement* statement) {
  statement->kind = Statement::Kind::kIf;
  while (true) {
    ASSIGN_OR_RETURN(statement->conditions.emplace_back(), ParseExpression());
    RETURN_IF_ERROR(Expect(Token::Kind::kBlockEnd, "'%}'"));
    RETURN_IF_ERROR(ParseBlock({"elif", "else", "endif"}, &statement->blocks.emplace_back()));
    if (!TakeName("elif")) break;
  }
  if (TakeName("else")) {
    RETURN_IF_ERROR(Expect(Token::Kind::kBlockEnd, "'%}'"));
    RETURN_IF_ERROR(ParseBlock({"endif"}, &statement->blocks.emplace_back()));
  }
  ++at_;
  return Expect(Token::Kind::kBlockEnd, "'%}'");
}

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

absl::StatusOr<ExpressionPtr> Parser::ParseExpression() {
  const Level level(&expression_depth_);
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

// Left-associative operators, loosest first: or; and; (not and comparisons;) + -; ~; * %.
absl::StatusOr<ExpressionPtr> Parser::ParseBinary(int level) {
  static constexpr absl::string_view kOperators[][2] = {{"or", ""}, {"and", ""}, {"", ""},
                                                        {"+", "-"}, {"~", ""},   {"*", "%"}};
  constexpr int kCompareLevel = 2;
  constexpr int kLevels = 6;
  if (level == kCompareLevel) return ParseNot();
  if (level == kLevels) return ParseUnary(/*with_filters=*/true);
  const int32_t line = Next().line;
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseBinary(level + 1));
  while (true) {
    std::string found;
    for (const absl::string_view text : kOperators[level]) {
      if (!text.empty() && (TakeOperator(text) || TakeName(text))) found = std::string(text);
    }
    if (found.empty()) return left;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseBinary(level + 1));
    ASSIGN_OR_RETURN(left, Make(Kind::kBinary, line, found, std::move(left), std::move(right)));
  }
}

absl::StatusOr<ExpressionPtr> Parser::ParseNot() {
  const int32_t line = Next().line;
  if (!TakeName("not")) return ParseCompare();
  const Level level(&expression_depth_);
  if (expression_depth_ > nesting_max_) return TooDeep();
  ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
  return Make(Kind::kNot, line, "", std::move(operand));
}

// The comparison that is next, or "".
absl::StatusOr<std::string> Parser::TakeComparison() {
  for (const absl::string_view text : {"==", "!=", "<=", ">=", "<", ">"}) {
    if (TakeOperator(text)) return std::string(text);
  }
  if (TakeName("in")) return std::string("in");
  if (!IsName("not")) return std::string();
  ++at_;
  if (!TakeName("in")) return Invalid(absl::StrCat("expected 'in'", Found()));
  return std::string("not in");
}

absl::StatusOr<ExpressionPtr> Parser::ParseCompare() {
  constexpr int kSumLevel = 3;
  const int32_t line = Next().line;
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseBinary(kSumLevel));
  ASSIGN_OR_RETURN(const std::string comparison, TakeComparison());
  if (comparison.empty()) return left;
  ASSIGN_OR_RETURN(ExpressionPtr right, ParseBinary(kSumLevel));
  ASSIGN_OR_RETURN(const std::string second, TakeComparison());
  if (!second.empty()) return Unsupported("a chain of comparisons");
  if (comparison != "not in") {
    return Make(Kind::kBinary, line, comparison, std::move(left), std::move(right));
  }
  ASSIGN_OR_RETURN(ExpressionPtr in,
                   Make(Kind::kBinary, line, "in", std::move(left), std::move(right)));
  return Make(Kind::kNot, line, "", std::move(in));
}

absl::StatusOr<ExpressionPtr> Parser::ParseUnary(bool with_filters) {
  const int32_t line = Next().line;
  ExpressionPtr value;
  if (TakeOperator("-")) {
    const Level level(&expression_depth_);
    if (expression_depth_ > nesting_max_) return TooDeep();
    ASSIGN_OR_RETURN(ExpressionPtr operand, ParseUnary(/*with_filters=*/false));
    ASSIGN_OR_RETURN(value, Make(Kind::kNegate, line, "", std::move(operand)));
  } else {
    ASSIGN_OR_RETURN(value, ParsePrimary());
  }
  ASSIGN_OR_RETURN(value, ParsePostfix(std::move(value)));
  return with_filters ? ParseFilters(std::move(value)) : std::move(value);
}

absl::StatusOr<ExpressionPtr> Parser::ParsePrimary() {
  const int32_t line = Next().line;
  if (Next().kind == Token::Kind::kName) return ParseNameOrCall();
  if (Next().kind == Token::Kind::kString) {
    std::string text;
    while (Next().kind == Token::Kind::kString) text += Take().text;  // As in Python.
    return Make(Kind::kString, line, std::move(text));
  }
  if (Next().kind == Token::Kind::kInteger) {
    const int64_t integer = std::stoll(Take().text);
    ASSIGN_OR_RETURN(ExpressionPtr node, Make(Kind::kInteger, line, ""));
    node->integer = integer;
    return node;
  }
  if (TakeOperator("(")) {
    ASSIGN_OR_RETURN(ExpressionPtr inner, ParseExpression());
    if (IsOperator(",")) return Unsupported("a tuple");
    RETURN_IF_ERROR(ExpectOperator(")"));
    return inner;
  }
  if (TakeOperator("[")) return ParseList(line);
  if (IsOperator("+")) return Unsupported("'+' before a value");
  return Invalid(absl::StrCat("expected a value", Found()));
}

absl::StatusOr<ExpressionPtr> Parser::ParseNameOrCall() {
  const int32_t line = Next().line;
  if (Contains(kUnsupportedNames, Next().text)) {
    return Unsupported(absl::StrCat("'", Next().text, "'"));
  }
  const std::string name = Take().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    ASSIGN_OR_RETURN(ExpressionPtr node, Make(Kind::kBool, line, ""));
    node->integer = name[0] == 't' || name[0] == 'T';
    return node;
  }
  if (name == "none" || name == "None") return Make(Kind::kNone, line, "");
  if (!IsOperator("(")) return Make(Kind::kName, line, name);
  if (name != "raise_exception") return Unsupported(absl::StrCat("the call of '", name, "'"));
  ++at_;
  ASSIGN_OR_RETURN(ExpressionPtr message, ParseExpression());
  RETURN_IF_ERROR(ExpectOperator(")"));
  return Make(Kind::kRaise, line, "", std::move(message));
}

absl::StatusOr<ExpressionPtr> Parser::ParseList(int32_t line) {
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

absl::StatusOr<ExpressionPtr> Parser::ParsePostfix(ExpressionPtr value) {
  while (true) {
    const int32_t line = Next().line;
    if (IsOperator("(")) return Unsupported("a call");
    if (TakeOperator("[")) {
      ASSIGN_OR_RETURN(value, ParseBrackets(std::move(value)));
      continue;
    }
    if (!TakeOperator(".")) return value;
    if (Next().kind != Token::Kind::kName) {
      return Invalid(absl::StrCat("expected a name after '.'", Found()));
    }
    const std::string name = Next().text;
    const bool of_loop = value->kind == Kind::kName && value->text == "loop";
    if (of_loop ? !Contains(kLoopAttributes, name) : Contains(kMethods, name)) {
      return Unsupported(absl::StrCat(of_loop ? "'loop." : "the method '.", name, "'"));
    }
    ++at_;
    ASSIGN_OR_RETURN(value, Make(Kind::kAttribute, line, name, std::move(value)));
  }
}

// After "[": an index, a key or a slice.
absl::StatusOr<ExpressionPtr> Parser::ParseBrackets(ExpressionPtr value) {
  const int32_t line = Next().line;
  ExpressionPtr first;
  if (!IsOperator(":")) {
    ASSIGN_OR_RETURN(first, ParseExpression());
  }
  if (TakeOperator("]")) {
    if (first->kind == Kind::kString && Contains(kMethods, first->text)) {
      return Unsupported(absl::StrCat("the method '.", first->text, "'"));
    }
    return Make(Kind::kSubscript, line, "", std::move(value), std::move(first));
  }
  if (IsOperator(",")) return Unsupported("a tuple");
  RETURN_IF_ERROR(ExpectOperator(":"));
  ExpressionPtr second;
  if (!IsOperator("]") && !IsOperator(":")) {
    ASSIGN_OR_RETURN(second, ParseExpression());
  }
  if (IsOperator(":")) return Unsupported("a slice with a step");
  RETURN_IF_ERROR(ExpectOperator("]"));
  return Make(Kind::kSlice, line, "", std::move(value), std::move(first), std::move(second));
}

absl::StatusOr<ExpressionPtr> Parser::ParseFilters(ExpressionPtr value) {
  while (true) {
    const int32_t line = Next().line;
    if (TakeOperator("|")) {
      if (Next().kind != Token::Kind::kName) {
        return Invalid(absl::StrCat("expected a filter", Found()));
      }
      if (!Contains(kFilters, Next().text)) {
        return Unsupported(absl::StrCat("the filter '", Next().text, "'"));
      }
      const std::string name = Take().text;
      if (TakeOperator("(") && !TakeOperator(")")) return Unsupported("an argument of a filter");
      ASSIGN_OR_RETURN(value, Make(Kind::kFilter, line, name, std::move(value)));
    } else if (TakeName("is")) {
      ASSIGN_OR_RETURN(value, ParseTest(std::move(value)));
    } else if (IsOperator("(")) {
      return Unsupported("a call");
    } else {
      return value;
    }
  }
}

// After "is".
absl::StatusOr<ExpressionPtr> Parser::ParseTest(ExpressionPtr value) {
  const int32_t line = Next().line;
  const bool negated = TakeName("not");
  if (Next().kind != Token::Kind::kName) return Invalid(absl::StrCat("expected a test", Found()));
  if (!Contains(kTests, Next().text)) {
    return Unsupported(absl::StrCat("the test '", Next().text, "'"));
  }
  const std::string name = Take().text;
  if (IsOperator("(")) return Unsupported("an argument of a test");
  ASSIGN_OR_RETURN(value, Make(Kind::kTest, line, name, std::move(value)));
  return negated ? Make(Kind::kNot, line, "", std::move(value)) : std::move(value);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Block>> ParseTemplate(absl::string_view source,
                                                           int32_t nesting_max) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens), nesting_max).Run();
}

}  // namespace ebb::model::chat
