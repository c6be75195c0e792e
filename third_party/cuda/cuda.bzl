"""Rules for CUDA sources."""

load("@cuda//:defs.bzl", "CUDA_COMPATIBLE", "CUDA_TOOLKIT")

# One object serves all three. A kernel that needs the instructions of one is empty for the others.
_ARCHITECTURES = ["80", "90a", "100"]

_FLAGS = [
    "-std=c++20",
    "-O3",
    "-lineinfo",
    "--Werror=all-warnings",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Wno-unknown-pragmas",
    # A row's bits on the host may not depend on how its compiler contracts an expression.
    "-Xcompiler=-ffp-contract=off,-fno-omit-frame-pointer",
    # Each object names itself to the library, which loads its kernels when a device is opened.
    "-include device/cuda/real/kernel_module.h",
    "-I.",
] + ["-gencode=arch=compute_%s,code=sm_%s" % (a, a) for a in _ARCHITECTURES] + [
    # For devices that are newer than all of them: the driver compiles it when the device is opened.
    "-gencode=arch=compute_100,code=compute_100",
]

def cuda_object(name, src, hdrs = [], visibility = None):
    """Compiles a .cu file by nvcc into the object NAME.o, for every architecture.

    Args:
      name: the target's name; the object is the target `NAME.o`.
      src: the .cu file.
      hdrs: every header of this repository that it includes beside the prelude and its like, as
        files or file groups.
      visibility: as usual.
    """
    native.genrule(
        name = name,
        srcs = [
            src,
            "@cuda//:version.txt",
            "//device/cuda:kernel_headers",
            "//kernels/cuda:kernel_headers",
        ] + hdrs,
        outs = [name + ".o"],
        cmd = " ".join([CUDA_TOOLKIT + "/bin/nvcc"] + _FLAGS + ["-c $(location %s) -o $@" % src]),
        message = "Compiling for CUDA",
        target_compatible_with = CUDA_COMPATIBLE,
        visibility = visibility,
    )
