#!/usr/bin/env python3
"""Golden data of the forward pass on SmolLM2-135M-Instruct.Q4_1.gguf.

    smollm2.py MODEL.gguf REPOSITORY

reads tests/golden/forward/mixed_text.txt and writes beside it

  smollm2_text.bin     for each segment its token ids, and for each position the distribution of the
                       next token, by transformers in float32 on the dequantised weights:
                       "EBBTEXT1", u32 segments, u32 top_k, then per segment u32 n, i32 ids[n], and
                       n - 1 times { f32 logprob of the next id, f32 margin of the best two,
                       f32 log of the mass outside the top k, u16 ids[k], f32 logprobs[k] }
  smollm2_greedy.bin   "EBBGREE1", u32 count, then per continuation { u32 n, i32 prompt[n],
                       u32 m, i32 ids[m], f32 margins[m] }
  smollm2_peer.json    how far llama.cpp is from the same reference on the same texts

The divergence is KL(reference || other) over the top k tokens of the reference and one more event,
"any other token"; it is at most the full divergence, and computed alike for everyone.
"""
import json
import struct
import sys

import numpy as np

from common import load_reference, log_softmax, pack_ids, read_texts, reference_logits

TOP_K = 40
CONTINUATION_TOKENS = 32
PROMPTS = [
    "The capital of France is", "Once upon a time, there was a little", "def fibonacci(n):\n",
    "Water boils at", "The three primary colours are", "In 1969, the first man",
    "import numpy as np\n\n", "Dear Sir or Madam,\n\nI am writing to", "1, 2, 3, 4, 5,",
    "The opposite of hot is", "A recipe for pancakes:\n", "To be, or not to be,",
    "Photosynthesis is the process by which", "SELECT name FROM users WHERE",
    "Bonjour, je m'appelle", "The largest planet in the solar system", "#include <stdio.h>\n\nint main(",
    "Q: What is 7 + 5?\nA:",
    "<|im_start|>user\nTell me a joke.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWhat is the tide?<|im_end|>\n<|im_start|>assistant\n",
]


def divergence(reference, other, top):
    """KL over the ids `top` and the rest, both arguments log-probabilities over the vocabulary."""
    p, q = reference[top], other[top]
    p_rest, q_rest = 1 - np.exp(p).sum(), 1 - np.exp(q).sum()
    total = (np.exp(p) * (p - q)).sum()
    if p_rest > 1e-12 and q_rest > 1e-12:
        total += p_rest * np.log(p_rest / q_rest)
    return total


def write_text(path, segments):
    with open(path, "wb") as out:
        out.write(b"EBBTEXT1" + struct.pack("<II", len(segments), TOP_K))
        for ids, logprobs in segments:
            out.write(pack_ids(ids))
            for i in range(len(ids) - 1):
                row = logprobs[i]
                top = np.argsort(-row, kind="stable")[:TOP_K]
                rest = np.log(max(1 - np.exp(row[top]).sum(), 1e-30))
                out.write(struct.pack("<fff", row[ids[i + 1]], row[top[0]] - row[top[1]], rest))
                out.write(top.astype("<u2").tobytes() + row[top].astype("<f4").tobytes())


def greedy(model, prompt):
    ids, margins = list(prompt), []
    for _ in range(CONTINUATION_TOKENS):
        row = log_softmax(reference_logits(model, ids)[-1])
        best = np.argsort(-row, kind="stable")[:2]
        margins.append(row[best[0]] - row[best[1]])
        ids.append(int(best[0]))
    return ids[len(prompt):], margins


def peer_figures(peer, segments):
    """llama.cpp against the reference: the figures that the fast kernels may not exceed."""
    differences, divergences, full, nll, peer_nll, flips = [], [], [], [], [], 0
    for ids, logprobs in segments:
        peer.reset()
        peer.eval(ids)
        other = log_softmax(peer.scores[:len(ids)])
        for i in range(len(ids) - 1):
            p, q = logprobs[i], other[i]
            top = np.argsort(-p, kind="stable")[:TOP_K]
            differences.append(abs(p[ids[i + 1]] - q[ids[i + 1]]))
            divergences.append(divergence(p, q, top))
            full.append((np.exp(p) * (p - q)).sum())
            nll.append(-p[ids[i + 1]])
            peer_nll.append(-q[ids[i + 1]])
            flips += int(np.argmax(p) != np.argmax(q))
    return {
        "positions": len(nll), "top_k": TOP_K,
        "reference_perplexity": float(np.exp(np.mean(nll))),
        "peer_perplexity": float(np.exp(np.mean(peer_nll))),
        "peer_mean_abs_logprob_difference": float(np.mean(differences)),
        "peer_mean_divergence": float(np.mean(divergences)),
        "peer_mean_divergence_full": float(np.mean(full)),
        "peer_different_best_tokens": flips,
    }


def main():
    model_path, repository = sys.argv[1:]
    folder = repository + "/tests/golden/forward/"
    import llama_cpp
    peer = llama_cpp.Llama(model_path, n_ctx=1024, n_batch=512, n_threads=2, n_threads_batch=2,
                           logits_all=True, verbose=False)
    model = load_reference(model_path)
    encode = lambda text: peer.tokenize(text.encode(), add_bos=False, special=True)
    segments = []
    for title, text in read_texts(folder + "mixed_text.txt"):
        ids = encode(text)
        segments.append((ids, log_softmax(reference_logits(model, ids))))
        print(f"{len(ids):5} tokens  {title}")
    write_text(folder + "smollm2_text.bin", segments)
    with open(folder + "smollm2_greedy.bin", "wb") as out:
        out.write(b"EBBGREE1" + struct.pack("<I", len(PROMPTS)))
        for text in PROMPTS:
            prompt = encode(text)
            ids, margins = greedy(model, prompt)
            out.write(pack_ids(prompt) + pack_ids(ids) + np.asarray(margins, dtype="<f4").tobytes())
            print(repr(text), "->", repr(peer.detokenize(ids).decode(errors="replace")))
    figures = peer_figures(peer, segments)
    figures["peer"] = "llama-cpp-python " + llama_cpp.__version__
    with open(folder + "smollm2_peer.json", "w") as out:
        json.dump(figures, out, indent=2)
        out.write("\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
