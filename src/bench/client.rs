//! Asks an OpenAI-compatible server and listens to its stream. What is asked and what is made of the answer's times is
//! not known here.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::sse::{Frames, TooLong};
use crate::orchestrator::{Message, Role};

/// Of a server's own words in an error.
const SERVER_WORDS_CHARS: usize = 300;
/// Of the body of an answer that is no stream.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The model's name behind which a Bandmaster's whole band answers, alone or before `:STRATEGY`.
const BAND: &str = "bandmaster";

/// Gives reqwest what it encrypts with; without, it builds no client at all.
pub fn provide_tls() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Whoever was first chose well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A server and the model it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Up to and with `/v1`, without a slash at the end.
    base: String,
    /// The server's name for the model.
    pub model: String,
    /// Sent as a bearer token.
    key: Option<String>,
}

/// Where a prompt goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Through the model's chat template: `/chat/completions`. Messages as OpenAI's JSON has them.
    Chat(Vec<Value>),
    /// As it is: `/completions`.
    Text(String),
}

impl Prompt {
    /// A conversation of plain texts.
    #[must_use]
    pub fn chat(messages: &[Message]) -> Self {
        Self::Chat(messages.iter().map(message).collect())
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What the model reads.
    pub prompt: Prompt,
    /// Ends after this many tokens.
    pub max_tokens: u32,
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Of the draws.
    pub seed: Option<u64>,
    /// Goes on to `max_tokens` where the model would end; an extension that llama-server, vLLM and others know.
    pub ignore_eos: bool,
    /// JSON schema of the answer.
    pub schema: Option<Value>,
    /// Further fields of the request's body, sent as they are.
    pub more: Map<String, Value>,
}

/// An answer's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// All of it, without what the server calls reasoning: that is in the pieces only.
    pub text: String,
    /// The server's word for why it ended.
    pub finish: Option<String>,
    /// The server's counts; without them the pieces were counted.
    pub usage: Option<Counts>,
    /// Pieces of the stream that had text; of a band those of its answer, without its progress.
    pub pieces: u32,
}

/// Tokens as a server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Of the prompt.
    pub prompt_tokens: u32,
    /// Of them found in its cache, where it says so.
    pub cached_tokens: u32,
    /// Generated; by a band in all its tasks together.
    pub output_tokens: u32,
}

impl Answered {
    /// Generated tokens: the server's count, or the pieces.
    #[must_use]
    pub fn output_tokens(&self) -> u32 {
        self.usage.map_or(self.pieces, |usage| usage.output_tokens)
    }
}

/// An answer that did not come, or not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No URL, or one of the wrong kind.
    #[error("--url {url}: {reason}; expected e.g. http://127.0.0.1:8080")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Forbidden.
    #[error("--offline forbids {url}: only servers on this machine (127.0.0.1, localhost) may be asked")]
    Offline {
        /// As given.
        url: String,
    },
    /// Nobody answers there.
    #[error("{url} can't be reached: {reason}; is the server running?")]
    Unreachable {
        /// Of the request.
        url: String,
        /// The system's.
        reason: String,
    },
    /// The server said no.
    #[error("{url} answered {status}: {message}")]
    Status {
        /// Of the request.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// Nothing came for too long.
    #[error("{url} sent nothing for {seconds} s (--timeout-seconds)")]
    Stalled {
        /// Of the request.
        url: String,
        /// How long.
        seconds: u64,
    },
    /// The stream broke off.
    #[error("{url} closed the stream before its end, after {pieces} pieces: its log may say why")]
    Closed {
        /// Of the request.
        url: String,
        /// Pieces with text until then.
        pieces: u32,
    },
    /// An error in the stream.
    #[error("{url} failed in the stream: {message}; its log may say more")]
    Failed {
        /// Of the request.
        url: String,
        /// The server's words.
        message: String,
    },
    /// Not what the interface says.
    #[error("{url} sent what is no chat or completion stream: {reason}; is it an OpenAI-compatible server?")]
    Protocol {
        /// Of the request.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// Token counts that can't be.
    #[error(
        "{url} counts wrong: {output_tokens} tokens for {pieces} pieces of text and a limit of {max_tokens}"
    )]
    Counts {
        /// Of the request.
        url: String,
        /// The server's count.
        output_tokens: u32,
        /// Pieces with text.
        pieces: u32,
        /// What was asked for.
        max_tokens: u32,
    },
}

impl ClientError {
    /// A word for tables: what kind it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } | Self::Offline { .. } => "url",
            Self::Unreachable { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::Stalled { .. } => "stalled",
            Self::Closed { .. } => "closed",
            Self::Failed { .. } => "failed",
            Self::Protocol { .. } => "protocol",
            Self::Counts { .. } => "counts",
        }
    }
}

impl Endpoint {
    /// A server at `url`: without a path, `/v1` is meant. With `offline`, only one on this machine.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Offline`].
    pub fn new(url: &str, model: &str, key: Option<String>, offline: bool) -> Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::Url { url: url.into(), reason: reason.into() };
        let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("neither http nor https"));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("no host"))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("a key belongs into OPENAI_API_KEY, where no result shows it"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        if offline && !is_here(host) {
            return Err(ClientError::Offline { url: url.into() });
        }
        let trimmed = url.trim_end_matches('/');
        let base = if parsed.path() == "/" { format!("{trimmed}/v1") } else { trimmed.to_owned() };
        Ok(Self { base, model: model.to_owned(), key })
    }

    /// Where requests go, up to and with `/v1`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether a whole band answers there: it counts the tokens of all its tasks, tells its progress as reasoning, and
    /// ends where its goal is reached.
    #[must_use]
    pub fn is_band(&self) -> bool {
        self.model.strip_prefix(BAND).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }
}

fn is_here(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Connections to any number of servers.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    silence_max: Duration,
}

impl Client {
    /// One whose answers may be silent for so long at a stretch: a prompt's computing counts.
    ///
    /// # Errors
    /// A sentence when the machine's certificates can't be read.
    pub fn new(silence_max: Duration) -> Result<Self, String> {
        provide_tls();
        // A proxy would be measured along.
        let http = reqwest::Client::builder()
            .no_proxy()
            // Another server than the one that was named is neither asked nor measured.
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            // A server may close an idle connection at the moment in which it is used again: each call has its own.
            .pool_max_idle_per_host(0)
            .connect_timeout(silence_max.min(Duration::from_secs(10)))
            .build()
            .map_err(|error| format!("no HTTP client can be made: {}", root_cause(&error)))?;
        Ok(Self { http, silence_max })
    }

    /// Asks, and gives each piece of the answer to `on_piece` as it comes.
    ///
    /// # Errors
    /// [`ClientError`]; text that came before it went to `on_piece`.
    pub async fn ask(
        &self,
        endpoint: &Endpoint,
        ask: &Ask,
        on_piece: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Answered, ClientError> {
        let (route, body) = request(endpoint, ask);
        let url = format!("{}/{route}", endpoint.base);
        let mut request =
            self.http.post(&url).header("content-type", "application/json").body(body.to_string());
        if let Some(key) = &endpoint.key {
            request = request.bearer_auth(key);
        }
        let response = self.in_time(&url, request.send()).await?;
        let response = response.map_err(|error| connection_error(&url, &error))?;
        let mut listening = Listening::new(url, ask.max_tokens, endpoint.is_band());
        let stream = self.check(&listening.url, response).await?;
        self.listen(&mut listening, stream, on_piece).await?;
        listening.end()
    }

    /// The names of the models that the server says it has.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn models(&self, endpoint: &Endpoint) -> Result<Vec<String>, ClientError> {
        let url = format!("{}/models", endpoint.base);
        let mut request = self.http.get(&url);
        if let Some(key) = &endpoint.key {
            request = request.bearer_auth(key);
        }
        let response = self.in_time(&url, request.send()).await?;
        let mut response = response.map_err(|error| connection_error(&url, &error))?;
        let (status, body) = (response.status(), self.body(&url, &mut response).await?);
        if !status.is_success() {
            let message = server_words(&body);
            return Err(ClientError::Status { url, status: status.as_u16(), message });
        }
        let parsed: Value = serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol { url, reason: error.to_string() })?;
        let models = parsed["data"].as_array().into_iter().flatten();
        Ok(models.filter_map(|model| model["id"].as_str().map(str::to_owned)).collect())
    }

    async fn in_time<T>(&self, url: &str, what: impl Future<Output = T>) -> Result<T, ClientError> {
        tokio::time::timeout(self.silence_max, what).await.map_err(|_| self.stalled(url))
    }

    fn stalled(&self, url: &str) -> ClientError {
        ClientError::Stalled { url: url.to_owned(), seconds: self.silence_max.as_secs() }
    }

    /// A response that is a stream; any other is an error with what it says.
    async fn check(
        &self,
        url: &str,
        mut response: reqwest::Response,
    ) -> Result<reqwest::Response, ClientError> {
        let status = response.status();
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or("nothing").to_owned();
        if status.is_success() && kind.starts_with("text/event-stream") {
            return Ok(response);
        }
        let body = self.body(url, &mut response).await?;
        if status.is_success() {
            let reason = format!("its content is {kind} and not text/event-stream");
            return Err(ClientError::Protocol { url: url.to_owned(), reason });
        }
        let message = server_words(&body);
        Err(ClientError::Status { url: url.to_owned(), status: status.as_u16(), message })
    }

    async fn body(&self, url: &str, response: &mut reqwest::Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while body.len() < BODY_BYTES_MAX {
            let chunk = self.in_time(url, response.chunk()).await?;
            match chunk.map_err(|error| connection_error(url, &error))? {
                Some(chunk) => body.extend_from_slice(&chunk),
                None => break,
            }
        }
        Ok(body)
    }

    async fn listen(
        &self,
        listening: &mut Listening,
        mut stream: reqwest::Response,
        on_piece: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), ClientError> {
        let mut frames = Frames::default();
        let mut heard = Instant::now();
        loop {
            // Comments that keep a connection open say nothing.
            let left = self.silence_max.saturating_sub(heard.elapsed());
            let bytes = tokio::time::timeout(left, stream.chunk()).await;
            let bytes = bytes.map_err(|_| self.stalled(&listening.url))?;
            // A connection that breaks is an end like any other: `end` knows whether it came too early.
            let Ok(Some(bytes)) = bytes else { return Ok(()) };
            frames.push(&bytes);
            while let Some(data) =
                frames.next_data().map_err(|TooLong| listening.protocol("a line without end"))?
            {
                heard = Instant::now();
                if listening.take(&data, on_piece)? {
                    return Ok(());
                }
            }
        }
    }
}

/// The route and the body of a request.
fn request(endpoint: &Endpoint, ask: &Ask) -> (&'static str, Value) {
    let mut body = ask.more.clone();
    body.insert("model".into(), endpoint.model.clone().into());
    let route = match &ask.prompt {
        Prompt::Chat(messages) => {
            body.insert("messages".into(), messages.clone().into());
            "chat/completions"
        }
        Prompt::Text(text) => {
            body.insert("prompt".into(), text.clone().into());
            "completions"
        }
    };
    body.insert("max_tokens".into(), ask.max_tokens.into());
    body.entry("temperature").or_insert_with(|| f64::from(ask.temperature).into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    if let Some(seed) = ask.seed {
        body.insert("seed".into(), seed.into());
    }
    if ask.ignore_eos {
        body.insert("ignore_eos".into(), true.into());
    }
    if let Some(schema) = &ask.schema {
        let format = json!({"name": "answer", "strict": true, "schema": schema});
        body.insert("response_format".into(), json!({"type": "json_schema", "json_schema": format}));
    }
    (route, Value::Object(body))
}

fn message(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    json!({"role": role, "content": message.content})
}

/// A connection that was not made, or one that broke before an answer began.
fn connection_error(url: &str, error: &reqwest::Error) -> ClientError {
    match error.is_connect() {
        true => ClientError::Unreachable { url: url.to_owned(), reason: root_cause(error) },
        false => ClientError::Closed { url: url.to_owned(), pieces: 0 },
    }
}

/// The innermost reason, which is the system's own.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What a server says is wrong: OpenAI's error object, or the beginning of what it sent.
fn server_words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    error_of(&parsed).unwrap_or_else(|| shorten(text.trim()))
}

fn error_of(value: &Value) -> Option<String> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let message = error["message"].as_str().or(error.as_str());
    Some(shorten(message.unwrap_or(&error.to_string())))
}

fn shorten(text: &str) -> String {
    if text.is_empty() {
        return "nothing more".to_owned();
    }
    text.chars().take(SERVER_WORDS_CHARS).collect()
}

/// A stream so far.
struct Listening {
    url: String,
    max_tokens: u32,
    band: bool,
    text: String,
    pieces: u32,
    finish: Option<String>,
    usage: Option<Counts>,
    /// `[DONE]` came.
    done: bool,
}

impl Listening {
    fn new(url: String, max_tokens: u32, band: bool) -> Self {
        let (text, pieces, finish, usage, done) = (String::new(), 0, None, None, false);
        Self { url, max_tokens, band, text, pieces, finish, usage, done }
    }

    fn miscounted(&self, output_tokens: u32) -> ClientError {
        let (pieces, max_tokens) = (self.pieces, self.max_tokens);
        ClientError::Counts { url: self.url.clone(), output_tokens, pieces, max_tokens }
    }

    fn protocol(&self, reason: &str) -> ClientError {
        ClientError::Protocol { url: self.url.clone(), reason: reason.to_owned() }
    }

    /// Takes one event's data in; true at the end.
    fn take(&mut self, data: &str, on_piece: &mut (dyn FnMut(&str) + Send)) -> Result<bool, ClientError> {
        if data == "[DONE]" {
            self.done = true;
            return Ok(true);
        }
        let chunk: Value = serde_json::from_str(data)
            .map_err(|error| self.protocol(&format!("{error} in {}", shorten(data))))?;
        if let Some(message) = error_of(&chunk) {
            return Err(ClientError::Failed { url: self.url.clone(), message });
        }
        let Some(choices) = chunk["choices"].as_array() else {
            return Err(self.protocol(&format!("no `choices` in {}", shorten(data))));
        };
        for choice in choices {
            let delta = &choice["delta"];
            let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
            let answer = word(&choice["text"]) + &word(&delta["content"]);
            let calls = delta["tool_calls"].as_array().into_iter().flatten();
            let called: String = calls
                .map(|call| word(&call["function"]["name"]) + &word(&call["function"]["arguments"]))
                .collect();
            let text = match self.band {
                // Its progress is lines about tasks, which no model wrote.
                true => answer.clone(),
                false => word(&delta["reasoning_content"]) + &answer + &called,
            };
            if !text.is_empty() {
                self.pieces += 1;
                // A last piece may be the rest of a character.
                if self.pieces > self.max_tokens.saturating_add(1) {
                    return Err(self.miscounted(self.pieces));
                }
                self.text.push_str(&answer);
                on_piece(&text);
            }
            if let Some(finish) = choice["finish_reason"].as_str() {
                self.finish = Some(finish.to_owned());
            }
        }
        self.count(&chunk);
        Ok(false)
    }

    fn count(&mut self, chunk: &Value) {
        let number = |value: &Value| value.as_u64().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let usage = &chunk["usage"];
        let (Some(prompt_tokens), Some(output_tokens)) =
            (number(&usage["prompt_tokens"]), number(&usage["completion_tokens"]))
        else {
            return;
        };
        // llama-server says it beside its timings too, in versions that leave the details out.
        let cached = number(&usage["prompt_tokens_details"]["cached_tokens"])
            .or_else(|| number(&chunk["timings"]["cache_n"]));
        self.usage = Some(Counts { prompt_tokens, cached_tokens: cached.unwrap_or(0), output_tokens });
    }

    fn end(self) -> Result<Answered, ClientError> {
        // Some servers leave `[DONE]` out; a reason to end is an end as well.
        if !self.done && self.finish.is_none() {
            return Err(ClientError::Closed { url: self.url, pieces: self.pieces });
        }
        if let Some(Counts { output_tokens, .. }) = self.usage {
            let some_without = self.pieces > 0 && output_tokens == 0;
            let too_few = self.pieces > output_tokens.saturating_add(1);
            let too_many = output_tokens > self.max_tokens && !self.band;
            if too_many || some_without || too_few {
                return Err(self.miscounted(output_tokens));
            }
        }
        let Self { text, pieces, finish, usage, .. } = self;
        Ok(Answered { text, finish, usage, pieces })
    }
}
