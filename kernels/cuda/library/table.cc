#include "kernels/cuda/library/table.h"

#include "device/cuda/device_table.h"
#include "device/cuda/stream_internal.h"
#include "kernels/cuda/ops.h"

namespace ebb::kernels::cuda {
namespace {

// An operation as the table has it: on a lost device it answers so at once, and what it calls works
// in the stream's context.
template <typename Op, int32_t (*launch)(EbbCudaStream*, const Op*)>
int32_t Enter(EbbCudaStream* stream, const Op* op) {
  const int32_t code = device::EnterStream(stream);
  return code == EBB_CUDA_OK ? launch(stream, op) : code;
}

EbbCudaApi MakeTable() {
  EbbCudaApi api = {};
  api.abi = EBB_CUDA_ABI;
  api.table_bytes = sizeof(EbbCudaApi);
  device::SetDeviceEntries(&api);
  api.embed = Enter<EbbCudaEmbed, LaunchEmbed>;
  api.rms_norm = Enter<EbbCudaRmsNorm, LaunchRmsNorm>;
  api.linear = Enter<EbbCudaLinear, LaunchLinear>;
  api.linear_scratch_bytes = LinearScratchBytes;
  api.rope_store = Enter<EbbCudaRopeStore, LaunchRopeStore>;
  api.prefill_attention = Enter<EbbCudaPrefillAttention, LaunchPrefillAttention>;
  api.decode_attention = Enter<EbbCudaDecodeAttention, LaunchDecodeAttention>;
  api.swiglu = Enter<EbbCudaSwiGlu, LaunchSwiGlu>;
  api.sample = Enter<EbbCudaSample, LaunchSample>;
  api.sample_scratch_bytes = SampleScratchBytes;
  api.adjust_logits = Enter<EbbCudaAdjustLogits, LaunchAdjustLogits>;
  api.fill_random = Enter<EbbCudaFillRandom, LaunchFillRandom>;
  return api;
}

}  // namespace

const EbbCudaApi* Table() {
  static const EbbCudaApi api = MakeTable();
  return &api;
}

}  // namespace ebb::kernels::cuda
