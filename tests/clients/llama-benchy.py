"""llama-benchy: its own measurement, with a text and a tokenizer from here, since it would fetch both."""
import functools, http.server, json, os, subprocess, sys, tempfile, threading
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from checks import BASE_URL, MODEL

WORDS = "the lighthouse keeper and her cat look at the sea and the sea looks at them".split()

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass

def measure_prefill_and_decoding():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "book.txt").write_text(" ".join(WORDS * 2000))
        known = {word: at for at, word in enumerate(["[UNK]", *sorted(set(WORDS))])}
        tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(Path(folder, "tokenizer.json")))
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = Path(folder, "result.json")
        command = [Path(sys.executable).parent / "llama-benchy", "--base-url", BASE_URL, "--model", MODEL, "--tokenizer", folder, "--pp", "64", "--tg", "8",
                   "--runs", "2", "--concurrency", "1", "2", "--skip-coherence", "--book-url", f"http://127.0.0.1:{server.server_port}/book.txt",
                   "--save-result", result, "--format", "json"]
        # What it fetches is kept in the home.
        done = subprocess.run(command, capture_output=True, text=True, timeout=170, env=dict(os.environ, HOME=folder, HF_HOME=folder))
        server.shutdown()
        assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
        measured = json.loads(result.read_text())["benchmarks"]
        assert [row["concurrency"] for row in measured] == [1, 2], measured
        assert all(row["pp_throughput"]["mean"] > 0 and row["tg_throughput"]["mean"] > 0 for row in measured), measured
