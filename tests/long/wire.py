"""What the suites against a running server share: an environment of pinned packages, requests by hand, streams, a process's memory."""
import http.client, json, os, re, subprocess, sys, time, urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIG, SMALL, EMBEDDER = "qwen2.5-coder-0.5b", "smollm2-135m", "minilm-l6-v2"

def environment(name, *packages):
    """Goes on in a virtual environment with these packages, kept under target/clients/NAME."""
    folder, wanted = ROOT / "target" / "clients" / name, "\n".join(packages) + "\n"
    if Path(sys.prefix).resolve() == folder.resolve(): return
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        stamp.write_text(wanted)
    os.execv(folder / "bin/python", [str(folder / "bin/python"), *sys.argv])

class Answer:
    """A response: status, headers, body. `json` is None when the body is none."""
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body
        try: self.json = json.loads(body)
        except ValueError: self.json = None

    def __repr__(self): return f"{self.status} {self.body[:400].decode(errors='replace')}"

class Server:
    """A server on this machine (others are not asked)."""
    def __init__(self, url, timeout_s=150):
        parts = urllib.parse.urlsplit(url)
        if parts.hostname not in ("127.0.0.1", "localhost", "::1"): sys.exit(f"{url}: only a server on this machine is tested")
        self.host, self.port, self.timeout_s = parts.hostname, parts.port or 80, timeout_s

    def open(self, method, path, body=None, headers=()):
        """A request sent: the connection and its response, the body unread. Bytes go as they are, all else as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        try:
            connection.request(method, path, sent, {"content-type": "application/json", **dict(headers)})
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def call(self, method, path, body=None, headers=()):
        connection, response = self.open(method, path, body, headers)
        try: return Answer(response, response.read())
        finally: connection.close()

    def post(self, path, body, headers=()): return self.call("POST", path, body, headers)

    def get(self, path): return self.call("GET", path)

    def events(self, path, body, deadline_s=300):
        """The stream's events as (name, data) as they come; an answer that is no stream comes as one event ("answer", Answer)."""
        connection, response = self.open("POST", path, body)
        end = time.monotonic() + deadline_s
        try:
            if response.status != 200 or not (response.getheader("content-type") or "").startswith("text/event-stream"):
                yield "answer", Answer(response, response.read())
                return
            name, data = "", []
            for line in response:
                if time.monotonic() > end: raise TimeoutError(f"the stream did not end within {deadline_s} s")
                line = line.decode().rstrip("\r\n")
                if line.startswith("event:"): name = line[6:].strip()
                elif line.startswith("data:"): data.append(line[5:].removeprefix(" "))
                elif not line and data:
                    yield name, "\n".join(data)
                    name, data = "", []
        finally: connection.close()

def rss_bytes(pid):
    """Resident memory of a process without pages of files (a model's weights come and go with the page cache)."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("RssAnon:"): return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no RssAnon")

def metric(text, *words):
    """The sum of a metric's samples whose name and labels have all the words; None when there is none."""
    found = []
    for line in text.splitlines():
        sample = re.match(r"([a-zA-Z_:][\w:]*(?:\{.*?\})?) ([-+.\w]+)", line)
        if sample and all(word in sample[1] for word in words): found.append(float(sample[2]))
    return sum(found) if found else None

def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
