// The table of settings: one row for each key of ServerConfig.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "config/server_config.h"

namespace ebb::config {

// How a setting's value is reached, one alternative for each type that a setting can have.
template <typename T>
using Member = T& (*)(ServerConfig&);

// An enumeration: the value is the index of its name.
struct EnumMember {
  absl::Span<const absl::string_view> names;
  int (*get)(const ServerConfig&);
  void (*set)(ServerConfig&, int);
};

using AnyMember = std::variant<Member<bool>, Member<int32_t>, Member<int64_t>,
                               Member<absl::Duration>, Member<std::string>, EnumMember>;

struct Setting {
  absl::string_view key;  // "section.name".
  absl::string_view doc;
  AnyMember member;
  // Smallest and largest value: of a number itself, of a duration in milliseconds, of a string its
  // bytes.
  int64_t min = 0;
  int64_t max = 0;

  absl::string_view section() const { return key.substr(0, key.find('.')); }
  absl::string_view name() const { return key.substr(key.find('.') + 1); }
};

struct Section {
  absl::string_view name;
  absl::string_view doc;
};

// In the order in which they are printed and documented; a section's settings stand together.
absl::Span<const Setting> AllSettings();
absl::Span<const Section> AllSections();

// Null if there is none.
const Setting* FindSetting(absl::string_view key);
const Section* FindSection(absl::string_view name);

// "a whole number from 1 to 64", "one of auto, reference", for messages and documentation.
std::string DescribeValues(const Setting& setting);

// The value as a config's text: 5000, true, f16 (strings without quotes).
std::string ValueText(const Setting& setting, const ServerConfig& config);

// The empty string if the value is within bounds, else what is wrong with it.
std::string RangeProblem(const Setting& setting, const ServerConfig& config);

}  // namespace ebb::config
