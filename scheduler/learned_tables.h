// LearnedTables: what LearnedLengths has learned, as a value and as the bytes of a file.
//
// The file, little-endian:
//
//   magic (8)  version u32  model u32 n, n bytes  tables u64 n, n bytes  CRC-32 of all before u32
//
//   tables:  table of all answers  classes u32  per class, in order: tenant u32 n, n bytes; bits of
//            the prompt's length u32, of max_tokens u32; table  tenants u32  per tenant, in order:
//            u32 n, n bytes; table of the recent ranks
//   a table: bins u32  per bin: events f64, at risk f64; the rest are 0
//
// Only the model that a file was learned from may go on with it. A file is a stranger's: nothing
// is allocated by what it claims before it is known that so many bytes follow.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scheduler/rank_calibration.h"
#include "scheduler/survival_table.h"

namespace ebb::scheduler {

constexpr size_t kLengthClassesMax = 128;
constexpr uint32_t kLengthsFileVersion = 2;

// Requests whose answers are taken to be alike: lengths by their powers of two.
struct LengthClass {
  std::string tenant;
  int32_t prompt_bits = 0;
  int32_t max_bits = 0;
  bool operator<(const LengthClass& other) const;
};

struct LearnedTables {
  SurvivalTable all;
  std::map<LengthClass, SurvivalTable> classes;
  std::map<std::string, RankCalibration::Values> ranks;  // By tenants that have classes.
};

std::string EncodeTables(const LearnedTables& tables);

// The file of what EncodeTables has given.
std::string LengthsFileOf(absl::string_view model, absl::string_view tables);
// INVALID_ARGUMENT, with what is wrong and at which byte, for what is no such file of this model.
absl::StatusOr<LearnedTables> ReadLengthsFile(absl::string_view model, absl::string_view file);

}  // namespace ebb::scheduler
