// How fast each operation of a backend is, beside this host's measured limits.
//
//   bazel run -c opt //bench:kernels_bench -- [--path auto] [--threads N] [--filter TEXT]
//
// Matrices are SmolLM2-135M's shapes, and 2048 x 2048 in every quantised format. "hot" multiplies
// one matrix again and again (it stays in the caches); "cold" goes through 192 MiB of them, as a
// forward pass does.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/rng.h"
#include "bench/host_probe.h"
#include "kernels/backend_factory.h"
#include "kernels/dequantize.h"
#include "kernels/quant_block.h"

namespace ebb::bench {
namespace {

using kernels::Backend;
using kernels::DType;
using kernels::Lane;
using kernels::Matrix;

struct Options {
  std::string path = "auto";
  int threads = 2;
  std::string filter;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--path") {
      options.path = argv[i + 1];
    } else if (flag == "--filter") {
      options.filter = argv[i + 1];
    } else if (flag == "--threads" && absl::SimpleAtoi(argv[i + 1], &options.threads) &&
               options.threads > 0) {
      continue;
    } else {
      std::cerr << "usage: kernels_bench [--path P] [--threads N] [--filter TEXT]\n";
      std::exit(64);
    }
  }
  return options;
}

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
template <typename T>
class Buffer {
 public:
  explicit Buffer(size_t count)
      : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64))),
        count_(count) {
    std::memset(data_.get(), 0, count * sizeof(T));
  }
  T* data() { return data_.get(); }
  absl::Span<T> span() { return {data_.get(), count_}; }

 private:
  std::unique_ptr<T, FreeDeleter> data_;
  size_t count_;
};

// Random quants; scales of 1 (their value does not matter for speed, denormals would).
std::unique_ptr<Matrix> RandomMatrix(Backend* backend, DType dtype, int64_t rows, int64_t columns) {
  const kernels::DTypeTraits traits = kernels::TraitsOf(dtype);
  const int64_t blocks = rows * columns / traits.block_elements;
  std::vector<uint8_t> bytes(static_cast<size_t>(blocks * traits.block_bytes));
  base::Rng rng(1);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.Bits() & 0x3B);
  for (int64_t b = 0; b < blocks && traits.block_elements > 1; ++b) {
    const uint16_t one = kernels::FloatToHalf(1.0f);
    uint8_t* const scales = bytes.data() + b * traits.block_bytes + kernels::QuantScalePlace(dtype);
    std::memcpy(scales, &one, 2);
    if (kernels::QuantTraitsOf(dtype).has_minimum) std::memcpy(scales + 2, &one, 2);
  }
  auto matrix = backend->LoadMatrix({dtype, rows, columns, bytes});
  CHECK(matrix.ok());
  return std::move(matrix).value();
}

// The least seconds of one call, over about a quarter of a second.
template <typename Work>
double LeastSeconds(const Work& work) {
  using Clock = std::chrono::steady_clock;
  double least = std::numeric_limits<double>::infinity();
  const auto until = Clock::now() + std::chrono::milliseconds(250);
  do {
    const auto begin = Clock::now();
    work();
    least = std::min(least, std::chrono::duration<double>(Clock::now() - begin).count());
  } while (Clock::now() < until);
  return least;
}

// The median over many calls, each with the next of the matrices: the least would be one that
// happened to find its matrix in a cache.
template <typename Work>
double MedianSeconds(const std::vector<std::unique_ptr<Matrix>>& matrices, const Work& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (int round = 0; round < 4; ++round) {
    for (const auto& matrix : matrices) {
      const auto begin = Clock::now();
      work(*matrix);
      seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return seconds[seconds.size() / 2];
}

class Bench {
 public:
  Bench(Backend* backend, const HostLimits& host, const Options& options)
      : backend_(backend), host_(host), options_(options) {}

  void Run() {
    std::printf("path %s, %d threads; read %.1f GB/s, %s %.0f GMAC/s\n",
                std::string(backend_->name()).c_str(), options_.threads, host_.read_gb_per_s,
                host_.int8_instruction, host_.int8_gmac_per_s);
    std::printf("%-40s %10s %8s %8s %8s %8s\n", "", "us", "GB/s", "of read", "GMAC/s", "of peak");
    for (DType dtype : {DType::kQ4_1, DType::kQ8_0, DType::kQ4_0, DType::kF16}) {
      for (const int32_t rows : {1, 4, 16, 512}) {
        Linear(dtype, 1536, 576, rows, false);
        Linear(dtype, 576, 1536, rows, false);
        if (rows < 512) Linear(dtype, 1536, 576, rows, true);
      }
    }
    Formats();
    for (const int32_t positions : {256, 1024}) {
      Attention(1, 1, positions);
      Attention(16, 1, positions);
    }
    for (const int32_t positions : {512, 2048, 8192}) Attention(1, 512, positions);
    RopeAndStore(1);
    RopeAndStore(512);
    HandOff();
  }

 private:
  void Print(const std::string& name, double seconds, double bytes, double macs) {
    const double gb = bytes / seconds / 1e9;
    const double gmac = macs / seconds / 1e9;
    std::printf("%-40s %10.2f %8.1f %7.0f%% %8.1f %7.1f%%\n", name.c_str(), seconds * 1e6, gb,
                gb / host_.read_gb_per_s * 100, gmac, gmac / host_.int8_gmac_per_s * 100);
    std::fflush(stdout);
  }

  bool Skip(const std::string& name) const {
    return name.find(options_.filter) == std::string::npos;
  }

  void Linear(DType dtype, int64_t outputs, int64_t columns, int32_t rows, bool cold) {
    const std::string name = std::string(kernels::TraitsOf(dtype).name) + " " +
                             std::to_string(outputs) + "x" + std::to_string(columns) + " rows " +
                             std::to_string(rows) + (cold ? " cold" : " hot");
    if (Skip(name)) return;
    std::vector<std::unique_ptr<Matrix>> matrices;
    int64_t bytes = 0;
    do {
      matrices.push_back(RandomMatrix(backend_, dtype, outputs, columns));
      bytes += matrices.back()->held_bytes();
    } while (cold && bytes < int64_t{192} << 20);
    Buffer<float> x(static_cast<size_t>(rows * columns));
    for (float& value : x.span()) value = 0.5f;
    Buffer<float> y(static_cast<size_t>(rows * outputs));
    Buffer<uint8_t> scratch(backend_->ScratchBytes(rows, columns));
    const Lane lane = rows > 64 ? Lane::kPrefill : Lane::kDecode;
    const auto multiply = [&](const Matrix& matrix) {
      const kernels::LinearOutput output{&matrix, y.data(), false};
      backend_->Linear({lane, scratch.span()}, x.data(), rows, {}, {&output, 1});
    };
    backend_->BeginStep(lane);
    const double seconds =
        cold ? MedianSeconds(matrices, multiply) : LeastSeconds([&] { multiply(*matrices[0]); });
    backend_->EndStep(lane);
    Print(name, seconds, static_cast<double>(matrices[0]->held_bytes()),
          static_cast<double>(outputs * columns) * rows);
  }

  // The quantised formats on one shape, whose rows are whole blocks of each.
  void Formats() {
    for (const int32_t rows : {1, 8, 64}) {
      for (DType dtype : {DType::kQ4_1, DType::kQ4_0, DType::kQ4_K, DType::kQ5_0, DType::kQ5_1,
                          DType::kQ5_K, DType::kQ6_K, DType::kQ8_0}) {
        // With few rows the weights are what is waited for, with many the products.
        Linear(dtype, 2048, 2048, rows, rows < 64);
      }
    }
  }

  // 9 heads over 3 key heads of 64, f16. The last `rows` positions of each sequence ask.
  void Attention(int32_t sequences, int32_t rows, int32_t positions) {
    const std::string name = "attention " + std::to_string(sequences) + " x " +
                             std::to_string(rows) + " rows over " + std::to_string(positions);
    if (Skip(name)) return;
    Steps steps(sequences, rows, positions);
    Buffer<uint8_t> scratch(backend_->ScratchBytes(sequences * rows, 1536));
    const Lane lane = rows > 1 ? Lane::kPrefill : Lane::kDecode;
    const double seconds = LeastSeconds([&] {
      backend_->Attention({lane, scratch.span()}, steps.rows, 0, 9, steps.q.data(), steps.kv,
                          steps.out.data());
    });
    double pairs = 0;
    for (int32_t r = 0; r < rows; ++r) pairs += positions - r;
    Print(name, seconds, 2.0 * 2 * 3 * 64 * sequences * positions, 2 * pairs * sequences * 9 * 64);
  }

  void RopeAndStore(int32_t rows) {
    const std::string name = "rope and store, rows " + std::to_string(rows);
    if (Skip(name)) return;
    Steps steps(1, rows, rows);
    std::vector<float> frequencies(32, 0.1f);
    const double seconds = LeastSeconds([&] {
      backend_->RopeAndStore({rows > 1 ? Lane::kPrefill : Lane::kDecode, {}}, steps.rows,
                             {frequencies}, 0, 9, steps.q.data(), steps.k.data(), steps.v.data(),
                             steps.kv);
    });
    Print(name, seconds, rows * 4.0 * 64 * 15, 0);
  }

  // What a parallel section costs when there is next to nothing to do in it.
  void HandOff() {
    const std::string name = "hand-off of a section";
    if (Skip(name)) return;
    const auto matrix = RandomMatrix(backend_, DType::kQ4_1, 64, 32);
    Buffer<float> x(32);
    Buffer<float> y(64);
    Buffer<uint8_t> scratch(backend_->ScratchBytes(1, 32));
    constexpr int kSections = 1000;
    const kernels::LinearOutput output{matrix.get(), y.data(), false};
    const double seconds = LeastSeconds([&] {
      backend_->BeginStep(Lane::kDecode);
      for (int i = 0; i < kSections; ++i) {
        const kernels::LinearOutput outputs[] = {output, output};
        backend_->Linear({Lane::kDecode, scratch.span()}, x.data(), 1, {}, outputs);
      }
      backend_->EndStep(Lane::kDecode);
    });
    Print(name, seconds / kSections, 0, 0);
  }

  struct Steps {
    Steps(int32_t sequences, int32_t row_count, int32_t count)
        : memory(Bytes(sequences, count)),
          q(static_cast<size_t>(sequences) * row_count * 576),
          k(static_cast<size_t>(sequences) * row_count * 192),
          v(static_cast<size_t>(sequences) * row_count * 192),
          out(static_cast<size_t>(sequences) * row_count * 576) {
      kv.base = memory.data();
      kv.dtype = DType::kF16;
      kv.layers = 1;
      kv.kv_heads = 3;
      kv.head_dim = 64;
      kv.block_tokens = 16;
      kv.blocks_per_page = 1;
      kv.layer_block_bytes = kernels::PagedKv::LayerBlockBytes(kv.dtype, 3, 64, 16);
      const int32_t blocks = (count + 15) / 16;
      indices.resize(static_cast<size_t>(sequences * blocks));
      for (int32_t s = 0; s < sequences; ++s) {
        tables.push_back(indices.data() + s * blocks);
        for (int32_t b = 0; b < blocks; ++b) indices[s * blocks + b] = b * sequences + s;
        for (int32_t r = 0; r < row_count; ++r) {
          positions.push_back(count - row_count + r);
          sequence_of_row.push_back(s);
        }
      }
      rows = {sequences * row_count, sequences, positions.data(), sequence_of_row.data(),
              tables.data()};
    }
    static size_t Bytes(int32_t sequences, int32_t count) {
      return static_cast<size_t>(sequences) * ((count + 15) / 16) *
             static_cast<size_t>(kernels::PagedKv::LayerBlockBytes(DType::kF16, 3, 64, 16));
    }
    Buffer<uint8_t> memory;
    Buffer<float> q, k, v, out;
    std::vector<int32_t> indices, positions, sequence_of_row;
    std::vector<const int32_t*> tables;
    kernels::PagedKv kv;
    kernels::BatchRows rows;
  };

  Backend* const backend_;
  const HostLimits host_;
  const Options options_;
};

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  auto backend = kernels::MakeCpuBackend(options.path, options.threads);
  if (!backend.ok()) {
    std::cerr << backend.status() << "\n";
    return 65;
  }
  Bench((*backend).get(), ProbeHost(options.threads), options).Run();
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }
