// Continue: what its editor plugins send, through the adapters that they are built on, and its command line, which reads their config.yaml.
// Not here: an editor. Autocomplete sends what the plugin's core (of June 2026) was seen to send for Qwen2.5-Coder.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { constructLlmApi } from "@continuedev/openai-adapters";
import { ABOUT_ADA, BASE_URL, LONG, MODEL, WEATHER_TOOL, all, embeddingModel, raises, run, sameDirection } from "./checks.mjs";

// The plugin puts a slash behind the base URL, as these adapters want it.
const api = constructLlmApi({ provider: "openai", apiBase: `${BASE_URL}/`, apiKey: "unused" });
const body = (content, more) => ({ model: MODEL, messages: [{ role: "user", content }], max_tokens: 32, stream: true, ...more });
const signal = () => new AbortController().signal;
const said = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

const HOME = mkdtempSync(join(tmpdir(), "continue-"));
process.on("exit", () => rmSync(HOME, { recursive: true, force: true }));
const entry = (name, model, more = "") =>
  `  - name: ${name}\n    provider: openai\n    model: ${model}\n    apiBase: ${BASE_URL}\n    apiKey: unused\n    roles: [chat, edit, apply, autocomplete]\n${more}`;
function config(file, models) {
  writeFileSync(join(HOME, file), `name: Local\nversion: 0.0.1\nschema: v1\nmodels:\n${models}`);
  return join(HOME, file);
}
const GOOD = config("config.yaml", entry("Here", MODEL, "    defaultCompletionOptions:\n      contextLength: 32768\n      maxTokens: 64\n"));

/** What the command line says, with nothing on its stdin. */
function cn(file, ...words) {
  const quiet = { CONTINUE_GLOBAL_DIR: HOME, HOME, CONTINUE_CLI_ENABLE_TELEMETRY: "0", CONTINUE_METRICS_ENABLED: "0", CONTINUE_TELEMETRY_ENABLED: "0" };
  const child = spawn(process.execPath, ["node_modules/@continuedev/cli/dist/cn.js", "--config", file, ...words],
    { env: { ...process.env, ...quiet }, stdio: ["ignore", "pipe", "pipe"], timeout: 150_000 });
  const told = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => { told[name] += data; });
  return new Promise((ended) => child.on("close", (code) => ended({ code, ...told })));
}

async function models() {
  const listed = (await api.list()).map((model) => model.id);
  assert(listed.includes(MODEL), `${listed}`);
}

async function chatStreamed() {
  const chunks = await all(api.chatCompletionStream(body("Say hello."), signal()));
  assert(said(chunks) && chunks.at(-1).usage.completion_tokens > 0, JSON.stringify(chunks.at(-1)));
}

async function edit() {
  const prompt = "Rewrite this code so that it adds three numbers. Answer with code only.\n```python\ndef add(a, b):\n    return a + b\n```";
  assert(said(await all(api.chatCompletionStream(body(prompt, { max_tokens: 64, prediction: { type: "content", content: "def add(a, b):" } }), signal()))));
}

async function toolsStreamed() {
  const more = { tools: [WEATHER_TOOL], tool_choice: "required", parallel_tool_calls: false, max_tokens: 64 };
  const chunks = await all(api.chatCompletionStream(body(ABOUT_ADA, more), signal()));
  const calls = chunks.flatMap((chunk) => chunk.choices[0]?.delta?.tool_calls ?? []);
  assert.equal(typeof JSON.parse(calls.map((call) => call.function.arguments ?? "").join("")).city, "string");
}

async function autocomplete() {
  const [prefix, suffix] = ["def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"];
  const stop = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_start|>",
    "<|im_end|>", "/src/", "#- coding: utf-8", "```"];
  const asked = { model: MODEL, prompt: `<|fim_prefix|>${prefix}<|fim_suffix|>${suffix}<|fim_middle|>`, max_tokens: 4096, temperature: 0.01, stop, stream: true };
  const chunks = await all(api.completionStream(asked, signal()));
  const text = chunks.map((chunk) => chunk.choices[0]?.text ?? "").join("");
  assert(text && !text.includes("<|"), JSON.stringify(text));
  // Where the marks were read as text and not as tokens, a coder would not fill in.
  if (MODEL.includes("coder")) assert(text.startsWith("a + b"), JSON.stringify(text));
}

async function embeddings() {
  const found = await api.embed({ model: embeddingModel(), input: ["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."] });
  const [a, b, c] = found.data.map((item) => item.embedding);
  assert(sameDirection(a, b) > sameDirection(a, c));
}

async function errors() {
  const error = await raises(() => all(api.chatCompletionStream({ ...body("a"), model: "nobody" }, signal())));
  assert(error.status === 404 && error.message.includes(MODEL), `${error}`);
}

async function cancelMidStream() {
  const leave = new AbortController();
  let heard = 0;
  try { for await (const _ of api.chatCompletionStream(body(LONG, { max_tokens: 2000 }), leave.signal)) if (++heard === 3) leave.abort(); }
  catch (error) { assert.equal(error.name, "AbortError"); }
  assert(heard < 200 && said(await all(api.chatCompletionStream(body("Say hello."), signal()))), `${heard} chunks were heard`);
}

async function commandLine() {
  const { code, stdout, stderr } = await cn(GOOD, "-p", "Say hello.");
  assert(code === 0 && stdout.trim(), `${code}: ${stdout} ${stderr}`);
}

async function commandLineUnknownModel() {
  const { stdout, stderr } = await cn(config("unknown.yaml", entry("Nobody", "nobody")), "-p", "Say hello.");
  assert(/nobody/.test(stdout + stderr) && (stdout + stderr).includes(MODEL), `${stdout} ${stderr}`);
}

await run(models, chatStreamed, edit, toolsStreamed, autocomplete, embeddings, errors, cancelMidStream, commandLine, commandLineUnknownModel);
