"""Kernel files compiled for the SIMT emulator."""

def simt_library(name, srcs, hdrs = [], deps = [], **kwargs):
    """A cc_library of CUDA sources (.cu) that runs on the host.

    Args:
      name: the target's name.
      srcs: .cu and .cc files.
      hdrs: .cuh and .h files.
      deps: further libraries; the prelude and the emulator come by themselves.
      **kwargs: passed on to cc_library.
    """
    native.cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        # Kernels read memory through vector types, unroll by pragma, and the device contracts a
        # multiplication and an addition where it likes.
        copts = [
            "-xc++",
            "-fno-strict-aliasing",
            "-Wno-unknown-pragmas",
        ],
        defines = ["EBB_SIMT"],
        deps = deps + ["//kernels/cuda:simt_prelude"],
        **kwargs
    )
