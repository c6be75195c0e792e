// Parser: tokens to a syntax tree, by recursive descent as in Jinja 3.1. Internal to ast.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/jinja/ast.h"
#include "model/jinja/depth_guard.h"
#include "model/jinja/lexer.h"

namespace ebb::model::jinja {

using ExpressionPtr = std::unique_ptr<Expression>;

class Parser {
 public:
  Parser(std::vector<Token> tokens, int32_t nesting_max)
      : tokens_(std::move(tokens)), nesting_max_(nesting_max) {}

  absl::StatusOr<std::unique_ptr<const Block>> Run();

 private:
  using Kind = Expression::Kind;

  const Token& Next() const { return tokens_[at_]; }
  const Token& AfterNext() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token Take() { return tokens_[Next().kind == Token::Kind::kEnd ? at_ : at_++]; }
  static bool Is(const Token& token, Token::Kind kind, absl::string_view text) {
    return token.kind == kind && token.text == text;
  }
  bool IsOperator(absl::string_view text) const { return Is(Next(), Token::Kind::kOperator, text); }
  bool IsName(absl::string_view text) const { return Is(Next(), Token::Kind::kName, text); }
  bool TakeOperator(absl::string_view text) { return IsOperator(text) && (++at_, true); }
  bool TakeName(absl::string_view text) { return IsName(text) && (++at_, true); }

  absl::Status Invalid(absl::string_view message) const {
    return TemplateError(absl::StatusCode::kInvalidArgument, Next().line, message);
  }
  absl::Status Unsupported(absl::string_view construct) const {
    return TemplateUnsupported(Next().line, construct);
  }
  absl::Status TooDeep() const {
    return Invalid(absl::StrCat("nested more than ", nesting_max_, " deep"));
  }
  absl::Status Expect(Token::Kind kind, absl::string_view what);
  absl::Status ExpectOperator(absl::string_view text);
  absl::StatusOr<std::string> ExpectName(absl::string_view what);
  absl::Status ExpectTagEnd() { return Expect(Token::Kind::kBlockEnd, "'%}'"); }
  std::string Found() const;

  // Statements: parser.cc.
  absl::Status ParseBlock(const std::vector<absl::string_view>& ends, Block* block);
  absl::Status ParseBody(absl::string_view end, Statement* statement);
  absl::Status ParseCapturedBody(absl::string_view end, Statement* statement);
  absl::StatusOr<std::unique_ptr<Statement>> ParseTag();
  absl::Status ParseSet(Statement* statement);
  absl::Status ParseFor(Statement* statement);
  absl::Status ParseIf(Statement* statement);
  absl::Status ParseMacro(Statement* statement);
  absl::Status ParseFilterTag(Statement* statement);
  absl::Status ParseLoopControl(Statement* statement);
  absl::StatusOr<std::string> ParseTarget();
  absl::Status ParseTargets(Statement* statement);

  // Expressions: parser_expressions.cc.
  absl::StatusOr<ExpressionPtr> New(Kind kind, int32_t line, std::string text,
                                    std::vector<ExpressionPtr> operands);
  template <typename... Operands>
  absl::StatusOr<ExpressionPtr> Make(Kind kind, int32_t line, std::string text,
                                     Operands... operands) {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(operands)), ...);
    return New(kind, line, std::move(text), std::move(list));
  }
  // An expression, or several with commas: a tuple. In a for tag "if" is not part of it.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool with_conditional);
  absl::StatusOr<ExpressionPtr> ParseExpression();
  absl::StatusOr<ExpressionPtr> ParseBinary(int level);
  absl::StatusOr<ExpressionPtr> ParseNot();
  absl::StatusOr<ExpressionPtr> ParseCompare();
  std::string TakeComparison();
  absl::StatusOr<ExpressionPtr> ParseConcat();
  absl::StatusOr<ExpressionPtr> ParseUnary(bool with_filters);
  absl::StatusOr<ExpressionPtr> ParsePrimary();
  absl::StatusOr<ExpressionPtr> ParseNumber();
  absl::StatusOr<ExpressionPtr> ParseName();
  absl::StatusOr<ExpressionPtr> ParseParentheses();
  absl::StatusOr<ExpressionPtr> ParseList();
  absl::StatusOr<ExpressionPtr> ParseDict();
  absl::StatusOr<ExpressionPtr> ParsePostfix(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseMember(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseBrackets(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseFilter(ExpressionPtr value);
  absl::StatusOr<ExpressionPtr> ParseTest(ExpressionPtr value);
  // After "(" of a call, up to and with ")": operands and names are added.
  absl::Status ParseArguments(std::vector<ExpressionPtr>* operands,
                              std::vector<std::string>* names);
  absl::StatusOr<ExpressionPtr> ParseCall(Kind kind, std::string name, ExpressionPtr value,
                                          bool has_arguments);

  const std::vector<Token> tokens_;
  const int32_t nesting_max_;
  size_t at_ = 0;
  int32_t block_depth_ = 0;
  int32_t expression_depth_ = 0;
  int32_t loop_depth_ = 0;  // "break" is for loops, and not through a macro.
};

}  // namespace ebb::model::jinja
