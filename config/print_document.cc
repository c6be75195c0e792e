// Prints the reference of all settings, for configs/README.md.
#include <cstdio>

#include "config/server_config.h"

int main() {
  std::fputs(ebb::config::Document().c_str(), stdout);
  return 0;
}
