#include "tests/model/text_figures.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <thread>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "model/open_model.h"
#include "tests/model/golden_files.h"
#include "tests/model/model_runner.h"

namespace ebb::model {
namespace {

constexpr char kFolder[] = "tests/golden/forward/";

// Sums over positions; the figures are made of them at the end.
struct Sums {
  int64_t positions = 0;
  double reference_nll = 0;
  double nll = 0;
  double abs_difference = 0;
  double divergence = 0;
  int64_t flips = 0;
  double worst_margin = 0;

  void Add(const Sums& other) {
    positions += other.positions;
    reference_nll += other.reference_nll;
    nll += other.nll;
    abs_difference += other.abs_difference;
    divergence += other.divergence;
    flips += other.flips;
    worst_margin = std::max(worst_margin, other.worst_margin);
  }
};

// log(sum(exp(logits))), in double.
double LogSumExp(const float* logits, int32_t vocab) {
  const double largest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int32_t i = 0; i < vocab; ++i) sum += std::exp(logits[i] - largest);
  return largest + std::log(sum);
}

int32_t BestToken(const float* logits, int32_t vocab) {
  return static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
}

// One position: `logits` against the golden distribution.
Sums Compare(const float* logits, int32_t vocab, const GoldenPosition& golden, int32_t next) {
  const double normalizer = LogSumExp(logits, vocab);
  Sums sums;
  sums.positions = 1;
  sums.reference_nll = -golden.next_logprob;
  sums.nll = normalizer - logits[next];
  sums.abs_difference = std::abs(sums.nll - sums.reference_nll);
  double rest = 1;
  for (size_t i = 0; i < golden.ids.size(); ++i) {
    const double p = golden.logprobs[i];
    const double q = logits[golden.ids[i]] - normalizer;
    sums.divergence += std::exp(p) * (p - q);
    rest -= std::exp(q);
  }
  // As tools/golden/smollm2.py: a rest that rounding swallows adds nothing.
  if (rest > 1e-12 && golden.rest_log_mass > std::log(1e-12)) {
    sums.divergence += std::exp(golden.rest_log_mass) * (golden.rest_log_mass - std::log(rest));
  }
  if (BestToken(logits, vocab) != golden.ids[0]) {
    sums.flips = 1;
    sums.worst_margin = golden.margin;
  }
  return sums;
}

Sums MeasureText(const LlamaModel& model, const GoldenText& text, kernels::DType kv_dtype,
                 int32_t chunk_tokens) {
  KvShape shape;
  shape.dtype = kv_dtype;
  shape.tokens_max = static_cast<int32_t>(text.ids.size());
  shape.shuffle_seed = 1;
  ModelRunner runner(model, shape);
  const int32_t vocab = model.config().vocab;
  const size_t position_count = text.positions.size();
  Sums sums;
  for (size_t begin = 0; begin < position_count; begin += chunk_tokens) {
    const size_t end = std::min<size_t>(begin + chunk_tokens, position_count);
    const std::vector<int32_t> chunk(text.ids.begin() + begin, text.ids.begin() + end);
    const std::vector<float> logits = runner.Run(kernels::Lane::kPrefill, {{0, chunk}}, true);
    for (size_t i = begin; i < end; ++i) {
      sums.Add(
          Compare(logits.data() + (i - begin) * vocab, vocab, text.positions[i], text.ids[i + 1]));
    }
  }
  return sums;
}

}  // namespace

std::string TextFigures::ToString() const {
  return absl::StrFormat(
      "%d positions: perplexity %.6f, reference %.6f (%+.4f %%); mean |dlogprob| %.6f; mean "
      "divergence %.8f; %d other best tokens, the worst at a margin of %.5f",
      positions, perplexity, reference_perplexity, 100 * PerplexityError(),
      mean_abs_logprob_difference, mean_divergence, different_best_tokens, margin_of_worst_flip);
}

std::unique_ptr<LlamaModel> LoadSmolLm2(kernels::Backend* backend) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = cache != nullptr  ? std::string(cache)
                             : home != nullptr ? std::string(home) + "/.cache"
                                               : std::string();
  const std::string path = folder + "/ebb/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  auto opened = OpenModel(path);
  CHECK(opened.ok()) << opened.status().ToString() << " -- run ./run --setup to fetch the model";
  auto model = LlamaModel::Load(*opened->weights, backend);
  CHECK(model.ok()) << model.status().ToString();
  return *std::move(model);
}

TextFigures MeasureTexts(const LlamaModel& model, kernels::DType kv_dtype, int32_t chunk_tokens,
                         int32_t thread_count) {
  const std::vector<GoldenText> texts = ReadGoldenTexts(std::string(kFolder) + "smollm2_text.bin");
  // Each text's sums apart and added in order: the figures do not depend on the threads.
  std::vector<Sums> sums_of_text(texts.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < texts.size(); i = next++) {
      sums_of_text[i] = MeasureText(model, texts[i], kv_dtype, chunk_tokens);
    }
  };
  std::vector<std::thread> threads;
  for (int32_t i = 0; i < thread_count; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();

  Sums sums;
  for (const Sums& one : sums_of_text) sums.Add(one);
  const double count = static_cast<double>(sums.positions);
  TextFigures figures;
  figures.positions = sums.positions;
  figures.reference_perplexity = std::exp(sums.reference_nll / count);
  figures.perplexity = std::exp(sums.nll / count);
  figures.mean_abs_logprob_difference = sums.abs_difference / count;
  figures.mean_divergence = sums.divergence / count;
  figures.different_best_tokens = sums.flips;
  figures.margin_of_worst_flip = sums.worst_margin;
  return figures;
}

ContinuationFigures MeasureContinuations(const LlamaModel& model, kernels::DType kv_dtype) {
  const std::vector<GoldenContinuation> continuations =
      ReadGoldenContinuations(std::string(kFolder) + "smollm2_greedy.bin");
  KvShape shape;
  shape.dtype = kv_dtype;
  shape.sequence_count = static_cast<int32_t>(continuations.size());
  shape.tokens_max = 128;
  ModelRunner runner(model, shape);
  const int32_t vocab = model.config().vocab;

  std::vector<StepPart> parts;
  for (size_t s = 0; s < continuations.size(); ++s) {
    CHECK_LE(continuations[s].prompt.size() + continuations[s].ids.size(), 128u);
    parts.push_back({static_cast<int32_t>(s), continuations[s].prompt});
  }
  std::vector<float> logits = runner.Run(kernels::Lane::kPrefill, parts, false);
  ContinuationFigures figures;
  for (size_t i = 0;; ++i) {
    for (size_t s = 0; s < continuations.size(); ++s) {
      const GoldenContinuation& golden = continuations[s];
      ++figures.tokens;
      if (BestToken(logits.data() + s * vocab, vocab) != golden.ids[i]) {
        ++figures.different_tokens;
        figures.margin_of_worst_flip =
            std::max<double>(figures.margin_of_worst_flip, golden.margins[i]);
      }
      parts[s].tokens = {golden.ids[i]};
    }
    if (i + 1 == continuations[0].ids.size()) return figures;
    logits = runner.Run(kernels::Lane::kDecode, parts, false);
  }
}

}  // namespace ebb::model
