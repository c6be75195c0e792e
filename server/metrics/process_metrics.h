// What the system says of this process, under the names that Prometheus's own libraries use.
#pragma once

#include "server/metrics/families.h"

namespace ebb::server {

// When this process started, by the system's clock as it is now; zero where /proc does not say.
double ProcessStartSeconds();

// What the system does not say is left out.
void AddProcess(double start_seconds, Families* out);

}  // namespace ebb::server
