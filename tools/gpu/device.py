"""The device of a loaded library as the checks use it: torch tensors as its memory, poisoned.

On a GPU the tensors lie on it; with the fake library device memory is host memory, so they lie
there. Everything else is the same."""
import ctypes
import os

import torch

import ebb_cuda

GUARD_BYTES = 512
POISON = 0xFF  # Every bf16 and float made of it is a NaN.


class Guarded:
    """An output: poisoned before, and with poisoned bytes around it that must stay."""

    def __init__(self, device, shape, dtype):
        count = 1
        for size in shape:
            count *= size
        size_bytes = count * dtype.itemsize
        padded = -(-size_bytes // 256) * 256
        self._bytes = torch.full((padded + 2 * GUARD_BYTES,), POISON, dtype=torch.uint8,
                                 device=device.name)
        self.tensor = self._bytes[GUARD_BYTES:GUARD_BYTES + size_bytes].view(dtype).view(shape)
        self._end = GUARD_BYTES + size_bytes

    def pointer(self):
        return self.tensor.data_ptr()

    def check(self, what):
        """Every element was written, and nothing beside them."""
        assert bool((self._bytes[:GUARD_BYTES] == POISON).all()), f"{what}: written before its begin"
        assert bool((self._bytes[self._end:] == POISON).all()), f"{what}: written past its end"
        missing = int(torch.isnan(self.tensor).sum()) if self.tensor.is_floating_point() else 0
        assert missing == 0, f"{what}: {missing} of {self.tensor.numel()} elements not written, or NaN"
        return self.tensor


class Device:
    def __init__(self, library):
        self.api = ebb_cuda.load(library)
        self.fake = self.api.name == "fake"
        self.name = "cpu" if self.fake else "cuda"
        self.context = ctypes.c_void_p()
        self.api.check(self.api.open(0, ctypes.byref(self.context)))
        self.api.use_hopper(self.context, int("EBB_CUDA_HOPPER" in os.environ))
        self.stream = ctypes.c_void_p()
        self.api.check(self.api.stream_create(self.context, 0, ctypes.byref(self.stream)))
        self.scratch_bytes = self.api.linear_scratch_bytes(self.context)
        self._scratch = torch.empty(self.scratch_bytes + 256, dtype=torch.uint8, device=self.name)
        self.scratch = -(-self._scratch.data_ptr() // 256) * 256

    def launch(self, name, op):
        self.api.check(getattr(self.api, name)(self.stream, ctypes.byref(op)))

    def synchronize(self):
        self.api.check(self.api.stream_synchronize(self.stream))

    def run(self, name, op):
        """Queues one operation of the table and waits for it; torch's own work is done before."""
        self.settle()
        self.launch(name, op)
        self.synchronize()

    def settle(self):
        """Waits for what torch still computes on its own stream."""
        if not self.fake:
            torch.cuda.synchronize()

    def tensor(self, values, dtype):
        return torch.tensor(values, dtype=dtype, device=self.name)

    def structs(self, array):
        """A ctypes array, copied to the device."""
        return torch.frombuffer(bytearray(array), dtype=torch.uint8).to(self.name)

    def random(self, rng, *shape, dtype=torch.bfloat16, scale=1.0):
        """Normal numbers, made where they lie: the same for the same rng, on devices of one kind."""
        generator = torch.Generator(self.name).manual_seed(rng.getrandbits(40))
        return (torch.randn(*shape, generator=generator, device=self.name) * scale).to(dtype)

    def guarded(self, shape, dtype):
        return Guarded(self, shape, dtype)


def assert_close(out, reference, bound, what):
    """Every element of `out` within `bound` (a tensor, or a number) of the float64 `reference`."""
    error = (out.double() - reference).abs()
    bound = torch.as_tensor(bound, dtype=torch.float64, device=error.device).expand_as(error)
    # A reference of its own NaN would be a mistake of the check.
    assert not bool(torch.isnan(reference).any()), f"{what}: the reference holds a NaN"
    beyond = error > bound
    if bool(beyond.any()):
        where = tuple(int(i) for i in beyond.nonzero()[0])
        raise AssertionError(
            f"{what}: {int(beyond.sum())} of {out.numel()} elements too far off; at {where}: "
            f"{float(out[where]):.6g}, not {float(reference[where]):.6g} "
            f"(bound {float(bound[where]):.2g})")


def assert_norm_close(out, reference, relative, what):
    """||out - reference|| / ||reference||, which a systematic mistake within the bounds exceeds."""
    distance = float((out.double() - reference).norm() / reference.norm().clamp_min(1e-30))
    assert distance <= relative, f"{what}: relative distance {distance:.2g}, at most {relative:.2g}"
