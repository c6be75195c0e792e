"""The repository @cuda: the CUDA toolkit of this host, or the word that there is none."""

_TOOLKIT = "/usr/local/cuda"

_DEFS = '''"""Whether this host has a CUDA toolkit, and where. Generated."""

HAVE_CUDA = {have}
CUDA_TOOLKIT = "{toolkit}"

# For target_compatible_with: what needs the toolkit is skipped where there is none.
CUDA_COMPATIBLE = {compatible}
'''

def _cuda_configure_impl(repository):
    nvcc = repository.path(_TOOLKIT + "/bin/nvcc")
    header = repository.path(_TOOLKIT + "/include/cuda_runtime_api.h")
    have = nvcc.exists and header.exists
    if have:
        repository.symlink(_TOOLKIT + "/include", "include")

        # An input of each nvcc action: another toolkit means other objects.
        version = repository.execute([str(nvcc), "--version"])
        if version.return_code != 0:
            fail("%s --version fails: %s" % (nvcc, version.stderr))
        repository.file("version.txt", version.stdout)
    else:
        repository.file("version.txt", "no toolkit\n")
    repository.file("defs.bzl", _DEFS.format(
        have = "True" if have else "False",
        toolkit = _TOOLKIT,
        compatible = "[]" if have else "[\"@cuda//:toolkit_present\"]",
    ))
    repository.symlink(Label("//third_party/cuda:cuda.BUILD"), "BUILD.bazel")

cuda_configure = repository_rule(
    implementation = _cuda_configure_impl,
    doc = "Looks for the toolkit under /usr/local/cuda.",
    local = True,
)
