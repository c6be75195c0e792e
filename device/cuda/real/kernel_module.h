// Names an object file of kernels to the library. The build puts this header before each .cu file.
//
// The driver loads kernels when they are first used, which must not happen while a graph is
// captured or beside running work. Each .cu file is a module of its own; an empty kernel in it is
// the handle by which LoadKernels finds the module and loads all of it.
#pragma once

namespace ebb::device {

// Objects of static storage only: makes itself known when the library is loaded.
class KernelModule {
 public:
  explicit KernelModule(const void* anchor) : anchor_(anchor), next_(first_) { first_ = this; }

  const void* anchor() const { return anchor_; }
  const KernelModule* next() const { return next_; }
  static const KernelModule* first() { return first_; }

 private:
  static const KernelModule* first_;

  const void* const anchor_;
  const KernelModule* const next_;
};

}  // namespace ebb::device

#ifdef __CUDACC__
namespace {

__global__ void EbbModuleAnchor() {}

const ebb::device::KernelModule ebb_kernel_module(reinterpret_cast<const void*>(&EbbModuleAnchor));

}  // namespace
#endif
