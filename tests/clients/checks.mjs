// Runs a JavaScript client's checks: each function that it hands to `run`, in their order, prints a line. Exit status 1 when one fails.
// The same for JavaScript as checks.py, with the same settings in the environment; copied beside the packages, which is where imports are looked for.
export const { BASE_URL, MODEL, EMBEDDING_MODEL } = process.env;
const CHECK_SECONDS = 180;
export const LONG = "Write a long story about a lighthouse keeper and her cat.";
export const ABOUT_ADA = "Ada is 36 years old and lives in London. Return this person.";
export const ASK_WEATHER = "What is the weather in Paris? Use the tool.";
export const WEATHER_TOOL = { type: "function", function: { name: "get_weather", description: "The weather in a city", strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false } } };
export const PERSON = { type: "json_schema", json_schema: { name: "person", strict: true, schema: { type: "object", additionalProperties: false,
  properties: { name: { type: "string" }, age: { type: "integer" }, home: { enum: ["London", "Paris", "Rome"] } }, required: ["name", "age", "home"] } } };

export class Skip extends Error {}

export function embeddingModel() {
  if (!EMBEDDING_MODEL) throw new Skip("no embedding model");
  return EMBEDDING_MODEL;
}

/** The error that `call` must end with. */
export async function raises(call) {
  let found;
  try { found = await call(); } catch (error) { return error; }
  throw new Error(`no error, but ${JSON.stringify(found).slice(0, 300)}`);
}

export async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

/** The cosine of two vectors. */
export function sameDirection(a, b) {
  const dot = (x, y) => x.reduce((sum, value, place) => sum + value * y[place], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

async function runOne(name, check) {
  const begun = performance.now();
  let timer, word = "ok", why = "";
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not done within ${CHECK_SECONDS} s`)), CHECK_SECONDS * 1000); });
  try { await Promise.race([check(), late]); }
  catch (error) {
    [word, why] = error instanceof Skip ? ["skipped", `: ${error.message}`] : ["FAILED", `: ${(error.stack ?? String(error)).split(/\s+/).join(" ").slice(0, 900)}`];
  }
  clearTimeout(timer);
  console.log(`${word} ${name}${why} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
  return word !== "FAILED";
}

/** Runs functions whose names are sentences in camel case. */
export async function run(...checks) {
  let passed = checks.length > 0;
  for (const check of checks)
    passed = await runOne(check.name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`), check) && passed;
  process.exit(passed ? 0 : 1);
}
