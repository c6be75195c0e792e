"""What the golden scripts share: the GGUF model as transformers sees it, and the files' layout.

Needs gguf, numpy, torch and transformers (and llama-cpp-python for the peer's figures). Nothing of
this runs in the tests: they read the files that the scripts write.
"""
import struct

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM


def unpermute(weight, heads):
    """GGUF keeps the two halves of a head's rotary pairs interleaved; transformers keeps them apart."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def permute(weight, heads):
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hf_name(name):
    """transformers' name of a GGUF tensor."""
    plain = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in plain:
        return plain[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def load_reference(path):
    """LlamaForCausalLM in float32 over the dequantised weights of a GGUF llama file."""
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields["llama." + key].contents()
    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    state = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if "attn_q." in tensor.name:
            weight = unpermute(weight, heads)
        if "attn_k." in tensor.name:
            weight = unpermute(weight, kv_heads)
        state[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(weight))
    tied = "lm_head.weight" not in state
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    config = LlamaConfig(
        vocab_size=state["model.embed_tokens.weight"].shape[0], hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=field("context_length"), rope_theta=float(field("rope.freq_base")),
        rms_norm_eps=float(field("attention.layer_norm_rms_epsilon")), tie_word_embeddings=tied,
        attn_implementation="eager")
    model = LlamaForCausalLM(config).float().eval()
    model.load_state_dict(state, strict=True)
    check_rope(model, float(field("rope.freq_base")))
    return model


def check_rope(model, base):
    """The rope base has moved between config fields across versions of transformers: look."""
    inv_freq = model.model.rotary_emb.inv_freq
    count = inv_freq.shape[0]
    want = base ** (-torch.arange(count, dtype=torch.float64) / count)
    assert torch.allclose(inv_freq.double(), want, rtol=1e-5), (inv_freq, want)


@torch.no_grad()
def reference_logits(model, tokens):
    return model(torch.tensor([tokens])).logits[0].double().numpy()


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def read_texts(path):
    """The segments of mixed_text.txt: [(title, text)]."""
    segments = []
    for line in open(path, encoding="utf-8").read().splitlines(keepends=True):
        if line.startswith("=== "):
            segments.append([line[4:].strip(), ""])
        else:
            segments[-1][1] += line
    return [(title, text) for title, text in segments]


def pack_ids(ids):
    return struct.pack("<I", len(ids)) + np.asarray(ids, dtype="<i4").tobytes()
