#include "model/jinja/parser.h"

#include <algorithm>

#include "base/status_macros.h"

namespace ebb::model::jinja {

absl::StatusOr<std::unique_ptr<const Block>> Parser::Run() {
  auto block = std::make_unique<Block>();
  RETURN_IF_ERROR(ParseBlock({}, block.get()));
  return block;
}

absl::Status Parser::Expect(Token::Kind kind, absl::string_view what) {
  if (Next().kind != kind) return Invalid(absl::StrCat("expected ", what, Found()));
  ++at_;
  return absl::OkStatus();
}

absl::Status Parser::ExpectOperator(absl::string_view text) {
  if (!TakeOperator(text)) return Invalid(absl::StrCat("expected '", text, "'", Found()));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Parser::ExpectName(absl::string_view what) {
  std::string name = Next().text;
  RETURN_IF_ERROR(Expect(Token::Kind::kName, what));
  return name;
}

std::string Parser::Found() const {
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

// Statements up to a block tag that begins with one of `ends`, whose name is then next.
absl::Status Parser::ParseBlock(const std::vector<absl::string_view>& ends, Block* block) {
  const DepthGuard guard(&block_depth_);
  if (block_depth_ > nesting_max_) return TooDeep();
  while (Next().kind != Token::Kind::kEnd) {
    auto statement = std::make_unique<Statement>();
    statement->line = Next().line;
    const Token token = Take();
    if (token.kind == Token::Kind::kData) {
      statement->text = token.text;
    } else if (token.kind == Token::Kind::kOutputBegin) {
      statement->kind = Statement::Kind::kOutput;
      ASSIGN_OR_RETURN(statement->expression, ParseTuple(/*with_conditional=*/true));
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

// The end of the opening tag, the statements, and the tag `end`.
absl::Status Parser::ParseBody(absl::string_view end, Statement* statement) {
  RETURN_IF_ERROR(ExpectTagEnd());
  RETURN_IF_ERROR(ParseBlock({end}, &statement->blocks.emplace_back()));
  ++at_;
  return ExpectTagEnd();
}

// The same where the statements' text is taken elsewhere: no loop can be left from there.
absl::Status Parser::ParseCapturedBody(absl::string_view end, Statement* statement) {
  const int32_t loop_depth = std::exchange(loop_depth_, 0);
  RETURN_IF_ERROR(ParseBody(end, statement));
  loop_depth_ = loop_depth;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Statement>> Parser::ParseTag() {
  constexpr absl::string_view kInner[] = {"else",   "elif",     "endif",     "endfor",
                                          "endset", "endmacro", "endfilter", "endgeneration"};
  auto statement = std::make_unique<Statement>();
  statement->line = Next().line;
  if (Next().kind != Token::Kind::kName) return Invalid(absl::StrCat("expected a tag", Found()));
  if (TakeName("set")) {
    RETURN_IF_ERROR(ParseSet(statement.get()));
  } else if (TakeName("for")) {
    RETURN_IF_ERROR(ParseFor(statement.get()));
  } else if (TakeName("if")) {
    RETURN_IF_ERROR(ParseIf(statement.get()));
  } else if (TakeName("macro")) {
    RETURN_IF_ERROR(ParseMacro(statement.get()));
  } else if (TakeName("filter")) {
    RETURN_IF_ERROR(ParseFilterTag(statement.get()));
  } else if (TakeName("generation")) {
    statement->kind = Statement::Kind::kScope;
    RETURN_IF_ERROR(ParseCapturedBody("endgeneration", statement.get()));
  } else if (IsName("break") || IsName("continue")) {
    RETURN_IF_ERROR(ParseLoopControl(statement.get()));
  } else if (std::find(std::begin(kInner), std::end(kInner), Next().text) != std::end(kInner)) {
    return Invalid(absl::StrCat("'{% ", Next().text, " %}' stands alone"));
  } else {
    return Unsupported(absl::StrCat("the tag '", Next().text, "'"));
  }
  return statement;
}

absl::Status Parser::ParseLoopControl(Statement* statement) {
  if (loop_depth_ == 0) return Invalid(absl::StrCat("'", Next().text, "' outside of a loop"));
  statement->kind = Take().text == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
  return ExpectTagEnd();
}

// A name that is given a value.
absl::StatusOr<std::string> Parser::ParseTarget() {
  constexpr absl::string_view kConstants[] = {"true", "True", "false", "False", "none", "None"};
  ASSIGN_OR_RETURN(std::string name, ExpectName("a name"));
  if (name == "loop") return Invalid("'loop' cannot be given a value");
  if (std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants)) {
    return Invalid(absl::StrCat("'", name, "' cannot be given a value"));
  }
  return name;
}

// The names that a for or a set gives values: one, or several, maybe in parentheses.
absl::Status Parser::ParseTargets(Statement* statement) {
  const bool in_parentheses = TakeOperator("(");
  while (true) {
    if (IsOperator("(")) return Unsupported("a tuple of names in another");
    ASSIGN_OR_RETURN(statement->names.emplace_back(), ParseTarget());
    if (!TakeOperator(",")) break;
    statement->unpacks = true;
    if (Next().kind != Token::Kind::kName || IsName("in")) break;
  }
  if (!in_parentheses) return absl::OkStatus();
  if (IsOperator(")") && AfterNext().kind == Token::Kind::kOperator && AfterNext().text == ",") {
    return Unsupported("a tuple of names in another");
  }
  return ExpectOperator(")");
}

absl::Status Parser::ParseSet(Statement* statement) {
  statement->kind = Statement::Kind::kSet;
  RETURN_IF_ERROR(ParseTargets(statement));
  if (statement->names.size() == 1 && TakeOperator(".")) {
    statement->kind = Statement::Kind::kSetMember;
    ASSIGN_OR_RETURN(statement->names.emplace_back(), ExpectName("a name after '.'"));
    if (IsOperator(",")) return Unsupported("a tuple with an attribute");
  }
  if (TakeOperator("=")) {
    ASSIGN_OR_RETURN(statement->expression, ParseTuple(/*with_conditional=*/true));
    return ExpectTagEnd();
  }
  if (statement->kind != Statement::Kind::kSet || statement->unpacks) {
    return Invalid(absl::StrCat("expected '='", Found()));
  }
  statement->kind = Statement::Kind::kSetBlock;
  while (TakeOperator("|")) {
    ASSIGN_OR_RETURN(statement->expression, ParseFilter(std::move(statement->expression)));
  }
  return ParseCapturedBody("endset", statement);
}

absl::Status Parser::ParseFilterTag(Statement* statement) {
  statement->kind = Statement::Kind::kFilter;
  do {
    ASSIGN_OR_RETURN(statement->expression, ParseFilter(std::move(statement->expression)));
  } while (TakeOperator("|"));
  return ParseCapturedBody("endfilter", statement);
}

absl::Status Parser::ParseFor(Statement* statement) {
  statement->kind = Statement::Kind::kFor;
  RETURN_IF_ERROR(ParseTargets(statement));
  if (!TakeName("in")) return Invalid(absl::StrCat("expected 'in'", Found()));
  ASSIGN_OR_RETURN(statement->expression, ParseTuple(/*with_conditional=*/false));
  if (TakeName("if")) {
    ASSIGN_OR_RETURN(statement->conditions.emplace_back(), ParseExpression());
  }
  if (IsName("recursive")) return Unsupported("a recursive for");
  RETURN_IF_ERROR(ExpectTagEnd());
  {
    const DepthGuard guard(&loop_depth_);
    RETURN_IF_ERROR(ParseBlock({"else", "endfor"}, &statement->blocks.emplace_back()));
  }
  if (!TakeName("else")) {
    ++at_;
    return ExpectTagEnd();
  }
  return ParseBody("endfor", statement);
}

absl::Status Parser::ParseIf(Statement* statement) {
  statement->kind = Statement::Kind::kIf;
  while (true) {
    ASSIGN_OR_RETURN(statement->conditions.emplace_back(), ParseTuple(/*with_conditional=*/true));
    RETURN_IF_ERROR(ExpectTagEnd());
    RETURN_IF_ERROR(ParseBlock({"elif", "else", "endif"}, &statement->blocks.emplace_back()));
    if (!TakeName("elif")) break;
  }
  if (TakeName("else")) return ParseBody("endif", statement);
  ++at_;
  return ExpectTagEnd();
}

absl::Status Parser::ParseMacro(Statement* statement) {
  statement->kind = Statement::Kind::kMacro;
  ASSIGN_OR_RETURN(statement->text, ParseTarget());
  RETURN_IF_ERROR(ExpectOperator("("));
  while (!TakeOperator(")")) {
    if (!statement->names.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator(")")) break;
    }
    ASSIGN_OR_RETURN(statement->names.emplace_back(), ParseTarget());
    if (TakeOperator("=")) {
      ASSIGN_OR_RETURN(statement->conditions.emplace_back(), ParseExpression());
    } else if (!statement->conditions.empty()) {
      return Invalid("an argument without a default follows one with a default");
    }
  }
  return ParseCapturedBody("endmacro", statement);
}

absl::StatusOr<std::unique_ptr<const Block>> ParseTemplate(absl::string_view source,
                                                           int32_t nesting_max) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens), nesting_max).Run();
}

}  // namespace ebb::model::jinja
