// Pretokenizer: cuts a text into the pieces that byte-pair merges never cross.
//
//   "it's 2024" --smollm--> "it" "'s" " " "2" "0" "2" "4"
//
// The kinds are named as in the `tokenizer.ggml.pre` key of GGUF files. Each is the regular
// expression that the tokenizer's authors published, run by PCRE2.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::model {

// Thread-safe: const after creation.
class Pretokenizer {
 public:
  // `name`: gpt2 (gpt-2), smollm, llama-bpe (llama3, llama-v3) or qwen2.
  // UNIMPLEMENTED: any other name, which is never taken for one of these.
  static absl::StatusOr<Pretokenizer> Create(absl::string_view name);

  Pretokenizer(Pretokenizer&&);
  Pretokenizer& operator=(Pretokenizer&&);
  ~Pretokenizer();

  // Calls `on_piece` for each piece in order; together the pieces are `text`. Time is linear in the
  // text's length, whatever it holds. REQUIRES: `text` is valid UTF-8.
  // INTERNAL: the regular expression library failed.
  absl::Status Split(absl::string_view text,
                     absl::FunctionRef<void(absl::string_view)> on_piece) const;

 private:
  struct Impl;
  explicit Pretokenizer(std::unique_ptr<const Impl> impl);

  std::unique_ptr<const Impl> impl_;
};

}  // namespace ebb::model
