#include "engine/kv_memory_options.h"

namespace ebb::engine {

memory::KvMemory::Options KvMemoryOptionsFrom(const LocalEngineOptions& all) {
  const MemoryOptions& options = all.memory;
  memory::KvMemory::Options memory;
  memory.ceiling_bytes = options.ceiling_bytes;
  memory.limit_bytes = options.limit_bytes;
  memory.headroom_bytes = options.headroom_bytes;
  memory.keep_bytes = options.keep_bytes;
  memory.idle_after = options.idle;
  memory.shrink.windows_kept = options.shrink_windows;
  memory.shrink.after = options.shrink_after;
  memory.shrink.pages_at_once = options.shrink_pages_max;
  memory.compact_above_percent = options.compact_above_percent;
  memory.prepare_ahead_pages = options.prepared_pages;
  memory.prefix_cache = all.prefix_cache.enabled;
  memory.prefix_idle_after = all.prefix_cache.idle;
  memory.prefix_floor_bytes = all.prefix_cache.floor_bytes;
  return memory;
}

}  // namespace ebb::engine
