#!/usr/bin/env python3
"""Attacks on the memory and the time of a server: what they take at their peak, how long, and what is left of it.

usage: attacks.py BANDMASTER MODEL.gguf [--only NAME...] [--peak-mb 768] [--left-mb 64] [--seconds 10]

The model is copied with a chat template that turns hostile at certain words, and is served alone. Several clients ask at once:

* `long`, `lines`, `strip`: the template writes 60 MB, splits 60 million lines, strips 20 MB by 20 million characters;
* `documents`, `variables`, `description`: a body of some MB that a template may write again and again;
* `grammars`: 40 clients send schemas that cost much, and `/apply-template` must answer beside them (within --beside-ms);
* `leaves`: a client asks for the tokens of 8 MB and leaves: its work ends within a second;
* `half-closed`: a client closes its sending half, and hears its answer.

Each attack's growth is at most --peak-mb, 4 s later at most --left-mb are left, and it is answered within --seconds.
"""
import argparse, contextlib, http.client, json, socket, struct, subprocess, sys, tempfile, threading, time
from pathlib import Path

from wire import Server, rss_bytes

CHAT, HELLO = "/v1/chat/completions", [{"role": "user", "content": "Hi"}]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if messages[0].content == 'LONG' %}{% for i in range(100000) %}{{ 'x' * 600 }}{% endfor %}{% endif %}"
    "{% if messages[0].content == 'LINES' %}{{ ('\\n' * 60000000).splitlines() | length }}{% endif %}"
    "{% if messages[0].content == 'STRIP' %}{{ ('a' * 20000000).strip('b' * 20000000 ~ 'a') | length }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEMPLATE_KEY, TEXT, LIST = b"tokenizer.chat_template", 8, 9
NUMBER_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

class Gguf:
    """The head of a GGUF file, read from its beginning."""
    def __init__(self, data):
        self.data = data
        self.magic, self.version, self.tensors, self.fields = struct.unpack_from("<4sIQQ", data, 0)
        self.at, self.alignment = 24, 32

    def take(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        length = self.take("<Q")
        self.at += length
        return self.data[self.at - length:self.at]

    def pass_value(self, kind):
        if kind == TEXT: self.text()
        elif kind == LIST:
            inner, count = self.take("<I"), self.take("<Q")
            if inner in NUMBER_BYTES: self.at += count * NUMBER_BYTES[inner]
            else:
                for _ in range(count): self.pass_value(inner)
        else: self.at += NUMBER_BYTES[kind]

    def pass_tensor(self):
        self.text()
        dimensions = self.take("<I")
        self.at += 8 * dimensions + 12

def with_template(source, target, template):
    """Copies a GGUF file, with another chat template."""
    data = Path(source).read_bytes()
    file, kept, template = Gguf(data), [], template.encode()
    for _ in range(file.fields):
        start = file.at
        key, kind = file.text(), file.take("<I")
        if key == b"general.alignment": (file.alignment,) = struct.unpack_from("<I", data, file.at)
        file.pass_value(kind)
        if key != TEMPLATE_KEY: kept.append(data[start:file.at])
    kept.append(struct.pack("<Q", len(TEMPLATE_KEY)) + TEMPLATE_KEY + struct.pack("<IQ", TEXT, len(template)) + template)
    start = file.at
    for _ in range(file.tensors): file.pass_tensor()
    head = struct.pack("<4sIQQ", file.magic, file.version, file.tensors, len(kept)) + b"".join(kept) + data[start:file.at]
    head += bytes(-len(head) % file.alignment)
    weights = file.at + -file.at % file.alignment
    Path(target).write_bytes(head + data[weights:])

@contextlib.contextmanager
def served(a):
    with tempfile.TemporaryDirectory() as home:
        model = Path(home) / "hostile.gguf"
        with_template(a.model, model, TEMPLATE)
        command = [a.bandmaster, "serve", "--port", "0", "--offline", "--home", home, "--model", model]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            server = Server(process.stdout.readline().split()[-1])
            while server.get("/health").status != 200: time.sleep(0.05)
            if (answer := server.post(CHAT, chat("warm"))).status != 200: sys.exit(f"a small request fails: {answer}")
            yield server, process.pid
        finally:
            process.terminate(); process.wait()

def chat(content="Hi", **fields): return {"messages": [{"role": "user", "content": content}], "max_tokens": 2, **fields}

def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100

def peak_bytes(pid):
    found = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) << 10

def together(a, server, pid, clients, body):
    """So many clients ask the same at once; what is wrong with that."""
    sent, answers = json.dumps(body).encode(), []
    def ask():
        try: answers.append(server.post(CHAT, sent).status)
        except OSError as error: answers.append(type(error).__name__)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew
    before, cpu, begun = rss_bytes(pid), cpu_s(pid), time.monotonic()
    asking = [threading.Thread(target=ask) for _ in range(clients)]
    for one in asking: one.start()
    for one in asking: one.join()
    took, peak = time.monotonic() - begun, (peak_bytes(pid) - before) / 1e6
    time.sleep(4)
    left = (rss_bytes(pid) - before) / 1e6
    print(f"  {clients} at once: {took:.1f} s, {cpu_s(pid) - cpu:.1f} s of CPU, peak {peak:+.0f} MB, 4 s later {left:+.0f} MB, {sorted(set(map(str, answers)))}")
    if not set(answers) <= {200, 400, 413, 429, 503}: return f"answers {answers}"
    if took > a.seconds: return f"{took:.1f} s"
    if peak > a.peak_mb: return f"{peak:.0f} MB at the peak"
    return f"{left:.0f} MB are left" if left > a.left_mb else None

def leaves(a, server, pid):
    body = json.dumps({"content": " " * 8_000_000}).encode()
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(request("/tokenize", body))
        time.sleep(0.8)
    before = cpu_s(pid)
    time.sleep(8)
    after = cpu_s(pid) - before
    print(f"  {after:.1f} s of CPU after the client left")
    return f"{after:.1f} s of CPU" if after > 1 else None

def half_closed(a, server, pid):
    found = b""
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        connection.sendall(request(CHAT, json.dumps(chat()).encode()))
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536): found += part
    print(f"  {len(found)} bytes are heard")
    return None if b" 200 OK" in found.split(b"\r\n")[0] else f"heard {found[:100]!r}"

def grammars(a, server, pid):
    over, took = threading.Event(), []
    def flood(number):
        turn = 0
        while not over.is_set():
            turn += 1
            properties = {f"p{number}_{turn}_{at}": {"type": "string", "pattern": "^(a|b){1,%d}c+[0-9a-f]{3,40}$" % (20 + at)} for at in range(12)}
            try: server.post(CHAT, chat(json_schema={"type": "object", "properties": properties, "required": list(properties)}))
            except (OSError, http.client.HTTPException): pass
    flooding = [threading.Thread(target=flood, args=(number,)) for number in range(40)]
    for one in flooding: one.start()
    time.sleep(2)
    for _ in range(10):
        begun = time.monotonic()
        status = server.post("/apply-template", {"messages": HELLO}).status
        took.append(1e3 * (time.monotonic() - begun) if status == 200 else float("inf"))
        time.sleep(0.3)
    over.set()
    for one in flooding: one.join()
    print(f"  /apply-template beside 40 floods: {min(took):.0f} to {max(took):.0f} ms")
    return f"{max(took):.0f} ms" if max(took) > a.beside_ms else None

def request(path, body):
    return b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(body), body)

def asked(clients, body): return lambda a, server, pid: together(a, server, pid, clients, body)

ATTACKS = {
    "long": asked(3, chat("LONG")), "lines": asked(4, chat("LINES")), "strip": asked(1, chat("STRIP")),
    "documents": asked(8, chat(documents=[{"a": "b"}] * 300_000)), "variables": asked(8, chat(chat_template_kwargs={"x": [[]] * 500_000})),
    "description": asked(8, chat(tools=[{"function": {"name": "f", "description": "x " * 4_000_000}}])),
    "leaves": leaves, "half-closed": half_closed, "grammars": grammars,
}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster"); p.add_argument("model")
    p.add_argument("--only", nargs="+", choices=ATTACKS)
    p.add_argument("--peak-mb", type=float, default=768); p.add_argument("--left-mb", type=float, default=64)
    p.add_argument("--seconds", type=float, default=10); p.add_argument("--beside-ms", type=float, default=3000)
    a = p.parse_args()
    failed = []
    with served(a) as (server, pid):
        for name in a.only or ATTACKS:
            print(name, flush=True)
            problem = ATTACKS[name](a, server, pid)
            if not problem and server.post(CHAT, chat()).status != 200: problem = "a small request fails after it"
            if problem: failed.append(f"{name}: {problem}")
    for problem in failed: print(f"FAILED {problem}")
    sys.exit(bool(failed))

if __name__ == "__main__": main()
