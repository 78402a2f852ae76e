"""Runs bandmaster and candle by turns; called by compare-candle.sh, which builds candle.

usage: compare_candle.py CANDLE_PEER BANDMASTER MODEL.gguf... [--rounds 3] [--threads N] [--prompt 128] [--gen 24] [--json]

A figure is the median over the rounds, tokens per second of one sequence; the ratio is ours over candle's. Ends with
status 1 when any ratio is below 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

FIELDS = {"prefill": "prefill_tokens_per_s", "decode": "decode_tokens_per_s"}


def output_of(command, **extra):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **extra)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}")
    return json.loads(done.stdout)


def ours(flags, model):
    report = output_of(
        [flags.bandmaster, "bench", "throughput", "--model", model, "--batch", "1", "--repeat", "1", "--warmup", "1", "--json"]
        + ["--prompt-tokens", str(flags.prompt), "--gen-tokens", str(flags.gen), "--threads", str(flags.threads)]
    )
    return report["rows"][0]


def candles(flags, model):
    return output_of(
        [flags.candle, model, "--prompt-tokens", str(flags.prompt), "--gen-tokens", str(flags.gen), "--warmup", "1", "--repeat", "1"],
        env={**os.environ, "RAYON_NUM_THREADS": str(flags.threads)},
    )


def compare(flags, model):
    rounds = [(ours(flags, model), candles(flags, model)) for _ in range(flags.rounds)]
    for what, field in FIELDS.items():
        us, them = ([sides[side][field] for sides in rounds] for side in (0, 1))
        yield {
            "model": Path(model).name,
            "what": what,
            "ours": statistics.median(us),
            "candle": statistics.median(them),
            "ratio": statistics.median(us) / statistics.median(them),
            "ours_all": us,
            "candle_all": them,
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("candle")
    parser.add_argument("bandmaster")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--gen", type=int, default=24)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_intermixed_args()
    rows = [row for model in flags.models for row in compare(flags, model)]
    if flags.json:
        print(json.dumps({"threads": flags.threads, "prompt_tokens": flags.prompt, "gen_tokens": flags.gen, "rows": rows}))
    else:
        print(f"{'model':28} {'tok/s':8} {'ours':>9} {'candle':>9} {'ratio':>6}   spread of ours / candle's")
        for row in rows:
            spread = " / ".join(f"{min(all_):.0f}-{max(all_):.0f}" for all_ in (row["ours_all"], row["candle_all"]))
            print(f"{row['model'][:28]:28} {row['what']:8} {row['ours']:9.1f} {row['candle']:9.1f} {row['ratio']:6.2f}   {spread}")
    sys.exit(any(row["ratio"] < 1 for row in rows))


main()
