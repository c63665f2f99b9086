//! Who may ask. The owner of the Unix socket may everything; over TCP a request needs the token, and a browser that was
//! led here by a foreign page is turned away.
//!
//! Three attacks of a web page on a server of the local machine, and what stands against each: *DNS rebinding* (its own name
//! resolves to 127.0.0.1): the `Host` header must be a loopback name or the address that we listen on. *Cross-site requests*
//! (a form, or another port of the same machine, which counts as the same site for cookies): an `Origin` must be our own.
//! *Guessing the token*: it is compared in constant time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{extract::ApiError, listener::Peer};

/// What a supervisor on this machine may ask without a token.
const OPEN_ON_LOOPBACK: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// The guard before every route.
pub(super) struct Guard {
    token: [u8; 32],
    listen: SocketAddr,
    cookie: String,
}

impl Guard {
    pub(super) fn new(token: &str, listen: SocketAddr) -> Arc<Self> {
        // Cookies know no ports: the name keeps two instances on one machine apart.
        Arc::new(Self { token: Sha256::digest(token).into(), listen, cookie: format!("nephoscope_{}", listen.port()) })
    }

    /// Compares digests, so that the time tells neither the length nor the place of the first difference.
    fn is_token(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.token.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }

    fn check(&self, peer: SocketAddr, request: &Request) -> Result<Entry, ApiError> {
        let headers = request.headers();
        let host = text(headers, HOST).ok_or_else(|| ApiError::bad_request("the request has no Host header"))?;
        if !self.is_host(host) {
            return Err(ApiError::forbidden(format!("host {host:?} is not the name of this server"))
                .expected("localhost, a loopback address, or the address that it listens on"));
        }
        let own = |origin: &str| origin.split_once("://").is_some_and(|(_, rest)| rest == host);
        if text(headers, ORIGIN).is_some_and(|origin| !own(origin)) {
            return Err(ApiError::forbidden("the request comes from a page of another origin"));
        }
        if peer.ip().is_loopback() && OPEN_ON_LOOPBACK.contains(&request.uri().path()) {
            return Ok(Entry::Open);
        }
        if let Some(given) = query_token(request.uri()).filter(|given| self.is_token(given)) {
            return Ok(Entry::WithCookie(format!("{}={given}; HttpOnly; SameSite=Strict; Path=/", self.cookie)));
        }
        let bearer = text(headers, AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if bearer.or_else(|| self.cookie_of(headers)).is_some_and(|given| self.is_token(given)) {
            return Ok(Entry::Open);
        }
        Err(ApiError::unauthorized("this address needs the token")
            .expected("the URL that `nephoscope up` prints, or the header `Authorization: Bearer <token>`"))
    }

    fn is_host(&self, host: &str) -> bool {
        // A port may follow, and need not be ours: tunnels change it, rebinding cannot use it.
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        match name.parse::<IpAddr>() {
            // Rebinding needs a name, so where we listen on every address, every address is ours.
            Ok(address) => address.is_loopback() || address == self.listen.ip() || self.listen.ip().is_unspecified(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }
}

enum Entry {
    Open,
    WithCookie(String),
}

/// The middleware.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let entry = match peer {
        Peer::Owner => Ok(Entry::Open),
        Peer::Remote(address) => guard.check(address, &request),
    };
    let is_page = request.method() == Method::GET && text(request.headers(), ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let mut response = match entry {
        Ok(Entry::Open) => next.run(request).await,
        // The token shall not stay in the address bar, the history and the screenshots.
        Ok(Entry::WithCookie(cookie)) if is_page => with_cookie(to(&without_token(request.uri())), &cookie),
        Ok(Entry::WithCookie(cookie)) => with_cookie(next.run(request).await, &cookie),
        Err(error) if is_page => refusal_page(error),
        Err(error) => error.into_response(),
    };
    harden(response.headers_mut());
    response
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn to(location: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

fn refusal_page(error: ApiError) -> Response {
    const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Nephoscope</title>\
        <h1>Nephoscope</h1><p>This page needs the token: open the address that <code>nephoscope up</code> printed.</p>\n";
    let status = error.into_response().status();
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

/// Nothing is cached, framed, sniffed or told to others; a route that serves a page sets a policy of its own.
fn harden(headers: &mut HeaderMap) {
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(CACHE_CONTROL, "no-store");
    default(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    default(HeaderName::from_static("x-content-type-options"), "nosniff");
    default(HeaderName::from_static("x-frame-options"), "DENY");
    default(HeaderName::from_static("referrer-policy"), "no-referrer");
    default(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn query_token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

fn without_token(uri: &Uri) -> String {
    let rest: Vec<&str> = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("token=")).collect();
    // A path of two slashes would lead to another host.
    let path = format!("/{}", uri.path().trim_start_matches('/'));
    if rest.is_empty() { path } else { format!("{path}?{}", rest.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_server_are_hosts() {
        let loopback = Guard::new("t", "127.0.0.1:7700".parse().expect("address"));
        let everywhere = Guard::new("t", "0.0.0.0:7700".parse().expect("address"));
        for (host, expected) in [
            ("127.0.0.1:7700", true),
            ("127.0.0.1", true),
            ("localhost:8000", true),
            ("LOCALHOST", true),
            ("[::1]:7700", true),
            ("evil.example:7700", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.5:7700", false),
            ("[::1", false),
            ("", false),
        ] {
            assert_eq!(loopback.is_host(host), expected, "{host}");
        }
        assert!(everywhere.is_host("10.0.0.5:7700") && !everywhere.is_host("evil.example"));
    }

    #[test]
    fn the_token_leaves_the_address() {
        let of = |uri: &'static str| without_token(&Uri::from_static(uri));
        assert_eq!(of("/?token=abc"), "/");
        assert_eq!(of("/a?b=c&token=abc&d=e"), "/a?b=c&d=e");
        assert_eq!(of("//evil.example/?token=abc"), "/evil.example/");
    }
}
