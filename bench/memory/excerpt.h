// Excerpts of public traces (bench/data), scaled as bench/data/scaling.json says.
#pragma once

#include <string>
#include <vector>

#include "cli/bench/arrivals.h"

namespace ebb::bench {

// CHECKs that the files are there: under bazel run, or in the repository's root.
std::vector<cli::Arrival> ReadExcerpt(const std::string& name);

// Stretches or shrinks time so that so many arrive in a second.
void AtRate(double per_second, std::vector<cli::Arrival>* arrivals);

}  // namespace ebb::bench
