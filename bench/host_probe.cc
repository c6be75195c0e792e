#include "bench/host_probe.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

namespace ebb::bench {
namespace {

constexpr size_t kReadBytes = size_t{256} << 20;
constexpr size_t kSliceBytes = size_t{32} << 20;  // Read in one run; the next run takes the next.
constexpr int kRuns = 32;
constexpr int64_t kProductLoops = 400'000;

// Written from one lane of every probe, so that the work is not removed.
std::atomic<uint64_t> sink;

double Seconds(const std::function<void(int thread)>& work, int threads) {
  std::atomic<int> ready{0};
  std::vector<std::thread> others;
  const auto start_together = [&](int thread) {
    ready.fetch_add(1);
    while (ready.load() < threads) std::this_thread::yield();
    work(thread);
  };
  for (int t = 1; t < threads; ++t) others.emplace_back(start_together, t);
  const auto begin = std::chrono::steady_clock::now();
  start_together(0);
  for (std::thread& other : others) other.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double Best(const std::function<void(int run, int thread)>& work, int threads) {
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRuns; ++run) {
    best = std::min(best, Seconds([&](int thread) { work(run, thread); }, threads));
  }
  return best;
}

__attribute__((target("avx512f,avx512vnni"))) void Products512(int64_t loops) {
  __m512i sums[12];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi32(static_cast<int>(loops));
  const __m512i b = _mm512_set1_epi32(0x01020304);
  for (int64_t i = 0; i < loops; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  }
  for (auto& sum : sums) sink.fetch_add(static_cast<uint64_t>(_mm512_reduce_add_epi32(sum)));
}

__attribute__((target("avx2"))) void Products256(int64_t loops) {
  __m256i sums[8];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  const __m256i b = _mm256_set1_epi32(0x01020304);
  __m256i a = _mm256_set1_epi32(static_cast<int>(loops));
  for (int64_t i = 0; i < loops; ++i) {
#pragma GCC unroll 8
    for (auto& sum : sums) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
    a = _mm256_xor_si256(a, sums[0]);
  }
  for (auto& sum : sums) sink.fetch_add(static_cast<uint64_t>(_mm256_extract_epi32(sum, 0)));
}

__attribute__((target("avx2"))) uint64_t Read(const uint8_t* data, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i < bytes; i += 128) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      sums[j] = _mm256_xor_si256(
          sums[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32 * j)));
    }
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0));
}

}  // namespace

HostLimits ProbeHost(int threads) {
  HostLimits limits;
  limits.threads = threads;
  std::unique_ptr<uint8_t, decltype(&std::free)> memory(
      static_cast<uint8_t*>(std::aligned_alloc(size_t{2} << 20, kReadBytes)), &std::free);
  std::memset(memory.get(), 1, kReadBytes);
  const size_t part = kSliceBytes / static_cast<size_t>(threads) / 128 * 128;
  const double read_seconds = Best(
      [&](int run, int thread) {
        const size_t slice = static_cast<size_t>(run) * kSliceBytes % kReadBytes;
        sink.fetch_add(Read(memory.get() + slice + part * static_cast<size_t>(thread), part));
      },
      threads);
  limits.read_gb_per_s = static_cast<double>(part) * threads / read_seconds / 1e9;
  const bool vnni =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vnni") != 0;
  limits.int8_instruction = vnni ? "vpdpbusd zmm" : "vpmaddubsw ymm";
  const double macs_per_loop = vnni ? 12 * 64 : 8 * 32;
  const double seconds = Best(
      [&](int, int) { vnni ? Products512(kProductLoops) : Products256(kProductLoops); }, threads);
  limits.int8_gmac_per_s = macs_per_loop * kProductLoops * threads / seconds / 1e9;
  return limits;
}

}  // namespace ebb::bench
