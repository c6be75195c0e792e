#include "cli/args.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "config/nearest.h"

namespace ebb::cli {
namespace {

const Option* FindOption(const std::vector<Option>& options, absl::string_view name) {
  for (const Option& option : options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

// "-o", where the table has an option of that letter.
const Option* FindLetter(const std::vector<Option>& options, absl::string_view word) {
  for (const Option& option : options) {
    if (option.letter != 0 && word.size() == 2 && word[1] == option.letter) return &option;
  }
  return nullptr;
}

absl::Status UnknownOption(const std::vector<Option>& options, absl::string_view name) {
  std::vector<absl::string_view> known;
  for (const Option& option : options) known.push_back(option.name);
  const absl::string_view nearest = config::Nearest(name, known);
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, ": unknown option; ",
                   nearest.empty() ? std::string("--help lists them")
                                   : absl::StrCat("did you mean --", nearest, "?")));
}

absl::Status NotANumber(absl::string_view name, absl::string_view kind, absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("--", name, ": must be ", kind, "; not ", text));
}

}  // namespace

Args::Args(const std::vector<Option>& options) {
  for (const Option& option : options) values_[std::string(option.name)];
}

absl::StatusOr<Args> Args::Parse(const std::vector<Option>& options,
                                 const std::vector<std::string>& words) {
  Args args(options);
  bool options_ended = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (options_ended || word.size() < 2 || word[0] != '-') {
      args.words_.push_back(word);
      continue;
    }
    if (word == "--") {
      options_ended = true;
      continue;
    }
    const Option* const lettered = FindLetter(options, word);
    if (word[1] != '-' && lettered == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          word, ": options begin with two dashes; put -- before text that begins with one"));
    }
    const size_t equals = word.find('=');
    const std::string name = lettered != nullptr
                                 ? std::string(lettered->name)
                                 : word.substr(2, equals == word.npos ? word.npos : equals - 2);
    const Option* option = FindOption(options, name);
    if (option == nullptr) return UnknownOption(options, name);
    std::vector<std::string>& values = args.values_[name];
    if (!values.empty() && !option->repeatable) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, ": given twice"));
    }
    if (option->value.empty()) {
      if (equals != word.npos) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, ": takes no value"));
      }
      values.push_back("");
    } else if (equals != word.npos) {
      values.push_back(word.substr(equals + 1));
    } else if (i + 1 < words.size()) {
      values.push_back(words[++i]);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, ": a value is missing (", option->value, ")"));
    }
  }
  return args;
}

bool Args::Has(absl::string_view name) const { return Text(name).has_value(); }

std::optional<std::string> Args::Text(absl::string_view name) const {
  const std::vector<std::string> texts = Texts(name);
  if (texts.empty()) return std::nullopt;
  return texts.back();
}

std::vector<std::string> Args::Texts(absl::string_view name) const {
  const auto found = values_.find(std::string(name));
  CHECK(found != values_.end()) << "no option --" << name;
  return found->second;
}

absl::StatusOr<std::optional<int64_t>> Args::Int64(absl::string_view name) const {
  const std::optional<std::string> text = Text(name);
  if (!text.has_value()) return std::nullopt;
  int64_t number = 0;
  if (!absl::SimpleAtoi(*text, &number)) return NotANumber(name, "a whole number", *text);
  return number;
}

absl::StatusOr<std::optional<uint64_t>> Args::Uint64(absl::string_view name) const {
  const std::optional<std::string> text = Text(name);
  if (!text.has_value()) return std::nullopt;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(*text, &number)) {
    return NotANumber(name, "a whole number from 0 to 2^64 - 1", *text);
  }
  return number;
}

absl::StatusOr<std::optional<double>> Args::Double(absl::string_view name) const {
  const std::optional<std::string> text = Text(name);
  if (!text.has_value()) return std::nullopt;
  double number = 0;
  if (!absl::SimpleAtod(*text, &number)) return NotANumber(name, "a number", *text);
  return number;
}

std::string DescribeOptions(const std::vector<Option>& options) {
  constexpr size_t kDocColumn = 28;
  constexpr size_t kColumns = 100;
  std::string out;
  for (const Option& option : options) {
    std::string line =
        option.letter == 0 ? "  " : absl::StrCat("  -", std::string(1, option.letter), ", ");
    absl::StrAppend(&line, "--", option.name, option.value.empty() ? "" : " ", option.value);
    line += line.size() + 1 < kDocColumn ? std::string(kDocColumn - line.size(), ' ') : "  ";
    // The doc is wrapped to the column's width.
    for (absl::string_view word : absl::StrSplit(option.doc, ' ')) {
      if (line.size() + word.size() > kColumns) {
        absl::StrAppend(&out, absl::StripTrailingAsciiWhitespace(line), "\n");
        line = std::string(kDocColumn, ' ');
      }
      absl::StrAppend(&line, word, " ");
    }
    absl::StrAppend(&out, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return out;
}

}  // namespace ebb::cli
