// The picture: held, needed and limit over time, as one SVG that needs nothing beside it.
//
//   title                                   model
//   [] held  -- needed  - - limit  v preemption
//    MiB |      v        v           marks of preemptions
//        |  - - - - -<>_ _ _ _       limit; a mark where it changes
//        |   ___|~~~|___             held, filled; needed over it
//        +----------------> seconds since 2026-11-23 06:44:00 UTC
//
// Its colours keep apart for eyes that do not see all of them, follow the viewer's light or dark
// scheme, and are never the only difference between two curves.
#pragma once

#include <cstdint>
#include <string>

#include "cli/plot/memory_history.h"

namespace ebb::cli {

// Where the curves lie within the picture's coordinates.
struct PictureFrame {
  static constexpr double kWidth = 860;
  static constexpr double kHeight = 360;
  static constexpr double kLeft = 64;
  static constexpr double kRight = 840;
  static constexpr double kTop = 76;
  static constexpr double kBottom = 312;

  int64_t start_ms = 0;
  double seconds = 0;    // From kLeft to kRight; above 0.
  double top_bytes = 0;  // At kTop; above 0.

  double X(int64_t time_ms) const;
  double Y(double bytes) const;
};

// The curves fill the frame: held and needed always, the limit as long as they stay readable below
// it. A limit above the frame is told in words.
PictureFrame FrameOf(const MemorySeries& series);

// REQUIRES: the series has samples. `title` is any UTF-8.
std::string DrawPicture(const MemoryHistory& history, const std::string& title);

}  // namespace ebb::cli
