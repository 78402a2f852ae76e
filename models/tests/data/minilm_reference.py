"""Makes minilm.json: token ids and embeddings of a few texts, by BERT written out in NumPy (float64).

usage: minilm_reference.py FOLDER > minilm.json      (FOLDER: model.safetensors, tokenizer.json, config.json)
needs: numpy, tokenizers
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

TEXTS = [
    "Hello",
    "What is the capital of France?",
    "Each report is about one museum. Which employs the most people?",
    "Write a function that returns the n-th Fibonacci number, and a test for it.",
    "naïve café – 12,5 % größer; 東京 is in Japan 🙂",
    "A long text is one whose attention spans many tokens, so that errors in softmax and pooling would show. " * 6,
]


def read_safetensors(path):
    raw = path.read_bytes()
    (header_bytes,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + header_bytes])
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__" or info["dtype"] != "F32":
            continue
        start, end = (8 + header_bytes + offset for offset in info["data_offsets"])
        tensors[name] = np.frombuffer(raw[start:end], dtype="<f4").reshape(info["shape"]).astype(np.float64)
    return tensors


def main(folder):
    weights = read_safetensors(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def layer_norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
        return x * weights[name + ".weight"] + weights[name + ".bias"]

    def attention(x, name):
        q, k, v = (
            linear(x, f"{name}.self.{part}").reshape(len(x), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        return linear(mixed.swapaxes(0, 1).reshape(len(x), -1), f"{name}.output.dense")

    def embed(ids):
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = layer_norm(x, "embeddings.LayerNorm")
        for index in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{index}"
            x = layer_norm(x + attention(x, f"{layer}.attention"), f"{layer}.attention.output.LayerNorm")
            inner = linear(x, f"{layer}.intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
            x = layer_norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lines = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        embedding = [round(float(x), 7) for x in embed(ids)]
        lines.append(json.dumps({"text": text, "ids": ids, "embedding": embedding}, ensure_ascii=False))
    print("[\n" + ",\n".join(lines) + "\n]")


main(Path(sys.argv[1]))
