//! Where a request comes from, as far as its headers can be believed.
//!
//! A page in a browser can set most headers, but not `Origin` and `Sec-Fetch-Site` (Fetch §2.2.2,
//! forbidden request-headers), and of `Host` it decides only the name it was itself loaded under.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, Uri, header};

use super::canonical;

/// What proxies add. A page can add them, too, so their presence proves nothing; their absence is
/// only asked of those who would gain by being direct.
const PROXY_HEADERS: [HeaderName; 3] =
    [header::FORWARDED, header::VIA, HeaderName::from_static("x-real-ip")];
const PROXY_PREFIX: &str = "x-forwarded-";

/// Suffixes of names that nobody can register: RFC 6761 (`localhost`, `test`), RFC 6762 (`local`).
const UNREGISTRABLE: [&str; 3] = [".localhost", ".local", ".test"];

/// The host and port the client used, if the header is there once and well-formed.
pub(super) fn host(headers: &HeaderMap) -> Option<Authority> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let host: Authority = host.parse().ok()?;
    (!host.as_str().contains('@')).then_some(host)
}

/// Whether the client itself, and not a proxy in front of it, is on this machine and means it.
pub(super) fn is_this_machine(client: SocketAddr, headers: &HeaderMap) -> bool {
    canonical(client).ip().is_loopback()
        && !is_forwarded(headers)
        && host(headers).is_some_and(|host| match ip(&host) {
            Some(ip) => ip.is_loopback(),
            None => host.host().eq_ignore_ascii_case("localhost"),
        })
}

/// Whether a page of another site sent this.
///
/// Hosts are compared without their ports, which proxies tend to lose. A page of another port is
/// kept out by the browser, which asks first where JSON is sent, and is not allowed.
pub(super) fn is_cross_origin(headers: &HeaderMap) -> bool {
    match text(headers, "sec-fetch-site") {
        Some("same-origin") => return false,
        Some("cross-site") => return true,
        _ => {}
    }
    if !headers.contains_key(header::ORIGIN) {
        // No browser leaves it out of a POST: this is a program, which could write anything.
        return false;
    }
    let origin = origin(headers).and_then(|origin| origin.into_parts().authority);
    match (origin, host(headers)) {
        (Some(origin), Some(host)) => !origin.host().eq_ignore_ascii_case(host.host()),
        // "null": a page that hides where it is from.
        _ => true,
    }
}

/// Whether a page of the Internet may have pointed its own name at this machine (DNS rebinding),
/// and so passes for the server's own page with a browser that runs here.
///
/// Such a page needs a name that can be registered, and it needs plain HTTP: a server without TLS
/// cannot answer for `https://`, so an origin that says so came through a proxy that can.
pub(super) fn may_be_rebound(client: SocketAddr, headers: &HeaderMap) -> bool {
    let through_tls = origin(headers).is_some_and(|origin| origin.scheme() == Some(&Scheme::HTTPS));
    let is_browser = headers.contains_key(header::ORIGIN);
    canonical(client).ip().is_loopback()
        && (is_browser || !is_forwarded(headers))
        && !through_tls
        && host(headers).is_some_and(|host| ip(&host).is_none() && is_registrable(host.host()))
}

fn origin(headers: &HeaderMap) -> Option<Uri> {
    headers.get(header::ORIGIN)?.to_str().ok()?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a proxy passed this on.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    PROXY_HEADERS.iter().any(|name| headers.contains_key(name))
        || headers.keys().any(|name| name.as_str().starts_with(PROXY_PREFIX))
}

/// The address, if the host is one.
pub(super) fn ip(host: &Authority) -> Option<IpAddr> {
    host.host().trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A name of one label is resolved by this machine or this network alone.
pub(super) fn is_registrable(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.contains('.') && !UNREGISTRABLE.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_who_calls_this_machine_by_its_own_name_is_on_it() {
        let local = "127.0.0.1:5000";
        assert!(is_this_machine(address(local), &headers(&[("host", "localhost:7880")])));
        assert!(is_this_machine(address("[::1]:5000"), &headers(&[("host", "[::1]:7880")])));
        assert!(is_this_machine(address(local), &headers(&[("host", "127.0.0.1")])));
        assert!(!is_this_machine(address("192.0.2.1:5000"), &headers(&[("host", "localhost")])));
        for other in ["meet.example", "192.0.2.1:7880", "localhost.example"] {
            assert!(!is_this_machine(address(local), &headers(&[("host", other)])), "{other}");
        }
        for added in ["via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "forwarded"] {
            let headers = headers(&[("host", "localhost"), (added, "x")]);
            assert!(!is_this_machine(address(local), &headers), "{added}");
        }
        assert!(!is_this_machine(address(local), &HeaderMap::new()));
    }

    #[test]
    fn a_page_of_another_site_is_seen_and_our_own_passes() {
        let crosses = |given: &[(&'static str, &'static str)]| {
            let mut given = given.to_vec();
            given.push(("host", "meet.example:7880"));
            is_cross_origin(&headers(&given))
        };
        assert!(!crosses(&[]), "a program");
        assert!(!crosses(&[("origin", "https://Meet.example")]), "a proxy took the port");
        assert!(!crosses(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(!crosses(&[("origin", "https://x.example"), ("sec-fetch-site", "same-origin")]));
        assert!(crosses(&[("origin", "https://evil.example")]));
        assert!(crosses(&[
            ("origin", "https://evil.meet.example"),
            ("sec-fetch-site", "same-site")
        ]));
        assert!(crosses(&[("origin", "null")]));
        assert!(crosses(&[("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_registrable_name_for_this_machine_is_suspicious() {
        let rebound = |client: &str, given: &[(&'static str, &'static str)]| {
            may_be_rebound(address(client), &headers(given))
        };
        let local = "127.0.0.1:5000";
        for name in ["localhost:7880", "a.localhost", "127.0.0.1", "[::1]:1", "desk", "desk.local."]
        {
            assert!(!rebound(local, &[("host", name)]), "{name}");
        }
        let (evil, from_evil) = (("host", "evil.example"), ("origin", "http://evil.example"));
        assert!(rebound(local, &[evil]));
        assert!(rebound(local, &[evil, from_evil]));
        assert!(rebound(local, &[evil, from_evil, ("x-forwarded-for", "1")]), "a page can add it");
        assert!(!rebound(local, &[evil, ("x-forwarded-for", "1")]), "a proxy, no browser");
        let tls = ("origin", "https://meet.example");
        assert!(!rebound(local, &[("host", "meet.example"), tls]), "a proxy with TLS");
        assert!(!rebound("192.0.2.1:5000", &[evil, from_evil]));
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        given
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }
}
