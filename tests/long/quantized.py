#!/usr/bin/env python3
"""Makes models in every quantization from one model, and asks llama.cpp for the ten likeliest tokens at each place of a text:
what `parity.rs` compares with exact arithmetic. Each is NAME.gguf with NAME.json beside it; what is there already is kept.

usage: quantized.py LLAMA_BIN_DIR MODEL.gguf FOLDER TYPE...

LLAMA_BIN_DIR has llama-quantize and llama-server. The text is that of examples/reports. A TYPE is llama.cpp's name (Q5_K); every matrix is
made of that type, from the model's weights as F16.
"""
import json, pathlib, socket, subprocess, sys, time, urllib.request

FIRST, TOKENS = 4, 400

def quantize(binaries, source, target, kind, *flags):
    if target.exists(): return
    part = target.with_suffix(".part")
    subprocess.run([binaries / "llama-quantize", "--allow-requantize", *flags, source, part, kind], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part.rename(target)

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

def ask(url, body=None):
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)

def wait_until_ready(url, server):
    for _ in range(600):
        if server.poll() is not None: sys.exit(f"llama-server ended with {server.returncode}")
        try:
            return ask(url + "/health")
        except OSError:
            time.sleep(0.2)
    sys.exit("llama-server was not ready within two minutes")

def text():
    folder = pathlib.Path(__file__).resolve().parents[2] / "examples" / "reports"
    return "\n\n".join(file.read_text() for file in sorted(folder.iterdir()))

def likeliest(binaries, model):
    """Tokens of the text, and for each place but the first few the ten likeliest with their log-probabilities."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [binaries / "llama-server", "-m", model, "--port", str(port), "-c", "2048", "-np", "1", "-t", "2"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(url, server)
        tokens, rows = ask(url + "/tokenize", {"content": text()})["tokens"][:TOKENS], []
        for position in range(FIRST, len(tokens)):
            body = {"prompt": tokens[:position], "n_predict": 1, "n_probs": 10, "temperature": 0, "cache_prompt": True}
            top = ask(url + "/completion", body)["completion_probabilities"][0]["top_logprobs"]
            rows.append({"position": position, "top": [[one["id"], one["logprob"]] for one in top]})
        return tokens, rows
    finally:
        server.terminate()
        server.wait()

def main():
    if len(sys.argv) < 5: sys.exit(__doc__)
    binaries, model, folder = map(pathlib.Path, sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / f"{model.stem}.f16"
    for kind in sys.argv[4:]:
        target = folder / f"{model.stem}-{kind}.gguf"
        scores = target.with_suffix(".json")
        if scores.exists(): continue
        if not target.exists():
            quantize(binaries, model, whole, "F16", "--pure")
            quantize(binaries, whole, target, kind, "--pure")
        tokens, rows = likeliest(binaries, target)
        scores.write_text(json.dumps({"tokens": tokens, "rows": rows, "greedy": []}))
        print(f"{target.name}: {len(rows)} places", flush=True)
    whole.unlink(missing_ok=True)

if __name__ == "__main__":
    main()
