// OpenAI's client for JavaScript: chat, streams, tools, structured output, responses, embeddings, errors.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, PERSON, WEATHER_TOOL, all, embeddingModel, raises, run, sameDirection } from "./checks.mjs";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: "unused", maxRetries: 0, timeout: 150_000 });
const HELLO = [{ role: "system", content: "You answer in a few words." }, { role: "user", content: "Say hello." }];
const ask = (more, options) => client.chat.completions.create({ model: MODEL, messages: HELLO, max_tokens: 24, ...more }, options);
const user = (content) => [{ role: "user", content }];

function usageAddsUp(usage) {
  assert(usage.prompt_tokens > 0 && usage.completion_tokens > 0 && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, JSON.stringify(usage));
}

async function models() {
  const listed = (await all(client.models.list())).map((model) => model.id);
  assert(listed.includes(MODEL), `${listed}`);
}

async function chat() {
  const answer = await ask({ temperature: 0.5, stop: ["\n\n"], seed: 3 });
  assert(answer.choices[0].message.content && ["stop", "length"].includes(answer.choices[0].finish_reason));
  usageAddsUp(answer.usage);
}

async function streamWithUsage() {
  const chunks = await all(await ask({ stream: true, stream_options: { include_usage: true } }));
  assert(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""));
  assert.equal(chunks.filter((chunk) => chunk.choices[0]?.finish_reason).length, 1);
  usageAddsUp(chunks.at(-1).usage);
}

async function toolsRoundTrip() {
  const tools = [WEATHER_TOOL];
  const first = (await ask({ messages: user(ASK_WEATHER), tools, tool_choice: "required", parallel_tool_calls: false, max_tokens: 64 })).choices[0];
  assert.equal(first.finish_reason, "tool_calls");
  const [call] = first.message.tool_calls;
  assert.equal(call.function.name, "get_weather");
  assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
  const messages = [...user(ASK_WEATHER), first.message, { role: "tool", tool_call_id: call.id, content: "18 degrees and sunny" }];
  assert((await ask({ messages, tools, tool_choice: "none" })).choices[0].message.content);
}

/** The client puts the deltas of a call together. */
async function toolsStreamed() {
  const choice = { type: "function", function: { name: "get_weather" } };
  const stream = client.chat.completions.stream({ model: MODEL, messages: user(ASK_WEATHER), tools: [WEATHER_TOOL], tool_choice: choice, max_tokens: 64 });
  const call = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0].function;
  assert(call.name === "get_weather" && typeof JSON.parse(call.arguments).city === "string", JSON.stringify(call));
}

async function structuredOutput() {
  const answer = await ask({ messages: user(ABOUT_ADA), response_format: PERSON, max_tokens: 128, temperature: 0 });
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)).sort(), ["age", "home", "name"]);
}

async function completions() {
  const answer = await client.completions.create({ model: MODEL, prompt: "def add(a, b):", max_tokens: 8 });
  assert(answer.choices[0].text);
}

async function responsesStreamed() {
  const stream = client.responses.stream({ model: MODEL, input: "Say hello.", max_output_tokens: 24 });
  const said = (await all(stream)).filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  const whole = await stream.finalResponse();
  assert(said && said === whole.output_text, `${said} | ${whole.output_text}`);
}

async function embeddings() {
  const input = ["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."];
  const found = await client.embeddings.create({ model: embeddingModel(), input }); // this client asks for base64
  const [a, b, c] = found.data.map((item) => item.embedding);
  assert(a.length > 100 && sameDirection(a, b) > sameDirection(a, c));
}

async function errors() {
  const unknown = await raises(() => ask({ model: "nobody" }));
  assert(unknown instanceof OpenAI.NotFoundError && unknown.code === "model_not_found" && unknown.message.includes(MODEL), `${unknown}`);
  for (const stream of [false, true]) {
    const error = await raises(() => ask({ temperature: -1, stream }));
    assert(error instanceof OpenAI.BadRequestError && error.param === "temperature", `${error}`);
  }
}

async function cancelMidStream() {
  const leave = new AbortController();
  const stream = await ask({ messages: user(LONG), max_tokens: 2000, stream: true }, { signal: leave.signal });
  let heard = 0;
  for await (const _ of stream) if (++heard === 3) leave.abort();
  assert(heard < 200, `${heard} chunks were heard`);
  assert((await ask({ max_tokens: 4 })).choices[0].message.content);
}

await run(models, chat, streamWithUsage, toolsRoundTrip, toolsStreamed, structuredOutput, completions, responsesStreamed, embeddings, errors, cancelMidStream);
