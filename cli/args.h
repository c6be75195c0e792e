// Args: what a command line says, read against a table of the options that a command has.
//
//   ebb [--address ADDR:PORT] COMMAND OPTION... [WORD]...
//   OPTION: --name VALUE, --name=VALUE, -l VALUE or --flag
//
// A table of our own: absl's flags are one set for the whole process, and each of our commands has
// its own. Nothing is guessed: an unknown, repeated or ill-typed option is an error that names it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::cli {

struct Option {
  absl::string_view name;   // Without dashes.
  absl::string_view value;  // What stands for its value in the help ("N"); empty: a flag.
  absl::string_view doc;
  bool repeatable = false;
  char letter = 0;  // If it has one: "-o FILE" beside "--output FILE".
};

// A value type. Getters of options that the table lacks are a CHECK failure.
class Args {
 public:
  // `words` without the program's and the command's name. INVALID_ARGUMENT for what the table does
  // not allow. Words after "--" are never options.
  static absl::StatusOr<Args> Parse(const std::vector<Option>& options,
                                    const std::vector<std::string>& words);

  bool Has(absl::string_view name) const;
  // What was given last; nothing if it was not given.
  std::optional<std::string> Text(absl::string_view name) const;
  std::vector<std::string> Texts(absl::string_view name) const;
  // INVALID_ARGUMENT if it is not a number of this type.
  absl::StatusOr<std::optional<int64_t>> Int64(absl::string_view name) const;
  absl::StatusOr<std::optional<uint64_t>> Uint64(absl::string_view name) const;
  absl::StatusOr<std::optional<double>> Double(absl::string_view name) const;
  const std::vector<std::string>& words() const { return words_; }  // That are not options.

 private:
  explicit Args(const std::vector<Option>& options);

  std::map<std::string, std::vector<std::string>> values_;  // One entry for each option.
  std::vector<std::string> words_;
};

// Two columns: each option and what it is.
std::string DescribeOptions(const std::vector<Option>& options);

}  // namespace ebb::cli
