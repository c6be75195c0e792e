#include "memory/prefix_chain.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/sha256.h"

namespace ebb::memory {

PrefixDigest Sha256OfBlock(const PrefixDigest& before, absl::Span<const int32_t> tokens) {
  std::string bytes(before.size() + tokens.size() * sizeof(int32_t), '\0');
  std::copy(before.begin(), before.end(), bytes.begin());
  auto at = bytes.begin() + static_cast<std::ptrdiff_t>(before.size());
  for (const int32_t token : tokens) {
    for (int shift = 0; shift < 32; shift += 8) {
      *at++ = static_cast<char>(static_cast<uint32_t>(token) >> shift);
    }
  }
  return base::Sha256(bytes);
}

PrefixChain::PrefixChain(std::string salt, int32_t block_tokens, PrefixHash hash)
    : salt_(std::make_shared<const std::string>(std::move(salt))),
      block_tokens_(block_tokens),
      hash_(hash),
      salt_digest_(base::Sha256(*salt_)) {
  CHECK_GE(block_tokens, 1);
}

void PrefixChain::Follow(absl::Span<const int32_t> tokens) {
  const size_t count = tokens.size() / static_cast<size_t>(block_tokens_);
  CHECK_GE(count, digests_.size());
  digests_.reserve(count);
  while (digests_.size() < count) {
    const PrefixDigest& before = digests_.empty() ? salt_digest_ : digests_.back();
    const size_t first = digests_.size() * static_cast<size_t>(block_tokens_);
    digests_.push_back(hash_(before, tokens.subspan(first, static_cast<size_t>(block_tokens_))));
  }
}

}  // namespace ebb::memory
