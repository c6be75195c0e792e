"""Whole models on the device against transformers: random weights of each architecture, and the 8B
Llama shape with fewer layers.

    python3 check_models.py --library libebb_cuda.so --pack gpu_pack [--small]

The reference is transformers in float32 on the same bf16 weights. How far bf16 activations may lie
from it says transformers itself, run in bf16: our log-probabilities may be at most twice as far on
the average, and three times at the worst."""
import contextlib
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

import cases

TINY = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 1024, "head_dim": 32,
        "initializer_range": 0.08, "rms_norm_eps": 1e-5}
LLAMA_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
            "head_dim": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": False}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}


def config_of(kind, **changes):
    classes = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config,
               "qwen3": transformers.Qwen3Config}
    settings = TINY | changes
    rope = {"rope_type": "default"} | settings.pop("rope", {})
    theta = settings.pop("theta", 10000.0)
    if int(transformers.__version__.split(".")[0]) >= 5:
        settings["rope_parameters"] = rope | {"rope_theta": theta}
    else:
        settings["rope_theta"] = theta
        settings["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    return classes[kind](**settings)


def random_model(config, rng, device):
    """A model in bf16 whose biases and norms are random, too."""
    torch.manual_seed(rng.getrandbits(40))
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
            elif "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model.eval()


@torch.no_grad()
def log_probabilities(model, sequences, device):
    """[tokens of all sequences, vocabulary] in float64, on the CPU."""
    rows = []
    for tokens in sequences:
        logits = model(torch.tensor([tokens], device=device), use_cache=False).logits[0]
        rows.append(torch.log_softmax(logits.double(), dim=-1).cpu())
    return torch.cat(rows)


def ours(options, directory, sequences, chunk):
    tokens, output = directory / "tokens.txt", directory / "logits.npy"
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in sequences)
    tokens.write_text(lines, encoding="utf-8")
    command = [options.pack / "run", "model_logits", "--library", options.library,
               "--model", directory, "--tokens", tokens, "--output", output, "--chunk", chunk]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT, timeout=options.seconds, check=False)
    last = result.stdout.strip().splitlines()[-1:] or ["it said nothing"]
    assert result.returncode == 0, f"model_logits ended with status {result.returncode}: {last[0]}"
    return torch.log_softmax(torch.from_numpy(numpy.load(output)).double(), dim=-1)


def compare(got, reference, bf16):
    """Mean absolute distances of log-probabilities from the float32 reference, weighted by its
    probabilities, so that hopeless tokens do not count."""
    assert got.shape == reference.shape, f"{tuple(got.shape)} logits, not {tuple(reference.shape)}"
    missing = int(torch.isnan(got).any(dim=-1).sum())
    assert missing == 0, f"{missing} rows hold a NaN"
    weight = reference.exp()
    our_rows, torch_rows = ((weight * (x - reference).abs()).sum(dim=-1) for x in (got, bf16))
    floor = 1e-4  # Where bf16 by chance hits float32.
    for what, ours_off, torch_off, times in (
            ("on the average", our_rows.mean(), torch_rows.mean(), 2),
            ("at the worst row", our_rows.max(), torch_rows.max(), 3)):
        assert ours_off <= times * torch_off + floor, (
            f"{what} {float(ours_off):.4g} off float32, PyTorch in bf16 {float(torch_off):.4g}")
    return f"{float(our_rows.mean()):.4g} off float32, PyTorch in bf16 {float(torch_rows.mean()):.4g}"


def case(options, device, name, config, lengths, chunk):
    def check(rng):
        sequences = [[rng.randrange(config.vocab_size) for _ in range(n)] for n in lengths]
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            model = random_model(config, rng, device)
            bf16 = log_probabilities(model, sequences, device)
            model.save_pretrained(directory)
            reference = log_probabilities(model.float(), sequences, device)
            del model
            if device == "cuda":
                torch.cuda.empty_cache()
            return compare(ours(options, directory, sequences, chunk), reference, bf16)
    return f"model {name}, lengths {lengths}, chunks of {chunk}", check


def all_cases(options, device):
    lengths = [4, 37, 70] if options.small else [4, 37, 65, 130, 300]
    for name, config in (
            ("llama", config_of("llama", tie_word_embeddings=False)),
            ("llama tied, llama3 rope", config_of("llama", tie_word_embeddings=True, rope=LLAMA3_ROPE,
                                                  theta=500000.0)),
            ("qwen2", config_of("qwen2", tie_word_embeddings=True)),
            ("qwen3", config_of("qwen3", tie_word_embeddings=False, head_dim=64))):
        yield case(options, device, name, config, lengths, 48)
        if not options.small:
            yield case(options, device, name, config, lengths, 512)
    if not options.small:
        yield case(options, device, "llama 9/3 heads of 64",
                   config_of("llama", hidden_size=576, intermediate_size=1536, num_attention_heads=9,
                             num_key_value_heads=3, head_dim=64, vocab_size=49152), lengths, 128)
        yield case(options, device, "llama 8B shape, 4 layers",
                   config_of("llama", **LLAMA_8B, num_hidden_layers=4, initializer_range=0.02,
                             rope=LLAMA3_ROPE | {"original_max_position_embeddings": 8192},
                             theta=500000.0), [40, 600], 512)


def main():
    parser = cases.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--pack", type=pathlib.Path, required=True, help="it holds model_logits")
    parser.add_argument("--small", action="store_true", help="few and small cases, for the fake")
    options = parser.parse_args()
    # PyTorch's device, which need not be ours: with the fake library it is the CPU.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    transformers.utils.logging.disable_progress_bar()
    # Else float32 products are rounded to 10 bits on the device.
    torch.backends.cuda.matmul.allow_tf32 = False
    return cases.run(all_cases(options, device), options)


if __name__ == "__main__":
    sys.exit(main())
