"""The repository @cuda: the CUDA toolkit of this host, or the word that there is none."""

_TOOLKIT = "/usr/local/cuda"

_DEFS = '''"""Whether this host has a CUDA toolkit, and where. Generated."""

HAVE_CUDA = {have}
CUDA_TOOLKIT = "{toolkit}"

# For target_compatible_with: what needs the toolkit is skipped where there is none.
CUDA_COMPATIBLE = {compatible}
'''

# The driver calls and architectures that the library uses are those of CUDA 13.
_MAJOR_MIN = 13

def _toolkit_version(repository):
    """What `nvcc --version` prints; None without a toolkit, or with one that is too old."""
    nvcc = repository.path(_TOOLKIT + "/bin/nvcc")
    header = repository.path(_TOOLKIT + "/include/cuda_runtime_api.h")
    if not nvcc.exists or not header.exists:
        return None
    version = repository.execute([str(nvcc), "--version"])
    if version.return_code != 0:
        fail("%s --version fails: %s" % (nvcc, version.stderr))
    words = version.stdout.replace(",", " ").replace(".", " ").split(" ")
    for i in range(len(words) - 1):
        if words[i] == "release" and int(words[i + 1]) >= _MAJOR_MIN:
            return version.stdout
    return None

def _cuda_configure_impl(repository):
    version = _toolkit_version(repository)
    have = version != None
    if have:
        repository.symlink(_TOOLKIT + "/include", "include")

    # An input of each nvcc action: another toolkit means other objects.
    repository.file("version.txt", version if have else "no toolkit\n")
    repository.file("defs.bzl", _DEFS.format(
        have = "True" if have else "False",
        toolkit = _TOOLKIT,
        compatible = "[]" if have else "[\"@cuda//:toolkit_present\"]",
    ))
    repository.symlink(Label("//third_party/cuda:cuda.BUILD"), "BUILD.bazel")

cuda_configure = repository_rule(
    implementation = _cuda_configure_impl,
    doc = "Looks for the toolkit, 13 or newer, under /usr/local/cuda.",
    local = True,
)
