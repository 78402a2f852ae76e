#!/usr/bin/env python3
"""Measures llama-server with `bandmaster bench workflow` or `bench serve`, at each of several settings, and keeps every result.

usage: llama_server.py BANDMASTER LLAMA_BIN OUT --planner FILE.gguf --worker FILE.gguf --traces map,vote --rounds 1
       llama_server.py BANDMASTER LLAMA_BIN OUT --model FILE.gguf --workloads chat,fanout,mixed --concurrency 8 --requests 32

For traces, two servers stand side by side, one a model, as somebody who has two models would run them. Settings: 1 or 2
threads each (`--threads`), weights repacked or not; always 16 slots over one cache, reuse of cached chunks, and waiting without
spinning (OMP_WAIT_POLICY=passive, --poll 0) unless `--wait active`. Writes OUT/WHAT.SETTING.json for each, and prints which setting was the fastest.
"""
import argparse, contextlib, json, os, pathlib, socket, subprocess, sys, time, urllib.request

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

@contextlib.contextmanager
def server(a, model, setting, log):
    port = free_port()
    name = pathlib.Path(model).stem
    command = [str(pathlib.Path(a.llama_bin, "llama-server")), "-m", model, "--alias", name, "--host", "127.0.0.1", "--port", str(port),
               "-t", str(setting["threads"]), "-np", "16", "-c", str(a.context), "--kv-unified", "--cache-reuse", "256",
               "--no-webui", *(["--poll", "0"] if a.wait == "passive" else []), *(["--no-repack"] if not setting["repack"] else [])]
    env = dict(os.environ, **({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"} if a.wait == "passive" else {}))
    with open(log, "w") as out:
        out.write(" ".join(command) + "\n"); out.flush()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                if process.poll() is not None:
                    sys.exit(f"llama-server ended: see {log}")
                try:
                    if urllib.request.urlopen(url + "/health", timeout=2).status == 200:
                        break
                except OSError:
                    time.sleep(0.2)
            yield url, name
        finally:
            process.terminate(); process.wait()

def measure(command, path):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"  {path.name}: {done.stderr.strip().splitlines()[-1:]}"); return None
    path.write_text(done.stdout)
    return json.loads(done.stdout)

def settings(a):
    for threads in a.threads.split(","):
        for repack in a.repack.split(","):
            yield {"name": f"t{threads}-{'repack' if repack == 'on' else 'norepack'}", "threads": threads, "repack": repack == "on"}

def traces(a, out):
    best = {}
    for setting in settings(a):
        for trace in a.traces.split(","):
            path = out / f"{pathlib.Path(trace).stem}.{setting['name']}.json"
            with server(a, a.planner, setting, out / "planner.log") as (planner, p), server(a, a.worker, setting, out / "worker.log") as (worker, w):
                found = measure([a.bandmaster, "bench", "workflow", "--trace", trace, "--url", f"planner={planner}", "--url", f"worker={worker}",
                                 "--role", f"planner={p}", "--role", f"worker={w}", "--repeat", str(a.rounds), "--json"], path)
            if found:
                print(f"  {path.stem}: {found['wall_s']:.2f} s", flush=True)
                best[trace] = min(best.get(trace, (1e9, "")), (found["wall_s"], setting["name"]))
    for trace, (wall, name) in best.items():
        print(f"{trace}: {wall:.2f} s with {name}")

def serve(a, out):
    best = {}
    for setting in settings(a):
        for workload in a.workloads.split(","):
            path = out / f"{workload}.{setting['name']}.json"
            with server(a, a.model, setting, out / "server.log") as (url, name):
                found = measure([a.bandmaster, "bench", "serve", "--url", url, "--model", name, "--workload", workload,
                                 "--concurrency", str(a.concurrency), "--requests", str(a.requests), "--json"], path)
            if found:
                print(f"  {workload} {setting['name']}: {found['output_tokens_per_s']:.1f} tok/s, first token p50 {found['ttft_ms']['p50']:.0f} "
                      f"p99 {found['ttft_ms']['p99']:.0f} ms, between p50 {found['itl_ms']['p50']:.0f} p99 {found['itl_ms']['p99']:.0f} ms", flush=True)
                best[workload] = max(best.get(workload, (0, "")), (found["output_tokens_per_s"], setting["name"]))
    for workload, (rate, name) in best.items():
        print(f"{workload}: {rate:.1f} tok/s with {name}")

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster"); p.add_argument("llama_bin"); p.add_argument("out")
    p.add_argument("--planner"); p.add_argument("--worker"); p.add_argument("--traces", default="map,aspects,write-test-fix,vote,deep")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--model"); p.add_argument("--workloads", default="chat,fanout,mixed")
    p.add_argument("--concurrency", type=int, default=8); p.add_argument("--requests", type=int, default=32)
    p.add_argument("--threads", default="1,2"); p.add_argument("--repack", default="on,off"); p.add_argument("--wait", choices=["passive", "active"], default="passive"); p.add_argument("--context", type=int, default=32768)
    a = p.parse_args()
    out = pathlib.Path(a.out); out.mkdir(parents=True, exist_ok=True)
    if a.planner and a.worker: traces(a, out)
    if a.model: serve(a, out)

if __name__ == "__main__":
    main()
