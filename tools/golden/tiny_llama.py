#!/usr/bin/env python3
"""Small random llama models as GGUF files, and their logits by transformers in float32.

    tiny_llama.py REPOSITORY

writes tests/golden/forward/tiny_NAME.gguf and tiny_NAME.bin:
  "EBBTINY1", u32 sequences, u32 vocab, then per sequence { u32 n, i32 ids[n], f32 logits[n][vocab] }
"""
import struct
import sys

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from transformers import LlamaConfig, LlamaForCausalLM

from common import hf_name, pack_ids, permute, reference_logits, unpermute
from k_quants import quantize

# Weights are drawn with this deviation, so that logits spread over a few units.
WEIGHT_DEVIATION = 0.15
SEQUENCE_TOKENS = (45, 1, 17)

MODELS = {
    # Grouped keys, a head of its own, sizes that no vector width divides.
    "gqa_untied": dict(width=42, ffn=75, heads=6, kv_heads=2, head_dim=7 * 2, layers=2, vocab=83,
                       key_length=True, base=10000.0, type=Type.F32, tied=False),
    # Linear scaling, tied, rotary over all of an odd-looking head.
    "linear": dict(width=54, ffn=70, heads=3, kv_heads=3, head_dim=18, layers=2, vocab=61,
                   base=500.0, type=Type.F16, tied=True, linear=4.0),
    # llama3's scaling by a tensor of divisors; one key head for all.
    "llama3": dict(width=64, ffn=96, heads=4, kv_heads=1, head_dim=16, layers=3, vocab=70,
                   base=10000.0, type=Type.BF16, tied=False,
                   llama3=dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                               original_max_position_embeddings=32)),
    # The block formats; heads wider than width / heads.
    "q8_0": dict(width=64, ffn=96, heads=2, kv_heads=1, head_dim=64, layers=2, vocab=90,
                 key_length=True, base=10000.0, type=Type.Q8_0, tied=True),
    "q4_0": dict(width=64, ffn=96, heads=4, kv_heads=2, head_dim=16, layers=2, vocab=90,
                 base=10000.0, type=Type.Q4_0, tied=False),
    "q4_1": dict(width=96, ffn=160, heads=3, kv_heads=1, head_dim=32, layers=2, vocab=90,
                 base=100000.0, type=Type.Q4_1, tied=True),
    # Mixed as llama.cpp mixes: K formats for rows of 256, and what it falls back to for others.
    # Their sums are longer, so their weights smaller.
    "q4_k_m": dict(width=256, ffn=96, heads=2, kv_heads=1, head_dim=32, layers=2, vocab=96,
                   key_length=True, base=10000.0, type=Type.Q4_K, tied=False, deviation=0.075,
                   types={"output": Type.Q6_K, "attn_v": Type.Q6_K, "attn_output": Type.Q5_0,
                          "ffn_down": Type.Q8_0}),
    "q5_k_m": dict(width=256, ffn=96, heads=2, kv_heads=1, head_dim=32, layers=2, vocab=96,
                   key_length=True, base=10000.0, type=Type.Q5_K, tied=True, deviation=0.075,
                   types={"token_embd": Type.Q6_K, "attn_output": Type.Q5_1, "ffn_down": Type.Q5_0}),
}


def llama3_divisors(rope, base, head_dim):
    """The divisors that converters write into rope_freqs (Llama 3.1's published rule)."""
    frequencies = base ** (-np.arange(0, head_dim, 2) / head_dim)
    wavelengths = 2 * np.pi / frequencies
    original = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((original / wavelengths - low) / (high - low), 0, 1)
    scaled = (1 - smooth) * frequencies / rope["factor"] + smooth * frequencies
    return (frequencies / scaled).astype(np.float32)


def hf_config(spec):
    rope = {"rope_type": "default"}
    if "linear" in spec:
        rope = {"rope_type": "linear", "factor": spec["linear"]}
    if "llama3" in spec:
        rope = {"rope_type": "llama3", **spec["llama3"]}
    return LlamaConfig(
        vocab_size=spec["vocab"], hidden_size=spec["width"], intermediate_size=spec["ffn"],
        num_hidden_layers=spec["layers"], num_attention_heads=spec["heads"],
        num_key_value_heads=spec["kv_heads"], head_dim=spec["head_dim"], max_position_embeddings=256,
        rope_theta=spec["base"], rope_parameters={**rope, "rope_theta": spec["base"]},
        rms_norm_eps=1e-5, tie_word_embeddings=spec["tied"], attn_implementation="eager")


def tensor_shapes(spec):
    """GGUF name -> shape as numpy has it, rows first."""
    q, kv = spec["heads"] * spec["head_dim"], spec["kv_heads"] * spec["head_dim"]
    shapes = {"token_embd.weight": (spec["vocab"], spec["width"]), "output_norm.weight": (spec["width"],)}
    if not spec["tied"]:
        shapes["output.weight"] = (spec["vocab"], spec["width"])
    for layer in range(spec["layers"]):
        parts = {"attn_norm": (spec["width"],), "attn_q": (q, spec["width"]), "attn_k": (kv, spec["width"]),
                 "attn_v": (kv, spec["width"]), "attn_output": (spec["width"], q),
                 "ffn_norm": (spec["width"],), "ffn_gate": (spec["ffn"], spec["width"]),
                 "ffn_up": (spec["ffn"], spec["width"]), "ffn_down": (spec["width"], spec["ffn"])}
        shapes.update({f"blk.{layer}.{part}.weight": shape for part, shape in parts.items()})
    return shapes


def write_metadata(writer, spec, odd):
    writer.add_name("tiny")
    writer.add_block_count(spec["layers"])
    writer.add_context_length(256)
    writer.add_embedding_length(spec["width"])
    writer.add_feed_forward_length(spec["ffn"])
    writer.add_head_count(spec["heads"])
    writer.add_head_count_kv(spec["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(spec["base"])
    writer.add_rope_dimension_count(spec["head_dim"])
    writer.add_vocab_size(spec["vocab"])
    if odd:
        writer.add_key_length(spec["head_dim"])
        writer.add_value_length(spec["head_dim"])
    if "linear" in spec:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(spec["linear"])


def type_of(spec, tensor):
    return spec.get("types", {}).get(tensor.split(".")[-2], spec["type"])


def make(name, spec, folder, rng):
    writer = gguf.GGUFWriter(f"{folder}/tiny_{name}.gguf", "llama")
    write_metadata(writer, spec, spec.get("key_length", False))
    state = {}
    for tensor, shape in tensor_shapes(spec).items():
        if len(shape) == 1:
            weight = rng.uniform(0.5, 1.5, shape).astype(np.float32)
            writer.add_tensor(tensor, weight)
        else:
            deviation = spec.get("deviation", WEIGHT_DEVIATION)
            if tensor == "token_embd.weight" and not spec["tied"]:
                deviation = 1.0
            weight = rng.normal(0, deviation, shape).astype(np.float32)
            packed = quantize(weight, type_of(spec, tensor))
            writer.add_tensor(tensor, packed, raw_dtype=type_of(spec, tensor))
            weight = gguf.quants.dequantize(packed, type_of(spec, tensor)).astype(np.float32)
        if "attn_q." in tensor:
            weight = unpermute(weight, spec["heads"])
        if "attn_k." in tensor:
            weight = unpermute(weight, spec["kv_heads"])
        state[hf_name(tensor)] = torch.from_numpy(np.ascontiguousarray(weight))
    if "llama3" in spec:
        writer.add_tensor("rope_freqs.weight", llama3_divisors(spec["llama3"], spec["base"], spec["head_dim"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if spec["tied"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = LlamaForCausalLM(hf_config(spec)).float().eval()
    model.load_state_dict(state, strict=True)
    check_rope(model, spec)
    with open(f"{folder}/tiny_{name}.bin", "wb") as out:
        out.write(b"EBBTINY1" + struct.pack("<II", len(SEQUENCE_TOKENS), spec["vocab"]))
        for count in SEQUENCE_TOKENS:
            ids = rng.integers(0, spec["vocab"], count).tolist()
            logits = reference_logits(model, ids)
            out.write(pack_ids(ids) + logits.astype("<f4").tobytes())
    print(name, "logits deviation", float(logits.std()), "largest", float(abs(logits).max()))


def check_rope(model, spec):
    """What transformers took from the config is what the GGUF file says."""
    frequencies = spec["base"] ** (-np.arange(0, spec["head_dim"], 2) / spec["head_dim"])
    frequencies = frequencies / spec.get("linear", 1.0)
    if "llama3" in spec:
        frequencies = frequencies / llama3_divisors(spec["llama3"], spec["base"], spec["head_dim"])
    assert np.allclose(model.model.rotary_emb.inv_freq.numpy(), frequencies, rtol=1e-5), spec


def main():
    folder = sys.argv[1] + "/tests/golden/forward"
    rng = np.random.default_rng(20261123)
    # The two directions of the row order are each other's inverse.
    probe = rng.normal(size=(12, 3))
    assert np.array_equal(permute(unpermute(probe, 2), 2), probe)
    for name, spec in MODELS.items():
        make(name, spec, folder, rng)


if __name__ == "__main__":
    main()
