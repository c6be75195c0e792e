#include "scheduler/learned_tables.h"

#include <zlib.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ebb::scheduler {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is as memory is");

constexpr absl::string_view kMagic("ebblens\n", 8);
constexpr size_t kChecksumBytes = sizeof(uint32_t);
constexpr size_t kTextBytesMax = 1024;  // Of a model's and of a tenant's name.
constexpr uint32_t kBitsMax = 63;
// Faded counts do not come near it. What is heavier would never be unlearned.
constexpr double kCountMax = 1e6;

template <typename T>
void Put(T value, std::string* out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void PutText(absl::string_view text, std::string* out) {
  Put(static_cast<uint32_t>(text.size()), out);
  out->append(text.data(), text.size());
}

template <typename Values>
void PutTable(const Values& values, std::string* out) {
  size_t bins = values.at_risk.size();
  while (bins > 0 && values.at_risk[bins - 1] == 0) --bins;
  Put(static_cast<uint32_t>(bins), out);
  for (size_t bin = 0; bin < bins; ++bin) {
    Put(values.events[bin], out);
    Put(values.at_risk[bin], out);
  }
}

uint32_t ChecksumOf(absl::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// For a log: a line of printable ASCII, of a bounded length.
std::string Shown(absl::string_view text) {
  constexpr size_t kShown = 80;
  return absl::CHexEscape(text.substr(0, kShown)) + (text.size() > kShown ? "..." : "");
}

// Takes a file apart, from its beginning.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  absl::StatusOr<T> Number() {
    ASSIGN_OR_RETURN(const absl::string_view bytes, Bytes(sizeof(T)));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  absl::StatusOr<absl::string_view> Bytes(uint64_t count) {
    if (count > bytes_.size() - at_) {
      return Bad(absl::StrCat("cut off: ", count, " bytes should follow, and ", bytes_.size() - at_,
                              " do"));
    }
    const absl::string_view taken = bytes_.substr(at_, count);
    at_ += taken.size();
    return taken;
  }
  absl::StatusOr<absl::string_view> Text() {
    ASSIGN_OR_RETURN(const uint32_t size, Number<uint32_t>());
    if (size > kTextBytesMax) {
      return Bad(absl::StrCat("a name of ", size, " bytes; at most ", kTextBytesMax, " are taken"));
    }
    return Bytes(size);
  }
  bool done() const { return at_ == bytes_.size(); }
  absl::Status Bad(absl::string_view problem) const {
    return absl::InvalidArgumentError(absl::StrCat("at byte ", at_, ": ", problem));
  }

 private:
  const absl::string_view bytes_;
  size_t at_ = 0;
};

// Not a number is in no range.
bool IsCount(double value) { return value >= 0 && value <= kCountMax; }

template <typename Values>
absl::StatusOr<Values> ReadTable(Reader* reader) {
  Values values;
  ASSIGN_OR_RETURN(const uint32_t bins, reader->Number<uint32_t>());
  if (bins > values.events.size()) {
    return reader->Bad(absl::StrCat(bins, " bins; a table has ", values.events.size()));
  }
  for (uint32_t bin = 0; bin < bins; ++bin) {
    ASSIGN_OR_RETURN(values.events[bin], reader->Number<double>());
    ASSIGN_OR_RETURN(values.at_risk[bin], reader->Number<double>());
    if (!IsCount(values.at_risk[bin]) || !IsCount(values.events[bin]) ||
        values.events[bin] > values.at_risk[bin]) {
      return reader->Bad("a count that cannot be");
    }
  }
  return values;
}

absl::StatusOr<int32_t> ReadBits(Reader* reader) {
  ASSIGN_OR_RETURN(const uint32_t bits, reader->Number<uint32_t>());
  if (bits > kBitsMax) return reader->Bad(absl::StrCat("a length of ", bits, " bits"));
  return static_cast<int32_t>(bits);
}

absl::Status ReadRanks(Reader* reader, LearnedTables* tables) {
  ASSIGN_OR_RETURN(const uint32_t tenants, reader->Number<uint32_t>());
  if (tenants > tables->classes.size()) {
    return reader->Bad(absl::StrCat(tenants, " tenants of ", tables->classes.size(), " classes"));
  }
  for (uint32_t i = 0; i < tenants; ++i) {
    ASSIGN_OR_RETURN(const absl::string_view text, reader->Text());
    const std::string tenant(text);
    if (!tables->ranks.empty() && tables->ranks.rbegin()->first >= tenant) {
      return reader->Bad("tenants out of order");
    }
    const auto first = tables->classes.lower_bound({tenant});
    if (first == tables->classes.end() || first->first.tenant != tenant) {
      return reader->Bad("a tenant without a class");
    }
    ASSIGN_OR_RETURN(tables->ranks[tenant], ReadTable<RankCalibration::Values>(reader));
  }
  return absl::OkStatus();
}

absl::StatusOr<LearnedTables> ReadTables(Reader* reader) {
  LearnedTables tables;
  ASSIGN_OR_RETURN(const SurvivalTable::Values all, ReadTable<SurvivalTable::Values>(reader));
  tables.all = SurvivalTable(all);
  ASSIGN_OR_RETURN(const uint32_t classes, reader->Number<uint32_t>());
  if (classes > kLengthClassesMax) {
    return reader->Bad(absl::StrCat(classes, " classes; at most ", kLengthClassesMax));
  }
  for (uint32_t i = 0; i < classes; ++i) {
    LengthClass key;
    ASSIGN_OR_RETURN(const absl::string_view tenant, reader->Text());
    key.tenant = std::string(tenant);
    ASSIGN_OR_RETURN(key.prompt_bits, ReadBits(reader));
    ASSIGN_OR_RETURN(key.max_bits, ReadBits(reader));
    if (!tables.classes.empty() && !(tables.classes.rbegin()->first < key)) {
      return reader->Bad("classes out of order");
    }
    ASSIGN_OR_RETURN(const SurvivalTable::Values table, ReadTable<SurvivalTable::Values>(reader));
    tables.classes[key] = SurvivalTable(table);
  }
  RETURN_IF_ERROR(ReadRanks(reader, &tables));
  return tables;
}

}  // namespace

bool LengthClass::operator<(const LengthClass& other) const {
  return std::tie(tenant, prompt_bits, max_bits) <
         std::tie(other.tenant, other.prompt_bits, other.max_bits);
}

std::string EncodeTables(const LearnedTables& tables) {
  std::string out;
  PutTable(tables.all.values(), &out);
  Put(static_cast<uint32_t>(tables.classes.size()), &out);
  for (const auto& [key, table] : tables.classes) {
    PutText(key.tenant, &out);
    Put(static_cast<uint32_t>(key.prompt_bits), &out);
    Put(static_cast<uint32_t>(key.max_bits), &out);
    PutTable(table.values(), &out);
  }
  Put(static_cast<uint32_t>(tables.ranks.size()), &out);
  for (const auto& [tenant, ranks] : tables.ranks) {
    PutText(tenant, &out);
    PutTable(ranks, &out);
  }
  return out;
}

std::string LengthsFileOf(absl::string_view model, absl::string_view tables) {
  std::string file(kMagic);
  Put(kLengthsFileVersion, &file);
  PutText(model.substr(0, kTextBytesMax), &file);
  Put(static_cast<uint64_t>(tables.size()), &file);
  file.append(tables.data(), tables.size());
  Put(ChecksumOf(file), &file);
  return file;
}

absl::StatusOr<LearnedTables> ReadLengthsFile(absl::string_view model, absl::string_view file) {
  Reader reader(file);
  if (file.substr(0, kMagic.size()) != kMagic) return reader.Bad("no file of lengths");
  RETURN_IF_ERROR(reader.Bytes(kMagic.size()).status());
  ASSIGN_OR_RETURN(const uint32_t version, reader.Number<uint32_t>());
  if (version != kLengthsFileVersion) {
    return reader.Bad(
        absl::StrCat("of version ", version, "; this server reads version ", kLengthsFileVersion));
  }
  ASSIGN_OR_RETURN(const absl::string_view learned_from, reader.Text());
  ASSIGN_OR_RETURN(const uint64_t bytes, reader.Number<uint64_t>());
  ASSIGN_OR_RETURN(const absl::string_view body, reader.Bytes(bytes));
  ASSIGN_OR_RETURN(const uint32_t checksum, reader.Number<uint32_t>());
  if (!reader.done()) return reader.Bad("more follows than should");
  if (checksum != ChecksumOf(file.substr(0, file.size() - kChecksumBytes))) {
    return reader.Bad("damaged: the checksum is another");
  }
  if (learned_from != model.substr(0, kTextBytesMax)) {
    return reader.Bad(absl::StrCat("of another model, \"", Shown(learned_from), "\"; this is \"",
                                   Shown(model), "\""));
  }
  Reader tables_reader(body);
  ASSIGN_OR_RETURN(LearnedTables tables, ReadTables(&tables_reader));
  if (!tables_reader.done()) return tables_reader.Bad("more tables follow than should");
  return tables;
}

}  // namespace ebb::scheduler
