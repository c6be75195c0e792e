#include "bench/gpu/kv_pool.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace ebb::bench {
namespace {

constexpr int64_t kPageBytesMin = int64_t{2} << 20;  // The granularity of today's devices.

}  // namespace

KvPool::KvPool(Gpu* gpu, const Options& options) : gpu_(gpu) {
  const int64_t part =
      int64_t{2} * options.kv_heads * options.head_dim * options.block_tokens;  // Keys of a block.
  kv_.layers = options.layers;
  kv_.kv_heads = options.kv_heads;
  kv_.head_dim = options.head_dim;
  kv_.block_tokens = options.block_tokens;
  kv_.value_offset_bytes = part;
  kv_.index_stride_bytes = 2 * part;
  int64_t granularity = kPageBytesMin;
  if (options.elastic) {
    CHECK(options.layout == KvLayout::kUniform);
    vmm_ = ValueOrDie(device::CudaVmm::Create(&gpu->device()));
    granularity = vmm_->granularity_bytes();
  }
  switch (options.layout) {
    case KvLayout::kUniform: {
      // A page is a multiple of the granularity and of an index's stride; it holds as many blocks
      // of all layers as fit, at least four.
      const int64_t unit = std::lcm(granularity, 2 * part);
      const int64_t block_bytes = 2 * part * options.layers;
      page_bytes_ = (4 * block_bytes + unit - 1) / unit * unit;
      blocks_per_page_ = static_cast<int32_t>(page_bytes_ / block_bytes);
      indices_per_page_ = static_cast<int32_t>(page_bytes_ / (2 * part));
      kv_.layer_stride_bytes = blocks_per_page_ * 2 * part;
      break;
    }
    case KvLayout::kPerLayer:
      page_bytes_ = 2 * part * options.layers;
      kv_.layer_stride_bytes = options.blocks * 2 * part;
      break;
    case KvLayout::kBlockMajor:
      page_bytes_ = 2 * part * options.layers;
      kv_.layer_stride_bytes = 2 * part;
      kv_.index_stride_bytes = page_bytes_;
      break;
  }
  pages_ = (options.blocks + blocks_per_page_ - 1) / blocks_per_page_;
  if (options.elastic) {
    base_ = ValueOrDie(vmm_->Reserve((pages_ + 1) * page_bytes_));
    handles_.resize(static_cast<size_t>(pages_ + 1));
    for (int64_t page = 0; page <= pages_; ++page) MapPage(page);
  } else {
    fixed_ = gpu->Alloc(pages_ * page_bytes_);
    base_ = fixed_.data();
  }
  kv_.base = base_;
  EbbCudaFillRandom op = {};
  op.out = reinterpret_cast<uint16_t*>(base_);
  op.count = bytes() / 2;
  op.scale = 1;
  gpu->Check(gpu->api().fill_random(gpu->stream(), &op));
  gpu->Synchronize();
}

KvPool::~KvPool() {
  if (vmm_ == nullptr) return;
  gpu_->Synchronize();
  for (int64_t page = 0; page <= pages_; ++page) UnmapPage(page);
  OrDie(vmm_->Free(base_, (pages_ + 1) * page_bytes_));
}

void KvPool::MapPage(int64_t page) {
  uint8_t* const address = base_ + page * page_bytes_;
  device::VmmHandle& handle = handles_[static_cast<size_t>(page)];
  handle = ValueOrDie(vmm_->Create(page_bytes_));
  OrDie(vmm_->Map(address, page_bytes_, handle));
  OrDie(vmm_->SetAccess(address, page_bytes_));
}

void KvPool::UnmapPage(int64_t page) {
  OrDie(vmm_->Unmap(base_ + page * page_bytes_, page_bytes_));
  OrDie(vmm_->Release(handles_[static_cast<size_t>(page)]));
}

void KvPool::Flip() {
  CHECK(vmm_ != nullptr);
  UnmapPage(pages_);
  MapPage(pages_);
}

BlockTables KvPool::TablesOf(int32_t sequences, int32_t blocks_each) const {
  CHECK_LE(int64_t{sequences} * blocks_each, pages_ * blocks_per_page_);
  BlockTables tables(static_cast<size_t>(sequences));
  for (int32_t s = 0; s < sequences; ++s) {
    for (int32_t b = 0; b < blocks_each; ++b) {
      tables[static_cast<size_t>(s)].push_back(IndexOf(b * sequences + s));
    }
  }
  return tables;
}

}  // namespace ebb::bench
