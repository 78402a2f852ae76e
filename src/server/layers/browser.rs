//! What pages in a browser may do. A page of anybody's reaches what listens on loopback: so only listed pages may read
//! answers (CORS), and without keys nobody is answered who asks under a foreign name (DNS rebinding) or from a foreign
//! page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::error::ApiError;

/// How long a browser may remember what it was allowed.
const PREFLIGHT_SECONDS: u64 = 600;
const METHODS: &str = "GET, POST, DELETE, OPTIONS";
const EXPOSED: &str = "x-request-id, retry-after, x-bandmaster-ignored, x-bandmaster-model";
/// Browsers ask so before a page of the internet reaches into a private network.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Pages that may read answers, by their origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    /// Lower case.
    listed: Vec<String>,
}

impl Origins {
    /// Reads origins as they are typed: `https://app.example.com`, `http://localhost:3000`, or `*` for every page. None
    /// switches CORS off.
    ///
    /// # Errors
    /// A sentence that names what is no origin.
    pub fn parse(typed: &[String]) -> Result<Self, String> {
        let mut origins = Self::default();
        for origin in typed {
            if origin == "*" {
                origins.any = true;
            } else if is_origin(origin) {
                origins.listed.push(origin.to_ascii_lowercase());
            } else {
                return Err(format!(
                    "`{origin}` is no origin: write it like https://app.example.com or http://localhost:3000, without a path, or * for every page"
                ));
            }
        }
        Ok(origins)
    }

    fn is_off(&self) -> bool {
        !self.any && self.listed.is_empty()
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let listed = |listed: &String| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        self.any || self.listed.iter().any(listed)
    }
}

/// Scheme, host and perhaps a port, as browsers write it.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let authority = rest.parse::<Authority>();
    !scheme.is_empty()
        && scheme.bytes().all(scheme_byte)
        && authority.is_ok_and(|authority| !authority.host().is_empty() && !rest.contains('@'))
}

/// Answers preflights of listed pages, and lets them read answers. Who isn't listed gets answers without the headers,
/// which a browser shows to no page.
pub(super) async fn cors(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    if origins.is_off() {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN).filter(|origin| origins.allows(origin)).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if is_preflight => preflight(request.headers()),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
    // Clients send headers of their own by the dozen, and none of them does harm.
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    if asked.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response
}

/// Names under which the server may be asked.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    checked: bool,
    /// Lower case.
    names: Vec<String>,
    origins: Arc<Origins>,
}

impl Hosts {
    /// Checks where it matters: when `bound` is loopback, which every page of a browser on this machine reaches, and no
    /// key keeps them out. Loopback's own names are known then, the `names` listed, and the pages that CORS lets in.
    #[must_use]
    pub fn new(bound: IpAddr, has_keys: bool, names: &[String], origins: Arc<Origins>) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { checked: bound.is_loopback() && !has_keys, names, origins }
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || host == "localhost" || host.ends_with(".localhost") || self.names.contains(&host)
    }

    /// Why the request is not answered, if it isn't.
    pub(super) fn refusal(&self, request: &Request) -> Option<ApiError> {
        if !self.checked {
            return None;
        }
        let named = request
            .headers()
            .get_all(HOST)
            .iter()
            .map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
        let hosts = named.map(|authority| authority.map(|authority| authority.host().to_owned()));
        let asked = request.uri().host().map(|host| Some(host.to_owned()));
        for host in hosts.chain(asked) {
            if !host.as_deref().is_some_and(|host| self.knows(host)) {
                return Some(ApiError::forbidden(format!(
                    "`Host: {}` is not this machine: ask localhost or 127.0.0.1, or start the server with --api-key-file",
                    host.as_deref().unwrap_or("?")
                )));
            }
        }
        let origin = request.headers().get(ORIGIN)?;
        let page = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let is_ours = page.as_ref().and_then(Uri::host).is_some_and(|host| self.knows(host));
        (!is_ours && !self.origins.allows(origin)).then(|| {
            ApiError::forbidden(format!(
                "pages of `{}` may not ask this server: --cors-origin lets them in",
                origin.to_str().unwrap_or("?")
            ))
        })
    }
}

/// Refuses who asks under a name that is not ours.
pub(super) async fn known_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match hosts.refusal(&request) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    }
}
