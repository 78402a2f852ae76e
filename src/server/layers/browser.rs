//! What pages in a browser may do. A page of anybody's reaches what listens on loopback: so only listed pages and those of
//! this machine may read answers (CORS), and without keys nobody is answered who asks under a foreign name (DNS rebinding)
//! or from a foreign page, whether it says where it is from (`Origin`) or only its browser does (`Sec-Fetch-Site`).

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

/// How browsers say where a request without `Origin` comes from, what for, and into what.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Pages that may read answers, by their origin; those of this machine always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    /// Lower case.
    listed: Vec<String>,
}

impl Origins {
    /// Reads origins as they are typed: `https://app.example.com`, `http://localhost:3000`, or `*` for every page.
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

    fn allows(&self, origin: &HeaderValue) -> bool {
        let listed = |listed: &String| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        self.any || self.listed.iter().any(listed) || host_of(origin).is_some_and(|host| is_loopback(&host))
    }
}

/// The host of an origin.
fn host_of(origin: &HeaderValue) -> Option<String> {
    let page = origin.to_str().ok()?.parse::<Uri>().ok()?;
    page.scheme()?;
    page.host().map(bare)
}

/// A host as it is compared: lower case, without the brackets of an address or the dot of a whole name.
fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a bare host is this machine by its own names.
fn is_loopback(host: &str) -> bool {
    let is_address = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_address || host == "localhost" || host.ends_with(".localhost")
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

/// Answers preflights of pages that may ask, and lets them read answers. Any other gets answers without the headers,
/// which a browser shows to no page.
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
    /// Whether it can be reached at other addresses than loopback's.
    reachable: bool,
    any: bool,
    /// Bare.
    names: Vec<String>,
    origins: Arc<Origins>,
}

impl Hosts {
    /// Checks where it matters: when `bound` is loopback, which every page of a browser on this machine reaches, and no
    /// key keeps them out; and wherever `names` were listed. Loopback's own names are known then, the `names`, and the pages
    /// that CORS lets in; where others can reach the server, also every address, since only a name can be made to mean
    /// another machine.
    ///
    /// # Errors
    /// A sentence about what is no name.
    pub fn new(
        bound: IpAddr,
        has_keys: bool,
        names: &[String],
        origins: Arc<Origins>,
    ) -> Result<Self, String> {
        if let Some(wrong) = names.iter().find(|name| *name != "*" && !is_name(name)) {
            return Err(format!(
                "`{wrong}` is no host name: write it like box.lan or 192.168.1.2, without a scheme, port or path, or * for any"
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

    /// Why the request is not answered, if it isn't.
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
        let asked = request.uri().host().map(|host| Some(host.to_owned()));
        let mut all = hosts.chain(asked);
        let foreign = all.find(|host| !host.as_deref().is_some_and(|host| self.knows(host)))?;
        let name = foreign.as_deref().unwrap_or("?");
        Some(ApiError::forbidden(format!(
            "`Host: {name}` is not a name of this server: ask localhost or 127.0.0.1, or start it with --allow-host NAME"
        )))
    }

    fn foreign_page(&self, request: &Request) -> Option<ApiError> {
        let Some(origin) = request.headers().get(ORIGIN) else {
            return is_foreign_fetch(request).then(|| {
                ApiError::forbidden(
                    "a page of another site may not ask this server: --cors-origin lets its scripts in",
                )
            });
        };
        let is_ours = host_of(origin).is_some_and(|host| self.knows(&host));
        (!is_ours && !self.origins.allows(origin)).then(|| {
            ApiError::forbidden(format!(
                "pages of `{}` may not ask this server: --cors-origin lets them in",
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

/// Whether a browser says that a page of another site asks. Programs say nothing, and whoever types an address says
/// `none`. Following a link to the server's root is nothing that a page could use.
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

/// Refuses who asks under a name that is not ours.
pub(super) async fn known_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match hosts.refusal(&request) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    }
}
