// TtyScreen: the Screen of a real terminal.
#pragma once

#include <memory>
#include <optional>

#include "cli/interrupt.h"
#include "cli/top/screen.h"

namespace ebb::cli {

// Takes the terminal over until the Screen goes: its second page, without a cursor, and keys as
// they are typed, Ctrl-C too, so that no haste of the user ends the process before the terminal is
// as it was. Null if one of the descriptors is no terminal. `interrupt` outlives it.
std::unique_ptr<Screen> OpenTtyScreen(int in, int out, const Interrupt* interrupt);

// None if it is no terminal; the standard size if it does not know its own.
std::optional<ScreenSize> SizeOfTty(int out);

}  // namespace ebb::cli
