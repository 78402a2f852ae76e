#!/usr/bin/env python3
"""What a model promises on this machine: loading again, memory, and a neighbour that takes a core. Prints the figures and fails where one is broken.

usage: promises.py BANDMASTER MODEL.gguf...      Linux; the machine should be quiet.

For each model: seconds until it is ready when its packed form is there (at most 0.3); the most memory a prompt of 4,096 tokens takes (at most
1.15 x file + cache + 200 MiB); and the decode rate at batch 8 while another process spins on one of the cores, as a share of the rate without
(at least 0.55 with two threads).
"""
import json, os, statistics, subprocess, sys, time

READY_S, MEMORY_SPARE, SHARE = 0.3, 200 << 20, 0.55

def bench(bandmaster, model, *flags):
    start = time.monotonic()
    command = [bandmaster, "bench", "throughput", "--model", model, "--json", "--offline", *flags]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"][0]
    return row, time.monotonic() - start

def ready_s(bandmaster, model):
    flags = ["--prompt-tokens", "1", "--gen-tokens", "1", "--batch", "1", "--warmup", "0", "--repeat", "1"]
    bench(bandmaster, model, *flags)
    def once():
        row, wall = bench(bandmaster, model, *flags)
        return wall - row["prefill_s"] - row["decode_s"]
    return statistics.median(once() for _ in range(5))

def spare_bytes(bandmaster, model):
    row, _ = bench(bandmaster, model, "--prompt-tokens", "4096", "--gen-tokens", "8", "--batch", "1", "--warmup", "0", "--repeat", "1")
    return row["peak_rss_bytes"] - 1.15 * os.path.getsize(model) - row["kv_pool_bytes"], row["peak_rss_bytes"]

def share_beside_a_neighbour(bandmaster, model):
    def rate():
        return bench(bandmaster, model, "--batch", "8", "--gen-tokens", "48", "--repeat", "3", "--threads", "2")[0]["decode_tokens_per_s"]
    shares = []
    for _ in range(3):
        quiet = rate()
        spinner = subprocess.Popen([sys.executable, "-c", "import os\nos.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"])
        try:
            time.sleep(0.3)
            shares.append(rate() / quiet)
        finally:
            spinner.kill()
            spinner.wait()
    return statistics.median(shares), shares

def main():
    if len(sys.argv) < 3: sys.exit(__doc__)
    bandmaster, broken = sys.argv[1], []
    for model in sys.argv[2:]:
        ready = ready_s(bandmaster, model)
        spare, peak = spare_bytes(bandmaster, model)
        share, shares = share_beside_a_neighbour(bandmaster, model)
        name = os.path.basename(model)
        print(f"{name}: ready in {ready:.3f} s; peak {peak >> 20} MiB, {int(spare) >> 20} MiB over 1.15 x file + cache; beside a neighbour {share:.2f} of the quiet rate ({', '.join(f'{s:.2f}' for s in shares)})", flush=True)
        if ready > READY_S: broken.append(f"{name}: ready in {ready:.3f} s")
        if spare > MEMORY_SPARE: broken.append(f"{name}: {int(spare) >> 20} MiB over")
        if share < SHARE: broken.append(f"{name}: {share:.2f} beside a neighbour")
    if broken: sys.exit("broken: " + "; ".join(broken))

if __name__ == "__main__":
    main()
