#!/usr/bin/env python3
"""Makes tiny random models of each architecture in Hugging Face layout, and what transformers says
about them (torch 2.15, transformers 5.23, tokenizers 0.23 were used).

    python3 tests/golden/make_tiny_models.py [--llama-cpp DIRECTORY]

writes beside itself, for each of tiny_llama, tiny_qwen2 and tiny_qwen3:

    config.json, generation_config.json, tokenizer.json, tokenizer_config.json,
    chat_template.jinja (llama only), model.safetensors (bf16; two shards and an index for qwen3)
    prompts.json   texts with the ids that transformers' tokenizer gives them
    logits.bin     reference logits: "EBBTINY2", u32 prompts, u32 vocab, then per prompt
                   { u32 n, i32 ids[n], u32 m, i32 rows[m], f32 logits[m][vocab] }
    greedy.bin     greedy continuations: "EBBGREE1", u32 prompts, then per prompt
                   { u32 n, i32 prompt[n], u32 m, i32 ids[m], f32 margins[m] }

and with --llama-cpp, llama.cpp's sources, also tiny_qwen2.gguf and tiny_qwen3.gguf (bf16) by its
converter: the same models, hence the same logits, in GGUF's names and orders.

The logits are float32 arithmetic over the bf16 weights as read back from the files. Nothing of this
runs in the tests.
"""

import argparse
import json
import os
import pathlib
import runpy
import shutil
import struct
import sys
import types

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers
from transformers import (AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

import golden_text

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20261123
BASE_TOKENS = 316  # Bytes and merges; control tokens come after them.
LONG_PROMPT_TOKENS = 230
NEW_TOKENS = 24
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
LLAMA_CONTROL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                 "<|eot_id|>"]
QWEN_CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}"
    "<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}")
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
PROMPTS = [
    "The quick brown fox jumps over the lazy dog.",
    "def f(x):\n    return [i**2 for i in range(x)]\n",
    "Zażółć gęślą jaźń, 1234567 naïve 你好 🦙!",
]


def shape(**changes):
    common = dict(num_hidden_layers=2, num_key_value_heads=2, max_position_embeddings=512,
                  rms_norm_eps=1e-5, attn_implementation="eager")
    return {**common, **changes}


# Heads of 32 numbers and widths that are multiples of 8: what the CUDA kernels take too.
MODELS = {
    "llama": dict(
        config=LlamaConfig, model=LlamaForCausalLM, pattern=LLAMA3, control=LLAMA_CONTROL,
        bos="<|begin_of_text|>", eos="<|eot_id|>", template=LLAMA_TEMPLATE,
        shape=shape(hidden_size=96, intermediate_size=160, num_attention_heads=3,
                    num_key_value_heads=1, head_dim=32, vocab_size=328, tie_word_embeddings=False),
        # As Llama 3's config.json has it, scaled so that wavelengths lie on both sides.
        old_rope=dict(rope_theta=10000.0, rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=64))),
    "qwen2": dict(
        config=Qwen2Config, model=Qwen2ForCausalLM, pattern=QWEN2, control=QWEN_CONTROL,
        bos=None, eos="<|im_end|>", template=QWEN_TEMPLATE,
        # More rows than the tokenizer has tokens, as Qwen2 has.
        shape=shape(hidden_size=128, intermediate_size=120, num_attention_heads=4, vocab_size=336,
                    tie_word_embeddings=True,
                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen3": dict(
        config=Qwen3Config, model=Qwen3ForCausalLM, pattern=QWEN2, control=QWEN_CONTROL,
        bos=None, eos="<|im_end|>", template=QWEN_TEMPLATE,
        shape=shape(hidden_size=64, intermediate_size=96, num_attention_heads=4, head_dim=32,
                    num_hidden_layers=3, vocab_size=320, tie_word_embeddings=False,
                    rms_norm_eps=1e-6,
                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
}


def make_tokenizer(spec):
    trained = Tokenizer(models.BPE())
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(spec["pattern"]), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    trained.pre_tokenizer = split
    trained.train_from_iterator(golden_text.SENTENCES + golden_text.CODE * 3, trainers.BpeTrainer(
        vocab_size=BASE_TOKENS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    parts = json.loads(trained.to_str())["model"]
    llama = spec["bos"] is not None
    tokenizer = Tokenizer(models.BPE(vocab=parts["vocab"],
                                     merges=[tuple(merge) for merge in parts["merges"]],
                                     ignore_merges=llama))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)
                                  for token in spec["control"]])
    if llama:
        bos = spec["bos"]
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                          special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    else:
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tokenizer(folder, spec, tokenizer):
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(token)): {
                "content": token, "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True}
            for token in spec["control"]},
        "bos_token": spec["bos"], "eos_token": spec["eos"],
        "clean_up_tokenization_spaces": False, "model_max_length": 512,
        "tokenizer_class": "PreTrainedTokenizerFast"}
    if spec["bos"] is None:
        config["chat_template"] = spec["template"]
    else:
        (folder / "chat_template.jinja").write_text(spec["template"], encoding="utf-8")
    write_json(folder / "tokenizer_config.json", config)


def random_model(spec, tokenizer, generator):
    ids = {"bos_token_id": tokenizer.token_to_id(spec["bos"]) if spec["bos"] else None,
           "eos_token_id": tokenizer.token_to_id(spec["eos"])}
    rope = spec.get("old_rope")
    extra = {} if rope is None else {
        "rope_parameters": {**rope["rope_scaling"], "rope_theta": rope["rope_theta"]}}
    model = spec["model"](spec["config"](**spec["shape"], **extra, **ids))
    for name, weight in model.state_dict().items():
        if name.endswith("norm.weight"):
            values = torch.rand(weight.shape, generator=generator) + 0.5
        else:
            # Untied embeddings and biases are as large as what they are added to; the rest keeps
            # logits within a few units.
            large = name.endswith("bias") or (name == "model.embed_tokens.weight" and
                                              not spec["shape"]["tie_word_embeddings"])
            values = torch.randn(weight.shape, generator=generator) * (0.7 if large else 0.12)
        weight.copy_(values)
    return model.to(torch.bfloat16)


def write_model(folder, spec, model):
    shards = {"max_shard_size": "200KB"} if spec["config"] is Qwen3Config else {}
    model.save_pretrained(folder, **shards)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)
    config = json.loads((folder / "config.json").read_text())
    if "old_rope" in spec:
        # The form of the published Llama 3 files, which transformers still reads.
        del config["rope_parameters"]
        config.update(spec["old_rope"])
        config["torch_dtype"] = config.pop("dtype")
    write_json(folder / "config.json", config)


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0].float().numpy()


def pack_ids(ids):
    return struct.pack("<I", len(ids)) + np.asarray(ids, dtype="<i4").tobytes()


def greedy(model, prompt):
    ids, margins = [], []
    for _ in range(NEW_TOKENS):
        last = logits_of(model, prompt + ids)[-1]
        second, first = np.sort(last)[-2:]
        ids.append(int(last.argmax()))
        margins.append(float(first - second))
    return ids, margins


def check_rope(spec, model):
    """transformers applies what config.json says, in whichever form it is written."""
    if "old_rope" not in spec:
        base, dims = 1000000.0, 32
        want = base ** (-np.arange(0, dims, 2) / dims)
        assert np.allclose(model.model.rotary_emb.inv_freq.numpy(), want, rtol=1e-5)
        return
    rope = spec["old_rope"]["rope_scaling"]
    frequencies = spec["old_rope"]["rope_theta"] ** (-np.arange(0, 32, 2) / 32)
    wavelengths = 2 * np.pi / frequencies
    smooth = np.clip((rope["original_max_position_embeddings"] / wavelengths -
                      rope["low_freq_factor"]) /
                     (rope["high_freq_factor"] - rope["low_freq_factor"]), 0, 1)
    want = (1 - smooth) * frequencies / rope["factor"] + smooth * frequencies
    assert np.allclose(model.model.rotary_emb.inv_freq.numpy(), want, rtol=1e-5)


def prompts_of(tokenizer, generator, vocab):
    long_text = " ".join(golden_text.SENTENCES[:6]) + "\n".join(golden_text.CODE[:3])
    texts = PROMPTS + [long_text]
    prompts = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts]
    prompts[-1] = {"ids": prompts[-1]["ids"][:LONG_PROMPT_TOKENS]}
    assert len(prompts[-1]["ids"]) == LONG_PROMPT_TOKENS
    prompts[-1]["text"] = tokenizer.decode(prompts[-1]["ids"], skip_special_tokens=True)
    again = tokenizer(prompts[-1]["text"])["input_ids"]
    if again != prompts[-1]["ids"]:
        del prompts[-1]["text"]
    # Any id at all, the ones without text included.
    prompts.append({"ids": torch.randint(vocab, (40,), generator=generator).tolist()})
    prompts.append({"ids": [vocab - 1]})
    return prompts


def write_reference(folder, spec, generator):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    assert type(model) is spec["model"]
    check_rope(spec, model)
    vocab = spec["shape"]["vocab_size"]
    prompts = prompts_of(tokenizer, generator, vocab)
    with open(folder / "logits.bin", "wb") as out, open(folder / "greedy.bin", "wb") as chosen:
        out.write(b"EBBTINY2" + struct.pack("<II", len(prompts), vocab))
        chosen.write(b"EBBGREE1" + struct.pack("<I", len(prompts)))
        for prompt in prompts:
            ids = prompt["ids"]
            logits = logits_of(model, ids)
            rows = list(range(len(ids))) if len(ids) <= 20 else sorted(
                set(range(0, len(ids), 7)) | {len(ids) - 1})
            out.write(pack_ids(ids) + pack_ids(rows) + logits[rows].astype("<f4").tobytes())
            prompt["greedy_ids"], margins = greedy(model, ids)
            chosen.write(pack_ids(ids) + pack_ids(prompt["greedy_ids"]) +
                         np.asarray(margins, dtype="<f4").tobytes())
            print(folder.name, len(ids), "tokens: logits' deviation", logits.std(), "largest",
                  abs(logits).max(), "smallest margin", min(margins))
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi, it's 5 o'clock"}]
    chat = {"messages": messages, "text": tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True)}
    chat["ids"] = tokenizer(chat["text"], add_special_tokens=False)["input_ids"]
    write_json(folder / "prompts.json", {"prompts": prompts, "chat": chat})


def convert_to_gguf(sources, folder, output):
    """llama.cpp's own converter, told which pre-tokenizer this is: it would know a published
    tokenizer by a hash."""
    sys.path[:0] = [str(sources), str(sources / "gguf-py")]
    os.chdir(sources)
    # It looks for a SentencePiece vocabulary first, which these models have none of.
    sys.modules.setdefault("sentencepiece", types.SimpleNamespace(SentencePieceProcessor=None))
    from conversion.base import TextModel
    TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
    sys.argv = ["convert_hf_to_gguf.py", str(folder), "--outfile", str(output), "--outtype", "bf16"]
    runpy.run_path(str(sources / "convert_hf_to_gguf.py"), run_name="__main__")


def check_gguf(path, folder):
    """llama.cpp on its own file agrees with transformers, as far as its float16 cache and bf16
    products let it."""
    import llama_cpp
    prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    model = llama_cpp.Llama(str(path), n_ctx=512, logits_all=True, verbose=False)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                     attn_implementation="eager").eval()
    for prompt in prompts:
        model.reset()
        model.eval(prompt["ids"])
        got = np.array(model.scores[:len(prompt["ids"])])
        want = logits_of(reference, prompt["ids"])
        difference = abs(got - want).max()
        print(path.name, len(prompt["ids"]), "tokens: llama.cpp differs by", difference)
        assert difference < 0.2, path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-cpp", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number, (name, spec) in enumerate(MODELS.items()):
        generator = torch.Generator().manual_seed(SEED + number)
        folder = HERE / f"tiny_{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        tokenizer = make_tokenizer(spec)
        with torch.no_grad():
            write_model(folder, spec, random_model(spec, tokenizer, generator))
        write_tokenizer(folder, spec, tokenizer)
        write_reference(folder, spec, generator)
    if arguments.llama_cpp is not None:
        for name in ("qwen2", "qwen3"):
            output = HERE / f"tiny_{name}.gguf"
            convert_to_gguf(arguments.llama_cpp.resolve(), HERE / f"tiny_{name}", output)
            check_gguf(output, HERE / f"tiny_{name}")


if __name__ == "__main__":
    main()
