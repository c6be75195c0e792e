// Numbers as short text. An absent one is "-".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ebb::cli {

// "0", "99999", "1.2M", "-3.4G": at most seven characters.
std::string CountText(std::optional<int64_t> count);
// "0.4/s", "27/s", "1.2M/s"
std::string RateText(std::optional<double> per_second);
// "0 bytes", "98.7 MiB", "399 MiB", "1.0 GiB": at most nine characters.
std::string SizeText(std::optional<double> bytes);
// "35 ms", "1.5 s", "42 s", "12 min", "3.2 h", "400 d": at most seven characters.
std::string DurationText(std::optional<double> seconds);

}  // namespace ebb::cli
