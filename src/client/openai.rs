//! A client for OpenAI-compatible servers: sends a request and reads the streamed answer. What is asked, and what is
//! made of the timings, is not known here.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Once;
use std::time::{Duration, Instant};

use bandmaster_orchestrator::Message;
use serde_json::{Map, Value, json};

use super::sse::{EventTooLong, SseParser};

/// How much of a server's own error message is shown.
const SERVER_MESSAGE_CHARS: usize = 300;
/// How much of a body that is not a stream is read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Model name under which Bandmaster serves a whole band, alone or followed by `:STRATEGY`.
const BAND: &str = "bandmaster";

/// Installs the TLS provider of reqwest, which can't build a client without one.
pub(crate) fn provide_tls() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that another provider was installed before, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Up to and including `/v1`, without a trailing slash.
    base: String,
    /// The server's name for the model.
    pub model: String,
    /// API key, sent as a bearer token.
    key: Option<String>,
}

/// Which route a prompt is sent to.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Messages in OpenAI's JSON, for the model's chat template: `/chat/completions`.
    Chat(Vec<Value>),
    /// Text without a template: `/completions`.
    Text(String),
}

impl Prompt {
    #[must_use]
    pub fn chat(messages: &[Message]) -> Self {
        Self::Chat(messages.iter().map(|message| json!(message)).collect())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    pub prompt: Prompt,
    /// The answer ends after this many tokens.
    pub max_tokens: u32,
    /// At 0 the most likely token is always taken.
    pub temperature: f32,
    /// Seed for sampling, if one is sent.
    pub seed: Option<u64>,
    /// Whether to keep generating until `max_tokens`, ignoring the end-of-sequence token. An extension of the API that
    /// llama-server, vLLM and others support.
    pub ignore_eos: bool,
    /// JSON schema that the answer must match.
    pub schema: Option<Value>,
    /// Further fields for the request's body.
    pub extra: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The text without what the server marks as reasoning, which is passed on in the pieces only.
    pub text: String,
    /// The server's `finish_reason`, if it sends one.
    pub finish: Option<String>,
    /// The server's token counts, if it reports them.
    pub usage: Option<Usage>,
    /// Number of stream events with text. For a band only those of its answer, not of its progress.
    pub pieces: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// How many of them came from the server's prefix cache; 0 if it doesn't say.
    pub cached_tokens: u32,
    /// A band counts those of all its tasks.
    pub completion_tokens: u32,
}

impl Completion {
    /// Generated tokens as the server counts them, else the number of pieces.
    #[must_use]
    pub fn completion_tokens(&self) -> u32 {
        self.usage.map_or(self.pieces, |usage| usage.completion_tokens)
    }
}

/// An answer that did not come, or not completely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A missing or malformed URL.
    #[error("--url {url}: {reason}; expected e.g. http://127.0.0.1:8080")]
    Url { url: String, reason: String },
    /// `--offline` forbids this server.
    #[error("--offline forbids {url}: only servers on this machine (127.0.0.1, localhost) are allowed")]
    Offline { url: String },
    #[error("{url} can't be reached: {reason}; is the server running?")]
    Unreachable { url: String, reason: String },
    /// The server refused the request.
    #[error("{url} answered {status}: {message}")]
    Status { url: String, status: u16, message: String },
    /// The server was silent for too long.
    #[error("{url} sent nothing for {seconds} s (--timeout-seconds)")]
    Stalled { url: String, seconds: u64 },
    /// The stream ended early.
    #[error("{url} closed the stream before its end, after {pieces} pieces: its log may say why")]
    Closed {
        url: String,
        /// Number of pieces with text before that.
        pieces: u32,
    },
    /// The server reported an error within the stream.
    #[error("{url} failed in the stream: {message}; its log may say more")]
    Failed { url: String, message: String },
    /// The response doesn't follow the protocol.
    #[error("{url} did not send a chat or completion stream: {reason}; is it an OpenAI-compatible server?")]
    Protocol { url: String, reason: String },
    /// The server's token count can't be right.
    #[error(
        "{url} reports an impossible token count: {completion_tokens} tokens for {pieces} pieces of text and a limit of {max_tokens}"
    )]
    ImpossibleUsage {
        url: String,
        /// As counted by the server.
        completion_tokens: u32,
        /// Number of pieces with text.
        pieces: u32,
        max_tokens: u32,
    },
}

impl ClientError {
    /// A word for this kind of error, for tables.
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
            Self::ImpossibleUsage { .. } => "counts",
        }
    }
}

impl Endpoint {
    /// A server at `url`; if it has no path, `/v1` is added. With `offline`, only servers on this machine are allowed.
    ///
    /// # Errors
    /// [`ClientError::Url`] or [`ClientError::Offline`] with the URL.
    pub fn new(url: &str, model: &str, key: Option<String>, offline: bool) -> Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::Url { url: url.into(), reason: reason.into() };
        let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("neither http nor https"));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("no host"))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("put the key into OPENAI_API_KEY, because results show the URL"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        if offline && !is_local(host) {
            return Err(ClientError::Offline { url: url.into() });
        }
        let trimmed = url.trim_end_matches('/');
        let base = if parsed.path() == "/" { format!("{trimmed}/v1") } else { trimmed.to_owned() };
        Ok(Self { base, model: model.to_owned(), key })
    }

    /// The URL that requests go to, up to and including `/v1`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether a whole band answers there. A band counts the tokens of all its tasks, sends its progress as reasoning,
    /// and ends when its goal is reached.
    #[must_use]
    pub fn is_band(&self) -> bool {
        self.model.strip_prefix(BAND).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A client for any number of servers.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    silence_max: Duration,
}

impl Client {
    /// `silence_max` limits how long a server may be silent at a stretch, which includes prefill.
    ///
    /// # Errors
    /// A sentence if the machine's certificates can't be read.
    pub fn new(silence_max: Duration) -> Result<Self, String> {
        provide_tls();
        // A proxy would be part of the measurement.
        let http = reqwest::Client::builder()
            .no_proxy()
            // A redirect would measure another server than the one named.
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            // A server may close an idle connection just as it is used again, so each call opens a new one.
            .pool_max_idle_per_host(0)
            .connect_timeout(silence_max.min(Duration::from_secs(10)))
            .build()
            .map_err(|error| format!("the HTTP client can't be created: {}", root_cause(&error)))?;
        Ok(Self { http, silence_max })
    }

    /// Sends a request and passes each piece of the answer to `on_piece` as it arrives.
    ///
    /// # Errors
    /// [`ClientError`]; text that came before the error has been passed to `on_piece`.
    pub async fn complete(
        &self,
        endpoint: &Endpoint,
        request: &CompletionRequest,
        on_piece: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Completion, ClientError> {
        let (route, body) = route_and_body(endpoint, request);
        let url = format!("{}/{route}", endpoint.base);
        let post = self.http.post(&url).header("content-type", "application/json").body(body.to_string());
        let response = self.send(&url, endpoint, post).await?;
        let mut reader = StreamReader::new(url, request.max_tokens, endpoint.is_band());
        let stream = self.check(&reader.url, response).await?;
        self.read_stream(&mut reader, stream, on_piece).await?;
        reader.end()
    }

    /// The names of the server's models.
    ///
    /// # Errors
    /// [`ClientError`] says what went wrong.
    pub async fn models(&self, endpoint: &Endpoint) -> Result<Vec<String>, ClientError> {
        let url = format!("{}/models", endpoint.base);
        let mut response = self.send(&url, endpoint, self.http.get(&url)).await?;
        let (status, body) = (response.status(), self.body(&url, &mut response).await?);
        if !status.is_success() {
            let message = server_message(&body);
            return Err(ClientError::Status { url, status: status.as_u16(), message });
        }
        let parsed: Value = serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol { url, reason: error.to_string() })?;
        let models = parsed["data"].as_array().into_iter().flatten();
        Ok(models.filter_map(|model| model["id"].as_str().map(str::to_owned)).collect())
    }

    /// Sends a request with the endpoint's key.
    async fn send(
        &self,
        url: &str,
        endpoint: &Endpoint,
        mut request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, ClientError> {
        if let Some(key) = &endpoint.key {
            request = request.bearer_auth(key);
        }
        let response = self.in_time(url, request.send()).await?;
        response.map_err(|error| connection_error(url, &error))
    }

    async fn in_time<T>(&self, url: &str, what: impl Future<Output = T>) -> Result<T, ClientError> {
        tokio::time::timeout(self.silence_max, what).await.map_err(|_| self.stalled(url))
    }

    fn stalled(&self, url: &str) -> ClientError {
        ClientError::Stalled { url: url.to_owned(), seconds: self.silence_max.as_secs() }
    }

    /// Returns a response that is a stream; any other becomes an error with the server's message.
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
            let reason = format!("its content type is {kind}, not text/event-stream");
            return Err(ClientError::Protocol { url: url.to_owned(), reason });
        }
        let message = server_message(&body);
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

    async fn read_stream(
        &self,
        reader: &mut StreamReader,
        mut stream: reqwest::Response,
        on_piece: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), ClientError> {
        let mut parser = SseParser::default();
        let mut last_event = Instant::now();
        loop {
            // SSE comments that keep a connection open don't count as an answer.
            let left = self.silence_max.saturating_sub(last_event.elapsed());
            let bytes = tokio::time::timeout(left, stream.chunk()).await;
            let bytes = bytes.map_err(|_| self.stalled(&reader.url))?;
            // A broken connection is treated as the end: `end` decides whether it came too early.
            let Ok(Some(bytes)) = bytes else { return Ok(()) };
            parser.push(&bytes);
            while let Some(data) =
                parser.next_data().map_err(|EventTooLong| reader.protocol("a line that is too long"))?
            {
                last_event = Instant::now();
                if reader.handle(&data, on_piece)? {
                    return Ok(());
                }
            }
        }
    }
}

/// The route and body of a request.
fn route_and_body(endpoint: &Endpoint, request: &CompletionRequest) -> (&'static str, Value) {
    let mut body = request.extra.clone();
    body.insert("model".into(), endpoint.model.clone().into());
    let route = match &request.prompt {
        Prompt::Chat(messages) => {
            body.insert("messages".into(), messages.clone().into());
            "chat/completions"
        }
        Prompt::Text(text) => {
            body.insert("prompt".into(), text.clone().into());
            "completions"
        }
    };
    body.insert("max_tokens".into(), request.max_tokens.into());
    body.entry("temperature").or_insert_with(|| f64::from(request.temperature).into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    if let Some(seed) = request.seed {
        body.insert("seed".into(), seed.into());
    }
    if request.ignore_eos {
        body.insert("ignore_eos".into(), true.into());
    }
    if let Some(schema) = &request.schema {
        let format = json!({"name": "answer", "strict": true, "schema": schema});
        body.insert("response_format".into(), json!({"type": "json_schema", "json_schema": format}));
    }
    (route, Value::Object(body))
}

/// A connection that failed, or that broke before the answer began.
fn connection_error(url: &str, error: &reqwest::Error) -> ClientError {
    match error.is_connect() {
        true => ClientError::Unreachable { url: url.to_owned(), reason: root_cause(error) },
        false => ClientError::Closed { url: url.to_owned(), pieces: 0 },
    }
}

/// The innermost cause, which is the system's own error.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The server's error message: that of OpenAI's error object, or the beginning of the body.
fn server_message(body: &[u8]) -> String {
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
    text.chars().take(SERVER_MESSAGE_CHARS).collect()
}

/// An answer that is being read.
struct StreamReader {
    url: String,
    max_tokens: u32,
    band: bool,
    text: String,
    pieces: u32,
    finish: Option<String>,
    usage: Option<Usage>,
    /// Whether `[DONE]` was received.
    done: bool,
}

impl StreamReader {
    fn new(url: String, max_tokens: u32, band: bool) -> Self {
        let (text, pieces, finish, usage, done) = (String::new(), 0, None, None, false);
        Self { url, max_tokens, band, text, pieces, finish, usage, done }
    }

    fn impossible_usage(&self, completion_tokens: u32) -> ClientError {
        let (pieces, max_tokens) = (self.pieces, self.max_tokens);
        ClientError::ImpossibleUsage { url: self.url.clone(), completion_tokens, pieces, max_tokens }
    }

    fn protocol(&self, reason: &str) -> ClientError {
        ClientError::Protocol { url: self.url.clone(), reason: reason.to_owned() }
    }

    /// Handles the data of one event; true at the end of the stream.
    fn handle(&mut self, data: &str, on_piece: &mut (dyn FnMut(&str) + Send)) -> Result<bool, ClientError> {
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
            let text_of = |value: &Value| value.as_str().unwrap_or("").to_owned();
            let answer = text_of(&choice["text"]) + &text_of(&delta["content"]);
            let calls = delta["tool_calls"].as_array().into_iter().flatten();
            let called: String = calls
                .map(|call| text_of(&call["function"]["name"]) + &text_of(&call["function"]["arguments"]))
                .collect();
            let text = match self.band {
                // A band's reasoning is its progress, which no model wrote.
                true => answer.clone(),
                false => text_of(&delta["reasoning_content"]) + &answer + &called,
            };
            if !text.is_empty() {
                self.pieces += 1;
                // Allow one more piece, which may hold the rest of a character.
                if self.pieces > self.max_tokens.saturating_add(1) {
                    return Err(self.impossible_usage(self.pieces));
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
        let (Some(prompt_tokens), Some(completion_tokens)) =
            (number(&usage["prompt_tokens"]), number(&usage["completion_tokens"]))
        else {
            return;
        };
        // Some versions of llama-server report it only in their timings.
        let cached = number(&usage["prompt_tokens_details"]["cached_tokens"])
            .or_else(|| number(&chunk["timings"]["cache_n"]));
        self.usage = Some(Usage { prompt_tokens, cached_tokens: cached.unwrap_or(0), completion_tokens });
    }

    fn end(self) -> Result<Completion, ClientError> {
        // Some servers don't send `[DONE]`; a finish reason also ends the stream.
        if !self.done && self.finish.is_none() {
            return Err(ClientError::Closed { url: self.url, pieces: self.pieces });
        }
        if let Some(Usage { completion_tokens, .. }) = self.usage {
            let some_without = self.pieces > 0 && completion_tokens == 0;
            let too_few = self.pieces > completion_tokens.saturating_add(1);
            let too_many = completion_tokens > self.max_tokens && !self.band;
            if too_many || some_without || too_few {
                return Err(self.impossible_usage(completion_tokens));
            }
        }
        let Self { text, pieces, finish, usage, .. } = self;
        Ok(Completion { text, finish, usage, pieces })
    }
}
