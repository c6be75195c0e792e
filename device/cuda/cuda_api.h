// The interface between Ebb and its CUDA library (libebb_cuda.so), which is loaded at run time.
//
//   server binary                                    libebb_cuda.so
//   CudaLibrary, CudaVmm, CudaStream, CudaLlama ---> EbbCudaOpenApi() --> table of functions
//                                                    (CUDA runtime, cuBLASLt; libcuda by dlopen)
//
// Plain C: integer codes, plain structs, opaque handles. The library exports this one entry. A fake
// of the same table runs the same kernels on the host (kernels/cuda/simt), for tests.
//
// Every function that can fail answers an EbbCudaCode; EbbCudaApi::error_text tells the calling
// thread's last failure in words. Work functions (those that take a stream) only queue: their
// pointers name device memory, which must stay until the work has completed. bf16 numbers are
// passed as uint16_t. Shapes are [rows, columns], row-major; weights [out, in].
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Raised with every change of this file.
#define EBB_CUDA_ABI 3u

typedef enum EbbCudaCode {
  EBB_CUDA_OK = 0,
  EBB_CUDA_INVALID_ARGUMENT = 1,
  EBB_CUDA_OUT_OF_MEMORY = 2,
  EBB_CUDA_NO_DRIVER = 3,   // libcuda.so.1 is not on this host.
  EBB_CUDA_OLD_DRIVER = 4,  // It is too old for this toolkit; error_text names both versions.
  EBB_CUDA_NO_DEVICE = 5,
  EBB_CUDA_UNSUPPORTED = 6,  // The device, or the driver on it, lacks something that is named.
  EBB_CUDA_NOT_READY = 7,    // event_query alone: the work before the event still runs.
  EBB_CUDA_DEVICE_LOST = 8,  // Sticky: no call on this device works again in this process.
  EBB_CUDA_INTERNAL = 9,
} EbbCudaCode;

typedef struct EbbCudaContext EbbCudaContext;  // One device, opened.
typedef struct EbbCudaStream EbbCudaStream;
typedef struct EbbCudaEvent EbbCudaEvent;
typedef struct EbbCudaGraph EbbCudaGraph;  // Captured and instantiated.

typedef struct EbbCudaDriverInfo {
  int32_t driver_version;   // 13000 is CUDA 13.0.
  int32_t toolkit_version;  // Of the build.
  int32_t device_count;
} EbbCudaDriverInfo;

typedef struct EbbCudaDeviceInfo {
  char name[128];
  char uuid[48];  // "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"; "MIG-..." of an instance.
  int32_t compute_major;
  int32_t compute_minor;
  int32_t sm_count;
  int64_t l2_bytes;
  int64_t memory_bytes;
  int64_t memory_bytes_per_s;  // Of its memory by clock and bus width; 0 where the driver has none.
} EbbCudaDeviceInfo;

// Where keys and values lie, bf16. The part of block `index` in `layer` starts at
// base + layer * layer_stride_bytes + index * index_stride_bytes: keys
// [kv_heads, block_tokens, head_dim], and values of the same shape value_offset_bytes further.
typedef struct EbbCudaKv {
  uint8_t* base;
  int64_t layer_stride_bytes;
  int64_t index_stride_bytes;
  int64_t value_offset_bytes;
  int32_t layers;
  int32_t kv_heads;
  int32_t head_dim;      // 32, 64, 96 or 128.
  int32_t block_tokens;  // A power of two, 8 to 256.
} EbbCudaKv;

// The block tables of a step, in device memory: sequence s owns indices[begins[s] ..].
typedef struct EbbCudaTables {
  const int32_t* indices;
  const int32_t* begins;  // [sequences]
} EbbCudaTables;

// x[r, :] = table[ids[r], :]. Ids are in range (the caller checks).
typedef struct EbbCudaEmbed {
  const int32_t* ids;     // [rows]
  const uint16_t* table;  // [vocabulary, width] bf16
  float* x;               // [rows, width]
  int32_t rows;
  int32_t width;  // A multiple of 8.
} EbbCudaEmbed;

// out[r, :] = x[g, :] * weight / sqrt(mean(x[g, :]^2) + epsilon), g = gather[r], or r when null.
typedef struct EbbCudaRmsNorm {
  const float* x;         // [*, width]
  const float* weight;    // [width]
  const int32_t* gather;  // [rows], or null
  uint16_t* out;          // [rows, width] bf16
  int32_t rows;
  int32_t width;  // A multiple of 8.
  float epsilon;
} EbbCudaRmsNorm;

typedef enum EbbCudaLinearOutput {
  EBB_CUDA_BF16 = 0,            // y = W x, rounded to bf16
  EBB_CUDA_F32 = 1,             // y = W x
  EBB_CUDA_F32_ACCUMULATE = 2,  // y += W x
} EbbCudaLinearOutput;

// y [rows, outputs] from x [rows, inputs] bf16 and weight [outputs, inputs] bf16, summed in
// float32. Few rows take a matrix-vector kernel, more take cuBLASLt. With `invariant` set one
// kernel serves all row counts, and a row's bits depend on nothing but the row.
typedef struct EbbCudaLinear {
  const uint16_t* weight;
  const uint16_t* x;
  void* y;
  uint8_t* scratch;  // Of this stream; cuBLASLt's workspace. Aligned to 256.
  int64_t scratch_bytes;
  int32_t rows;
  int32_t outputs;  // A multiple of 8.
  int32_t inputs;   // A multiple of 8.
  EbbCudaLinearOutput output;
  int32_t sm_target;  // SMs that a matrix product may plan for; 0: all.
  int32_t invariant;  // 0 or 1.
} EbbCudaLinear;

// For each row: adds bias; norms each q and k head (RMS over head_dim) where norms are given; turns
// q and k by the row's position, pair i being dimensions (2i, 2i + 1) of a head and its angle
// position * frequencies[i]; stores k and v in the row's block, and q in q_out. A row with a
// negative position is skipped.
typedef struct EbbCudaRopeStore {
  const uint16_t* qkv;             // [rows, (heads + 2 * kv_heads) * head_dim] bf16: q, k, v
  const float* bias;               // [(heads + 2 * kv_heads) * head_dim], or null
  const float* q_norm;             // [head_dim], or null
  const float* k_norm;             // [head_dim], null exactly when q_norm is
  const float* frequencies;        // [pair_count]
  const int32_t* positions;        // [rows]
  const int32_t* sequence_of_row;  // [rows], an index into tables
  uint16_t* q_out;                 // [rows, heads * head_dim] bf16
  EbbCudaTables tables;
  EbbCudaKv kv;
  int32_t layer;
  int32_t rows;
  int32_t heads;
  int32_t pair_count;  // At most head_dim / 2.
  float norm_epsilon;
} EbbCudaRopeStore;

// A tile of query rows of one sequence: rows first_row .. first_row + row_count - 1 of the step, at
// consecutive positions from first_position.
typedef struct EbbCudaPrefillTile {
  int32_t sequence;
  int32_t first_row;
  int32_t row_count;  // At most EBB_CUDA_PREFILL_TILE_ROWS / (heads / kv_heads), at least 1.
  int32_t first_position;
} EbbCudaPrefillTile;

// Query rows of a tile times the query heads that share a key head (at least one row each).
#define EBB_CUDA_PREFILL_TILE_ROWS 128

// Causal attention of each row over positions 0 .. its own, scores scaled by 1 / sqrt(head_dim);
// heads / kv_heads adjacent query heads share a key head. A row's bits depend on its own query, its
// keys and values alone, not on its tile.
typedef struct EbbCudaPrefillAttention {
  const uint16_t* q;                // [rows, heads * head_dim] bf16
  uint16_t* out;                    // [rows, heads * head_dim] bf16
  const EbbCudaPrefillTile* tiles;  // [tile_count], the longest contexts first
  EbbCudaTables tables;
  EbbCudaKv kv;
  int32_t layer;
  int32_t heads;
  int32_t tile_count;
} EbbCudaPrefillAttention;

// A stretch of one sequence's positions, attended to by all heads of one key head at a time.
typedef struct EbbCudaDecodeSplit {
  int32_t lane;            // The sequence, and the row of q.
  int32_t first_position;  // A multiple of the block's tokens.
  int32_t token_count;
  int32_t slot;  // Where the partial result goes; splits of a lane take adjacent slots in order.
} EbbCudaDecodeSplit;

// What the decode kernels of a step work off; made by the host once per step, in device memory, so
// that a captured graph serves any step. Lanes with length 0 are skipped: their out rows are zero.
typedef struct EbbCudaDecodePlan {
  const int32_t* split_count;        // [1]
  const EbbCudaDecodeSplit* splits;  // [*split_count]
  const int32_t* slot_begins;        // [lanes + 1]: lane l's partial results, merged in this order
} EbbCudaDecodePlan;

typedef struct EbbCudaDecodeAttention {
  const uint16_t* q;  // [lanes, heads * head_dim] bf16
  uint16_t* out;      // [lanes, heads * head_dim] bf16
  EbbCudaDecodePlan plan;
  float* partials;       // [slots_max, heads, head_dim]
  float* partial_stats;  // [slots_max, heads, 2]: the maximum, the sum
  EbbCudaTables tables;
  EbbCudaKv kv;
  int32_t layer;
  int32_t heads;
  int32_t lanes;
  int32_t slots_max;  // Fixes the grid, so that a graph need not know the split count.
} EbbCudaDecodeAttention;

// out[r, i] = silu(gate_up[r, i]) * gate_up[r, ffn_width + i]
typedef struct EbbCudaSwiGlu {
  const uint16_t* gate_up;  // [rows, 2 * ffn_width] bf16
  uint16_t* out;            // [rows, ffn_width] bf16
  int32_t rows;
  int32_t ffn_width;  // A multiple of 8.
} EbbCudaSwiGlu;

// How one row of logits is read. Semantics, order of filters and ties are model/sampler.h's.
typedef struct EbbCudaSampling {
  double unit;        // The draw, in [0, 1).
  float temperature;  // 0: the most likely.
  float top_p;        // (0, 1]
  float min_p;        // [0, 1]
  int32_t top_k;      // 0: off.
  int32_t top_count;  // Alternatives with log-probabilities; -1: none, and no log-probability.
  int32_t target_id;  // >= 0: this row wants this token's log-probability.
  int32_t sample;     // 0 or 1: this row chooses a token.
  int32_t target_top_count;  // Alternatives beside the target's log-probability.
  int32_t banned_begin;      // Into EbbCudaSample::banned.
  int32_t banned_count;
} EbbCudaSampling;

#define EBB_CUDA_TOP_MAX 32  // The most alternatives.

typedef enum EbbCudaRowStatus {
  EBB_CUDA_ROW_OK = 0,
  EBB_CUDA_ROW_NAN = 1,       // A logit is NaN.
  EBB_CUDA_ROW_INFINITE = 2,  // A logit is +infinity.
  EBB_CUDA_ROW_EMPTY = 3,     // No token is left to choose.
} EbbCudaRowStatus;

typedef struct EbbCudaSampled {
  // With any log-probability: a token's is its logit less this.
  double log_total;
  int32_t status;  // EbbCudaRowStatus
  int32_t token_id;
  float logit;           // Of token_id, when top_count >= 0.
  float logprob;         // Likewise.
  float target_logprob;  // When target_id >= 0.
  // The most likely tokens, most likely first, the lowest id first among equals; as many as the
  // larger of top_count and target_top_count (or the vocabulary, if smaller).
  int32_t top_count;
  int32_t top_ids[EBB_CUDA_TOP_MAX];
  float top_logprobs[EBB_CUDA_TOP_MAX];
} EbbCudaSampled;

typedef struct EbbCudaSample {
  const float* logits;              // [rows, vocabulary]
  const EbbCudaSampling* sampling;  // [rows], in device memory
  const int32_t* banned;            // Token ids; those outside the vocabulary have no effect.
  EbbCudaSampled* out;              // [rows], in device memory
  uint8_t* scratch;                 // Of this stream. Aligned to 16.
  int64_t scratch_bytes;            // At least sample_scratch_bytes(rows, vocabulary).
  int32_t rows;
  int32_t vocabulary;
} EbbCudaSample;

// What happens to one token's logit: the semantics are those of model/logit_adjustments.h, bit for
// bit.
typedef struct EbbCudaLogitAdjustment {
  int32_t token_id;  // Outside the vocabulary: no effect.
  float bias;
  float repetition;
  float penalty;
} EbbCudaLogitAdjustment;

// A row's adjustments, of different tokens.
typedef struct EbbCudaAdjustedRow {
  int64_t begin;  // Into EbbCudaAdjustLogits::adjustments, and into before.
  int32_t count;
  int32_t row;
} EbbCudaAdjustedRow;

// Adjusts logits in place. All but the logits may lie in pinned host memory.
typedef struct EbbCudaAdjustLogits {
  float* logits;                              // [.., vocabulary]
  const EbbCudaAdjustedRow* rows;             // [row_count], each row at most once
  const EbbCudaLogitAdjustment* adjustments;  // Aligned to 16.
  float* before;  // What the logits were, one for each adjustment of a token of the vocabulary.
  int32_t row_count;
  int32_t count_max;  // Of a row; fixes the grid.
  int32_t vocabulary;
} EbbCudaAdjustLogits;

// out[i] = bf16 of scale * (a number in [-1, 1) that only (seed, first_index + i) fixes), the one
// that model/random_weights.h gives on the host.
typedef struct EbbCudaFillRandom {
  uint16_t* out;
  int64_t count;
  uint64_t first_index;
  uint64_t seed;
  float scale;
} EbbCudaFillRandom;

typedef struct EbbCudaApi {
  uint32_t abi;          // EBB_CUDA_ABI
  uint32_t table_bytes;  // sizeof(EbbCudaApi)
  const char* name;      // "cuda", "fake"

  // The calling thread's last failure: call, the driver's name for it, what it means. Never null.
  const char* (*error_text)(void);

  // ---- the host. Codes: NO_DRIVER, OLD_DRIVER, NO_DEVICE, UNSUPPORTED.
  int32_t (*find)(EbbCudaDriverInfo* info);
  int32_t (*device_info)(int32_t device, EbbCudaDeviceInfo* info);
  // Makes the device ready: loads every kernel, so that nothing loads in a capture or beside work.
  int32_t (*open)(int32_t device, EbbCudaContext** context);
  void (*close)(EbbCudaContext* context);
  // Whether kernels queued from now on use what compute capability 9.0 alone has; off at first.
  // Without effect on other devices.
  void (*use_hopper)(EbbCudaContext* context, int32_t on);

  // ---- memory
  int32_t (*memory_info)(EbbCudaContext* context, int64_t* free_bytes, int64_t* total_bytes);
  int32_t (*alloc)(EbbCudaContext* context, int64_t bytes, void** memory);
  int32_t (*free)(EbbCudaContext* context, void* memory);
  // Pinned: kernels read and write it at the same address, over the bus.
  int32_t (*host_alloc)(EbbCudaContext* context, int64_t bytes, void** memory);
  int32_t (*host_free)(EbbCudaContext* context, void* memory);

  // ---- virtual memory: the rules of device/vmm.h
  int32_t (*vmm_granularity)(EbbCudaContext* context, int64_t* bytes);
  int32_t (*vmm_reserve)(EbbCudaContext* context, int64_t bytes, uint8_t** address);
  int32_t (*vmm_free)(EbbCudaContext* context, uint8_t* address, int64_t bytes);
  int32_t (*vmm_create)(EbbCudaContext* context, int64_t bytes, uint64_t* handle);
  int32_t (*vmm_map)(EbbCudaContext* context, uint8_t* address, int64_t bytes, uint64_t handle);
  int32_t (*vmm_set_access)(EbbCudaContext* context, uint8_t* address, int64_t bytes);
  int32_t (*vmm_unmap)(EbbCudaContext* context, uint8_t* address, int64_t bytes);
  int32_t (*vmm_release)(EbbCudaContext* context, uint64_t handle);

  // ---- streams, events, graphs
  int32_t (*stream_create)(EbbCudaContext* context, int32_t high_priority, EbbCudaStream** stream);
  void (*stream_destroy)(EbbCudaStream* stream);
  int32_t (*stream_synchronize)(EbbCudaStream* stream);
  int32_t (*event_create)(EbbCudaContext* context, int32_t timing, EbbCudaEvent** event);
  void (*event_destroy)(EbbCudaEvent* event);
  int32_t (*event_record)(EbbCudaEvent* event, EbbCudaStream* stream);
  int32_t (*event_query)(EbbCudaEvent* event);  // OK, NOT_READY or a failure of the work before it.
  int32_t (*event_synchronize)(EbbCudaEvent* event);
  int32_t (*event_elapsed)(EbbCudaEvent* begin, EbbCudaEvent* end, float* milliseconds);
  int32_t (*stream_wait_event)(EbbCudaStream* stream, EbbCudaEvent* event);
  // Between begin and end, work on the stream is recorded, not run (thread-local capture mode).
  int32_t (*capture_begin)(EbbCudaStream* stream);
  int32_t (*capture_end)(EbbCudaStream* stream, EbbCudaGraph** graph);
  int32_t (*graph_launch)(EbbCudaGraph* graph, EbbCudaStream* stream);
  void (*graph_destroy)(EbbCudaGraph* graph);

  // ---- copies; host memory is pinned, else they may block
  int32_t (*copy_to_device)(EbbCudaStream* stream, void* to, const void* from, int64_t bytes);
  int32_t (*copy_to_host)(EbbCudaStream* stream, void* to, const void* from, int64_t bytes);
  int32_t (*copy_on_device)(EbbCudaStream* stream, void* to, const void* from, int64_t bytes);
  int32_t (*fill_bytes)(EbbCudaStream* stream, void* to, int32_t byte, int64_t bytes);

  // ---- operations
  int32_t (*embed)(EbbCudaStream* stream, const EbbCudaEmbed* op);
  int32_t (*rms_norm)(EbbCudaStream* stream, const EbbCudaRmsNorm* op);
  int32_t (*linear)(EbbCudaStream* stream, const EbbCudaLinear* op);
  // Bytes of EbbCudaLinear::scratch worth giving.
  int64_t (*linear_scratch_bytes)(EbbCudaContext* context);
  int32_t (*rope_store)(EbbCudaStream* stream, const EbbCudaRopeStore* op);
  int32_t (*prefill_attention)(EbbCudaStream* stream, const EbbCudaPrefillAttention* op);
  int32_t (*decode_attention)(EbbCudaStream* stream, const EbbCudaDecodeAttention* op);
  int32_t (*swiglu)(EbbCudaStream* stream, const EbbCudaSwiGlu* op);
  int32_t (*sample)(EbbCudaStream* stream, const EbbCudaSample* op);
  // Bytes of EbbCudaSample::scratch that are needed; they grow with both, up to 64 rows.
  int64_t (*sample_scratch_bytes)(int32_t rows, int32_t vocabulary);
  int32_t (*adjust_logits)(EbbCudaStream* stream, const EbbCudaAdjustLogits* op);
  int32_t (*fill_random)(EbbCudaStream* stream, const EbbCudaFillRandom* op);
} EbbCudaApi;

// The library's entry. Null when `abi` is not the library's own.
const EbbCudaApi* EbbCudaOpenApi(uint32_t abi);

#ifdef __cplusplus
}
#endif
