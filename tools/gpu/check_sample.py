"""Sampling on the device against model/sampler.h's rules, in float64."""
import ctypes
import math

import torch

from paged import struct

# Where rounding may decide, either answer is right. A weight's own rounding is far below this.
MIN_P_UNSURE = 1e-9


def share_unsure(vocabulary):
    """A draw or a share this near a boundary: the kernels cut each weight to 2^-43 of the largest,
    and the sums here, in float64, err by far less than is added for them."""
    return vocabulary * 2.0**-43 + 1e-11


def _chain(row, params, banned):
    """The kept ids (ascending) with their weights, and whether a rounding error could have kept
    others. `row`: float64, on the host."""
    allowed = row.clone()
    known = [token for token in banned if 0 <= token < len(row)]
    allowed[known] = -math.inf
    order = torch.sort(allowed, descending=True, stable=True).indices
    if params["temperature"] == 0:
        return order[:1], torch.ones(1, dtype=torch.float64), False
    weights = torch.exp((allowed - allowed[order[0]]) / params["temperature"])
    unsure = False
    kept = order[:params["top_k"]] if params["top_k"] > 0 else order
    if params["top_p"] < 1:
        shares = weights[kept].cumsum(0)
        shares = shares / shares[-1]
        unsure |= bool(((shares - params["top_p"]).abs() < share_unsure(len(row))).any())
        kept = kept[:int((shares < params["top_p"]).sum()) + 1]
    if params["min_p"] > 0:
        unsure |= bool(((weights[kept] - params["min_p"]).abs() < MIN_P_UNSURE).any())
    kept = kept[(weights[kept] >= params["min_p"]) & (weights[kept] > 0)].sort().values
    return kept, weights[kept], unsure


def possible_tokens(row, params, banned):
    """The token that the draw chooses; several where rounding may decide; None: do not ask."""
    kept, weights, unsure = _chain(row, params, banned)
    if unsure:
        return None
    ends = weights.cumsum(0)
    low, high = (ends - weights) / ends[-1], ends / ends[-1]
    near = share_unsure(len(row))
    return set(kept[(low - near <= params["unit"]) & (params["unit"] < high + near)].tolist())


def as_float32(x):
    return ctypes.c_float(x).value


def _random_params(rng, vocabulary):
    return {
        "unit": rng.random(),
        "temperature": as_float32(rng.choice([0.0, 0.3, 1.0, 2.5])),
        "top_p": as_float32(rng.choice([1.0, 0.9, 0.35, 0.999])),
        "min_p": as_float32(rng.choice([0.0, 0.0, 0.05])),
        "top_k": rng.choice([0, 0, 1, 5, 40, vocabulary, vocabulary + 9]),
        "top_count": rng.choice([-1, 0, 3, 32]),
        "target_id": rng.choice([-1, rng.randrange(vocabulary)]),
        "sample": 1,
        "target_top_count": rng.choice([0, 5]),
    }


def _check_row(out, row, params, banned, what):
    """`row`: its logits in float64, on the host."""
    assert out.status == 0, f"{what}: status {out.status}"
    tokens = possible_tokens(row, params, banned)
    if tokens is not None:
        assert out.token_id in tokens, f"{what}: token {out.token_id}, not {sorted(tokens)}: {params}"
    # float32 sums of exponentials; logits are up to about 20.
    logprobs = torch.log_softmax(row, dim=0)
    close = lambda got, token: abs(got - float(logprobs[token])) < 1e-4
    if params["top_count"] >= 0:
        assert close(out.logprob, out.token_id), f"{what}: log-probability {out.logprob}"
    if params["target_id"] >= 0:
        assert close(out.target_logprob, params["target_id"]), f"{what}: target {out.target_logprob}"
    wanted = max(params["top_count"], params["target_top_count"] if params["target_id"] >= 0 else 0, 0)
    wanted = min(wanted, len(row))
    assert out.top_count >= wanted, f"{what}: {out.top_count} alternatives, not {wanted}"
    order = torch.sort(row, descending=True, stable=True).indices[:wanted].tolist()
    assert list(out.top_ids[:wanted]) == order, f"{what}: alternatives {out.top_ids[:wanted]}"
    for place, token in enumerate(order):
        assert close(out.top_logprobs[place], token), f"{what}: alternative {place}"


def _run(device, logits, sampling, banned, vocabulary):
    api, rows = device.api, len(logits)
    banned_ids = device.tensor(banned or [0], torch.int32)
    params = device.structs((api.EbbCudaSampling * rows)(*sampling))
    out = device.guarded((rows * ctypes.sizeof(api.EbbCudaSampled),), torch.uint8)
    scratch_bytes = api.sample_scratch_bytes(rows, vocabulary)
    scratch = device.guarded((scratch_bytes,), torch.uint8)
    device.run("sample", struct(api.EbbCudaSample, logits=logits, sampling=params, banned=banned_ids,
                                out=out, scratch=scratch, scratch_bytes=scratch_bytes, rows=rows,
                                vocabulary=vocabulary))
    scratch.check("scratch")
    raw = bytearray(bytes(out.check("out").cpu().tolist()))
    return (api.EbbCudaSampled * rows).from_buffer(raw)


def filters(device, rows, vocabulary, shape):
    def check(rng):
        logits = device.random(rng, rows, vocabulary, dtype=torch.float32, scale=3)
        if shape == "ties":
            logits = logits.round()
        if shape == "bf16":
            logits = logits.bfloat16().float()
        banned, sampling, wanted = [], [], []
        for _ in range(rows):
            params = _random_params(rng, vocabulary)
            mine = rng.choice([[], [rng.randrange(-2, vocabulary + 2) for _ in range(4)]])
            sampling.append(struct(device.api.EbbCudaSampling, banned_begin=len(banned),
                                   banned_count=len(mine), **params))
            wanted.append((params, mine))
            banned += mine
        results = _run(device, logits, sampling, banned, vocabulary)
        rows_read = logits.double().cpu()
        for r, (params, mine) in enumerate(wanted):
            _check_row(results[r], rows_read[r], params, mine, f"row {r}")
    return f"sample rows={rows} vocabulary={vocabulary} {shape}", check


def bad_rows(device, vocabulary):
    """NaN, +infinity and nothing left are told for their row, and spoil no other."""
    def check(rng):
        api = device.api
        logits = device.random(rng, 5, vocabulary, dtype=torch.float32)
        logits[1, rng.randrange(vocabulary)] = float("nan")
        logits[2, rng.randrange(vocabulary)] = float("inf")
        logits[3] = float("-inf")
        params = {"temperature": 0.7, "top_p": 0.9, "top_count": 2, "target_id": -1, "sample": 1}
        sampling = [struct(api.EbbCudaSampling, unit=rng.random(), **params) for _ in range(5)]
        results = _run(device, logits, sampling, [], vocabulary)
        statuses = [result.status for result in results]
        expected = [api.EBB_CUDA_ROW_OK, api.EBB_CUDA_ROW_NAN, api.EBB_CUDA_ROW_INFINITE,
                    api.EBB_CUDA_ROW_EMPTY, api.EBB_CUDA_ROW_OK]
        assert statuses == expected, f"statuses {statuses}, not {expected}"
    return f"sample bad rows vocabulary={vocabulary}", check


def cases_of(device, vocabularies, rows):
    return [case for vocabulary in vocabularies
            for case in (filters(device, rows, vocabulary, "plain"),
                         filters(device, rows, vocabulary, "ties"),
                         filters(device, rows, vocabulary, "bf16"),
                         bad_rows(device, vocabulary))]
