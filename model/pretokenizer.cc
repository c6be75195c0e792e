#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/pretokenizer.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::model {
namespace {

// White space as the published patterns mean it. PCRE2's own \s also takes U+180E.
#define EBB_SPACE R"(\p{Z}\t-\r\x{85})"

// GPT-2's pattern (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019).
constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{L}\p{N})" EBB_SPACE R"(]+|[)" EBB_SPACE
    R"(]+(?![^)" EBB_SPACE R"(])|[)" EBB_SPACE R"(]+)";

// Llama 3's pattern with the digits' part left open: Qwen 2 differs in that alone.
#define EBB_LLAMA3_LIKE(digits)                                                        \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits                   \
  R"(| ?[^\p{L}\p{N})" EBB_SPACE R"(]+[\r\n]*|[)" EBB_SPACE R"(]*[\r\n]+|[)" EBB_SPACE \
  R"(]+(?![^)" EBB_SPACE R"(])|[)" EBB_SPACE R"(]+)"
constexpr char kLlama3Pattern[] = EBB_LLAMA3_LIKE(R"(\p{N}{1,3})");
constexpr char kQwen2Pattern[] = EBB_LLAMA3_LIKE(R"(\p{N})");

// SmolLM cuts every numeric character off first, then applies GPT-2's pattern to what is between.
constexpr char kSingleNumberPattern[] = R"(\p{N}|\P{N}+)";

// Each pattern takes a bounded number of steps for each byte that it consumes or looks at. The
// limit is that bound with a wide margin: a pattern that did not keep it would fail, not hang.
uint32_t MatchLimit(size_t text_bytes) {
  constexpr uint64_t kPerByte = 64;
  constexpr uint64_t kFloor = 100'000;
  return static_cast<uint32_t>(std::min<uint64_t>(std::numeric_limits<uint32_t>::max(),
                                                  kFloor + kPerByte * uint64_t{text_bytes}));
}
constexpr uint32_t kHeapLimitKib = 64 * 1024;

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// What PCRE2 needs for matching beside the pattern; one for each Split.
class MatchScratch {
 public:
  explicit MatchScratch(size_t text_bytes)
      : data_(pcre2_match_data_create(1, nullptr)), context_(pcre2_match_context_create(nullptr)) {
    if (!valid()) return;
    pcre2_set_match_limit(context_.get(), MatchLimit(text_bytes));
    pcre2_set_heap_limit(context_.get(), kHeapLimitKib);
  }
  bool valid() const { return data_ != nullptr && context_ != nullptr; }
  pcre2_match_data* data() const { return data_.get(); }
  pcre2_match_context* context() const { return context_.get(); }

 private:
  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data_;
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context_;
};

// A compiled pattern that matches at the front of whatever it is given. Thread-safe.
class Pattern {
 public:
  explicit Pattern(const char* source) {
    int error = 0;
    PCRE2_SIZE error_offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source), PCRE2_ZERO_TERMINATED,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C,
                              &error, &error_offset, nullptr));
    CHECK(code_ != nullptr) << source << ": " << ErrorText(error) << " at " << error_offset;
    // Where the system forbids executable memory this fails, and matching interprets the pattern.
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  // The bytes of the piece at the front of `text`. REQUIRES: `text` is not empty.
  absl::StatusOr<size_t> FrontBytes(absl::string_view text, const MatchScratch& scratch) const {
    // The caller has checked the text; checking here again would cost its length for each piece.
    const int matched =
        pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                    PCRE2_NO_UTF_CHECK, scratch.data(), scratch.context());
    if (matched < 0) {
      return absl::InternalError(absl::StrCat("pre-tokenizing failed: ", ErrorText(matched)));
    }
    const PCRE2_SIZE end = pcre2_get_ovector_pointer(scratch.data())[1];
    CHECK_GT(end, 0u);
    return end;
  }

 private:
  std::unique_ptr<pcre2_code, CodeDeleter> code_;
};

}  // namespace

struct Pretokenizer::Impl {
  std::unique_ptr<Pattern> first;  // May be null: then only `second` cuts.
  std::unique_ptr<Pattern> second;
};

Pretokenizer::Pretokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Pretokenizer::Pretokenizer(Pretokenizer&&) = default;
Pretokenizer& Pretokenizer::operator=(Pretokenizer&&) = default;
Pretokenizer::~Pretokenizer() = default;

absl::StatusOr<Pretokenizer> Pretokenizer::Create(absl::string_view name) {
  auto impl = std::make_unique<Impl>();
  if (name == "gpt2" || name == "gpt-2") {
    impl->second = std::make_unique<Pattern>(kGpt2Pattern);
  } else if (name == "smollm") {
    impl->first = std::make_unique<Pattern>(kSingleNumberPattern);
    impl->second = std::make_unique<Pattern>(kGpt2Pattern);
  } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
    impl->second = std::make_unique<Pattern>(kLlama3Pattern);
  } else if (name == "qwen2") {
    impl->second = std::make_unique<Pattern>(kQwen2Pattern);
  } else {
    return absl::UnimplementedError(
        absl::StrCat("pre-tokenizer '", absl::CHexEscape(name.substr(0, 64)),
                     "' is not supported; supported are gpt2, smollm, llama-bpe and qwen2"));
  }
  return Pretokenizer(std::move(impl));
}

absl::Status Pretokenizer::Split(absl::string_view text,
                                 absl::FunctionRef<void(absl::string_view)> on_piece) const {
  const MatchScratch scratch(text.size());
  if (!scratch.valid()) return absl::ResourceExhaustedError("out of memory for pre-tokenizing");
  while (!text.empty()) {
    size_t part_bytes = text.size();
    if (impl_->first != nullptr) {
      ASSIGN_OR_RETURN(part_bytes, impl_->first->FrontBytes(text, scratch));
    }
    // The second pattern sees the part's end as the end of the text, as the published pipelines do.
    for (absl::string_view part = text.substr(0, part_bytes); !part.empty();) {
      ASSIGN_OR_RETURN(const size_t piece_bytes, impl_->second->FrontBytes(part, scratch));
      on_piece(part.substr(0, piece_bytes));
      part.remove_prefix(piece_bytes);
    }
    text.remove_prefix(part_bytes);
  }
  return absl::OkStatus();
}

}  // namespace ebb::model
