//! What web pages may do. Any page in a browser can reach a server on loopback, so only pages of this machine and
//! listed origins may read answers (CORS). Without API keys, requests to a foreign host name (DNS rebinding) or from a
//! foreign page are refused as well; `Origin` shows such a page or, without it, `Sec-Fetch-Site`.

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

/// How long a browser may cache the answer to a preflight.
const PREFLIGHT_SECONDS: u64 = 600;
const METHODS: &str = "GET, POST, DELETE, OPTIONS";
const EXPOSED: &str = "x-request-id, retry-after, x-bandmaster-ignored, x-bandmaster-model";
/// Sent by browsers in the preflight when a public page reaches into a private network.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Set by browsers on requests without `Origin` too: the site of the page, the kind of request, and its destination.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Origins of the pages that may read answers. Pages of this machine always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    /// In lower case.
    listed: Vec<String>,
}

impl Origins {
    /// Parses origins such as `https://app.example.com` and `http://localhost:3000`, or `*` for every page.
    ///
    /// # Errors
    /// A sentence naming what is not an origin.
    pub fn parse(typed: &[String]) -> Result<Self, String> {
        let mut origins = Self::default();
        for origin in typed {
            if origin == "*" {
                origins.any = true;
            } else if is_origin(origin) {
                origins.listed.push(origin.to_ascii_lowercase());
            } else {
                return Err(format!(
                    "`{origin}` is not an origin: write it like https://app.example.com or http://localhost:3000, without a path, or * for every page"
                ));
            }
        }
        Ok(origins)
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let listed = |listed: &String| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        self.any || self.listed.iter().any(listed) || host_of(origin).is_some_and(|host| is_loopback(&host))
    }
}

fn host_of(origin: &HeaderValue) -> Option<String> {
    let page = origin.to_str().ok()?.parse::<Uri>().ok()?;
    page.scheme()?;
    page.host().map(bare)
}

/// A host as it is compared: in lower case, without the brackets of an IPv6 address or a trailing dot.
fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a host, as [`bare`] returns it, is a loopback address or name.
fn is_loopback(host: &str) -> bool {
    let is_address = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_address || host == "localhost" || host.ends_with(".localhost")
}

/// Whether this is a scheme, a host and perhaps a port, and nothing else.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let authority = rest.parse::<Authority>();
    !scheme.is_empty()
        && scheme.bytes().all(scheme_byte)
        && authority.is_ok_and(|authority| !authority.host().is_empty() && !rest.contains('@'))
}

/// Answers preflights of allowed origins and adds the CORS headers to their responses. Other pages get responses
/// without these headers, which the browser hides from them.
pub(super) async fn cors(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
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

fn preflight(requested: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_SECONDS));
    // Client libraries send many headers of their own, and none of them does harm.
    if let Some(wanted) = requested.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    if requested.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response
}

/// Host names under which requests are accepted.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    checked: bool,
    /// Whether the server listens on an address other than loopback.
    reachable: bool,
    any: bool,
    /// As [`bare`] returns them.
    names: Vec<String>,
    origins: Arc<Origins>,
}

impl Hosts {
    /// Host names are checked if `bound` is loopback and there are no API keys, because every web page on this machine
    /// could then use the server; and whenever `names` are given. Accepted are loopback's own names, the `names`, and
    /// pages that CORS allows. If the server listens on another address than loopback, every IP address is accepted
    /// too, since only a name can be rebound to another machine.
    ///
    /// # Errors
    /// A sentence naming what is not a host name.
    pub fn new(
        bound: IpAddr,
        has_keys: bool,
        names: &[String],
        origins: Arc<Origins>,
    ) -> Result<Self, String> {
        if let Some(wrong) = names.iter().find(|name| *name != "*" && !is_name(name)) {
            return Err(format!(
                "`{wrong}` is not a host name: write it like box.lan or 192.168.1.2, without a scheme, port or path, or * for any"
            ));
        }
        let reachable = !bound.to_canonical().is_loopback();
        Ok(Self {
            checked: !(reachable || has_keys) || !names.is_empty(),
            reachable,
            any: names.iter().any(|name| name == "*"),
            names: names.iter().map(|name| bare(name)).collect(),
            origins,
        })
    }

    fn knows(&self, host: &str) -> bool {
        let host = bare(host);
        let is_address = || self.reachable && host.parse::<IpAddr>().is_ok();
        self.any || is_loopback(&host) || self.names.contains(&host) || is_address()
    }

    /// The error if the request must be refused.
    pub(super) fn refusal(&self, request: &Request) -> Option<ApiError> {
        if !self.checked {
            return None;
        }
        self.foreign_name(request).or_else(|| self.foreign_page(request))
    }

    fn foreign_name(&self, request: &Request) -> Option<ApiError> {
        let named = request
            .headers()
            .get_all(HOST)
            .iter()
            .map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
        let hosts = named.map(|authority| authority.map(|authority| authority.host().to_owned()));
        let requested = request.uri().host().map(|host| Some(host.to_owned()));
        let mut all = hosts.chain(requested);
        let foreign = all.find(|host| !host.as_deref().is_some_and(|host| self.knows(host)))?;
        let name = foreign.as_deref().unwrap_or("?");
        Some(ApiError::forbidden(format!(
            "`Host: {name}` is not a name of this server: use localhost or 127.0.0.1, or start it with --allow-host NAME"
        )))
    }

    fn foreign_page(&self, request: &Request) -> Option<ApiError> {
        let Some(origin) = request.headers().get(ORIGIN) else {
            return is_foreign_fetch(request).then(|| {
                ApiError::forbidden(
                    "a page of another site may not use this server: allow it with --cors-origin",
                )
            });
        };
        let is_ours = host_of(origin).is_some_and(|host| self.knows(&host));
        (!is_ours && !self.origins.allows(origin)).then(|| {
            ApiError::forbidden(format!(
                "pages of `{}` may not use this server: allow them with --cors-origin",
                origin.to_str().unwrap_or("?")
            ))
        })
    }
}

fn is_name(name: &str) -> bool {
    let host = bare(name);
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.len() <= 253 && host.chars().all(of_name))
}

/// Whether `Sec-Fetch-Site` says that the request comes from a page of another site. Programs other than browsers do
/// not send it, and for a typed address it is `none`. A link to the server's root is allowed, since the linking page
/// learns nothing from it.
fn is_foreign_fetch(request: &Request) -> bool {
    let says = |name: &HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
    match says(&FETCH_SITE) {
        None | Some(b"none" | b"same-origin") => false,
        Some(_) => {
            let opens_page = says(&FETCH_MODE) == Some(b"navigate") && says(&FETCH_DEST) == Some(b"document");
            !(opens_page && request.method().is_safe() && request.uri().path() == "/")
        }
    }
}

/// Refuses requests as [`Hosts::refusal`] decides.
pub(super) async fn known_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match hosts.refusal(&request) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    }
}
