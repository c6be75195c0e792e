// Matrix products of many rows on the device: cuBLASLt.
//
// Which of its algorithms serves a shape is asked once and kept: asking takes longer than queueing
// the product. Rows are asked for in buckets, as prompts come in every length; that the kept
// algorithm serves the exact number is checked each time, on the host.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "device/cuda/cuda_error.h"
#include "device/cuda/stream_internal.h"
#include "kernels/cuda/linear_parts.h"

namespace ebb::kernels::cuda {
namespace {

// Every row count up to kExactRows has its own algorithm, above that every kBucketRows.
constexpr int32_t kExactRows = 64;
constexpr int32_t kBucketRows = 64;
// Algorithms kept per device. A model has about five shapes, and a server a few hundred buckets;
// the bound is for callers that are not one server. When it is reached the memory is emptied.
constexpr size_t kKeptMax = 8192;
constexpr int kDevicesMax = 64;

int32_t BucketOf(int32_t rows) {
  return rows <= kExactRows ? rows : (rows + kBucketRows - 1) / kBucketRows * kBucketRows;
}

int32_t FromCublas(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return EBB_CUDA_OK;
  // What lies below may be the loss of the device, which must be kept as such.
  const cudaError_t error = cudaPeekAtLastError();
  if (status == CUBLAS_STATUS_EXECUTION_FAILED && error != cudaSuccess) {
    return device::FromCuda(error, call);
  }
  const EbbCudaCode code = status == CUBLAS_STATUS_ALLOC_FAILED    ? EBB_CUDA_OUT_OF_MEMORY
                           : status == CUBLAS_STATUS_NOT_SUPPORTED ? EBB_CUDA_UNSUPPORTED
                           : status == CUBLAS_STATUS_INVALID_VALUE ? EBB_CUDA_INVALID_ARGUMENT
                           : status == CUBLAS_STATUS_ARCH_MISMATCH ? EBB_CUDA_UNSUPPORTED
                                                                   : EBB_CUDA_INTERNAL;
  return device::SetError(code, std::string("linear: ") + call + ": " +
                                    cublasLtGetStatusName(status) + " (" +
                                    cublasLtGetStatusString(status) + ")");
}

#define EBB_RETURN_IF_CUBLAS(call, name)             \
  do {                                               \
    const int32_t ebb_code = FromCublas(call, name); \
    if (ebb_code != EBB_CUDA_OK) return ebb_code;    \
  } while (false)

// The product as cuBLASLt sees it. Its matrices are column-major, so that ours are its transposed
// ones: y^T [outputs, rows] = op(W^T) x^T with W^T [inputs, outputs], x^T [inputs, rows].
struct Product {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t weight;
  cublasLtMatrixLayoutOpaque_t x;
  cublasLtMatrixLayoutOpaque_t y;
};

int32_t Describe(const EbbCudaLinear& op, int32_t rows, Product* product) {
  const auto outputs = static_cast<uint64_t>(op.outputs);
  const auto inputs = static_cast<uint64_t>(op.inputs);
  const cudaDataType_t output_type = op.output == EBB_CUDA_BF16 ? CUDA_R_16BF : CUDA_R_32F;
  EBB_RETURN_IF_CUBLAS(cublasLtMatmulDescInit(&product->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                       "cublasLtMatmulDescInit");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  EBB_RETURN_IF_CUBLAS(
      cublasLtMatmulDescSetAttribute(&product->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                     sizeof(transposed)),
      "cublasLtMatmulDescSetAttribute");
  if (op.sm_target > 0) {
    EBB_RETURN_IF_CUBLAS(
        cublasLtMatmulDescSetAttribute(&product->operation, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET,
                                       &op.sm_target, sizeof(op.sm_target)),
        "cublasLtMatmulDescSetAttribute");
  }
  EBB_RETURN_IF_CUBLAS(
      cublasLtMatrixLayoutInit(&product->weight, CUDA_R_16BF, inputs, outputs, op.inputs),
      "cublasLtMatrixLayoutInit");
  EBB_RETURN_IF_CUBLAS(cublasLtMatrixLayoutInit(&product->x, CUDA_R_16BF, inputs,
                                                static_cast<uint64_t>(rows), op.inputs),
                       "cublasLtMatrixLayoutInit");
  EBB_RETURN_IF_CUBLAS(cublasLtMatrixLayoutInit(&product->y, output_type, outputs,
                                                static_cast<uint64_t>(rows), op.outputs),
                       "cublasLtMatrixLayoutInit");
  return EBB_CUDA_OK;
}

// Of one device: the handle, and the algorithms kept. Thread-safe. Lives until the process ends, as
// the library does.
class CublasLt {
 public:
  // Makes the handle at the first call, in the calling thread's context.
  int32_t Handle(cublasLtHandle_t* handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (handle_ == nullptr) EBB_RETURN_IF_CUBLAS(cublasLtCreate(&handle_), "cublasLtCreate");
    *handle = handle_;
    return EBB_CUDA_OK;
  }

  // An algorithm for exactly this product.
  int32_t Find(cublasLtHandle_t handle, const EbbCudaLinear& op, Product& product,
               cublasLtMatmulAlgo_t* algorithm) {
    const Key key(op.outputs, op.inputs, BucketOf(op.rows), op.output, op.sm_target,
                  op.scratch_bytes);
    if (Kept(key, algorithm) && Serves(handle, op, product, *algorithm)) return EBB_CUDA_OK;
    Product bucket;
    int32_t code = Describe(op, BucketOf(op.rows), &bucket);
    if (code == EBB_CUDA_OK) code = Ask(handle, op, bucket, algorithm);
    if (code != EBB_CUDA_OK) return code;
    Keep(key, *algorithm);
    if (Serves(handle, op, product, *algorithm)) return EBB_CUDA_OK;
    return Ask(handle, op, product, algorithm);  // Rare, and not kept.
  }

 private:
  // outputs, inputs, rows bucket, output type, SM target, workspace
  using Key = std::tuple<int32_t, int32_t, int32_t, int32_t, int32_t, int64_t>;

  bool Kept(const Key& key, cublasLtMatmulAlgo_t* algorithm) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = kept_.find(key);
    if (found == kept_.end()) return false;
    *algorithm = found->second;
    return true;
  }

  void Keep(const Key& key, const cublasLtMatmulAlgo_t& algorithm) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (kept_.size() >= kKeptMax) kept_.clear();
    kept_[key] = algorithm;
  }

  static bool Serves(cublasLtHandle_t handle, const EbbCudaLinear& op, Product& product,
                     const cublasLtMatmulAlgo_t& algorithm) {
    cublasLtMatmulHeuristicResult_t result = {};
    return cublasLtMatmulAlgoCheck(handle, &product.operation, &product.weight, &product.x,
                                   &product.y, &product.y, &algorithm,
                                   &result) == CUBLAS_STATUS_SUCCESS &&
           result.state == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= static_cast<size_t>(op.scratch_bytes);
  }

  static int32_t Ask(cublasLtHandle_t handle, const EbbCudaLinear& op, Product& product,
                     cublasLtMatmulAlgo_t* algorithm) {
    cublasLtMatmulPreferenceOpaque_t preference;
    EBB_RETURN_IF_CUBLAS(cublasLtMatmulPreferenceInit(&preference), "cublasLtMatmulPreferenceInit");
    const auto workspace_bytes = static_cast<uint64_t>(op.scratch_bytes);
    EBB_RETURN_IF_CUBLAS(
        cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &workspace_bytes, sizeof(workspace_bytes)),
        "cublasLtMatmulPreferenceSetAttribute");
    // What LaunchLinear asks of all pointers; the algorithm is kept for other pointers than these.
    const uint32_t alignment = 16;
    for (const cublasLtMatmulPreferenceAttributes_t attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      EBB_RETURN_IF_CUBLAS(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &alignment,
                                                                sizeof(alignment)),
                           "cublasLtMatmulPreferenceSetAttribute");
    }
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    EBB_RETURN_IF_CUBLAS(
        cublasLtMatmulAlgoGetHeuristic(handle, &product.operation, &product.weight, &product.x,
                                       &product.y, &product.y, &preference, 1, &result, &found),
        "cublasLtMatmulAlgoGetHeuristic");
    if (found == 0 || result.state != CUBLAS_STATUS_SUCCESS) {
      return device::SetError(EBB_CUDA_UNSUPPORTED, "linear: cuBLASLt has no algorithm for " +
                                                        std::to_string(op.rows) + " rows, " +
                                                        std::to_string(op.outputs) + " outputs, " +
                                                        std::to_string(op.inputs) + " inputs");
    }
    *algorithm = result.algo;
    return EBB_CUDA_OK;
  }

  std::mutex mutex_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, cublasLtMatmulAlgo_t> kept_;
};

// Of the device that the calling thread has entered.
int32_t Current(CublasLt** current) {
  static std::array<CublasLt, kDevicesMax> devices;
  int index = 0;
  const int32_t code = device::FromCuda(cudaGetDevice(&index), "cudaGetDevice");
  if (code != EBB_CUDA_OK) return code;
  if (index >= kDevicesMax) {
    return device::SetError(EBB_CUDA_UNSUPPORTED, "linear: more than 64 devices");
  }
  *current = &devices[static_cast<size_t>(index)];
  return EBB_CUDA_OK;
}

}  // namespace

int32_t LaunchLinearLibrary(EbbCudaStream* stream, const EbbCudaLinear& op) {
  CublasLt* cublas = nullptr;
  cublasLtHandle_t handle = nullptr;
  Product product;
  cublasLtMatmulAlgo_t algorithm;
  int32_t code = Current(&cublas);
  if (code == EBB_CUDA_OK) code = cublas->Handle(&handle);
  if (code == EBB_CUDA_OK) code = Describe(op, op.rows, &product);
  if (code == EBB_CUDA_OK) code = cublas->Find(handle, op, product, &algorithm);
  if (code != EBB_CUDA_OK) return code;
  const float one = 1;
  const float beta = op.output == EBB_CUDA_F32_ACCUMULATE ? 1 : 0;
  return FromCublas(
      cublasLtMatmul(handle, &product.operation, &one, op.weight, &product.weight, op.x, &product.x,
                     &beta, op.y, &product.y, op.y, &product.y, &algorithm, op.scratch,
                     static_cast<size_t>(op.scratch_bytes), device::NativeStream(stream)),
      "cublasLtMatmul");
}

}  // namespace ebb::kernels::cuda
