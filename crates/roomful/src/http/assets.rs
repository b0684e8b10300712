//! The page and its parts, embedded in the binary, text also compressed with Brotli.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What the build script made of `web/`.
#[derive(RustEmbed)]
#[folder = "$ROOMFUL_WEB_OUT"]
struct Files;

const INDEX: &str = "index.html";

/// Vite puts the hash of each file's content into its name below this folder.
const HASHED: &str = "assets/";

/// Scripts and styles come from here alone. Signalling may go to another host (a proxy in front
/// may rewrite the Host header, and a token may come with another server's address); pictures and
/// sound may be made by the page itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws: wss: http: https:; img-src 'self' data: blob:; \
     media-src 'self' blob: mediastream:; worker-src 'self' blob:; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), display-capture=(self)";

/// `GET /` and `GET /room/{room}`.
pub(super) async fn page(headers: HeaderMap) -> Response {
    serve(INDEX, &headers, StatusCode::OK)
}

/// Any other path: a file of the page, or the page itself, which then says that there is nothing.
pub(super) fn file(path: &str, headers: &HeaderMap) -> Response {
    let path = path.trim_start_matches('/');
    if path == INDEX || path.ends_with(".br") || Files::get(path).is_none() {
        return serve(INDEX, headers, StatusCode::NOT_FOUND);
    }
    serve(path, headers, StatusCode::OK)
}

fn serve(path: &str, request: &HeaderMap, status: StatusCode) -> Response {
    let Some(plain) = Files::get(path) else {
        // The build script embeds no page without an index.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let compressed = Files::get(&format!("{path}.br"));
    let has_variants = compressed.is_some();
    let compressed = compressed.filter(|_| accepts_brotli(request));
    let encoding = compressed.is_some().then_some("br");
    let file = compressed.unwrap_or(plain);
    let etag = etag(&file);

    let mut response = if status == StatusCode::OK && is_known(request, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = (status, body(file.data)).into_response();
        set(&mut response, header::CONTENT_TYPE, content_type(path));
        if let Some(encoding) = encoding {
            set(&mut response, header::CONTENT_ENCODING, encoding);
        }
        response
    };
    set(&mut response, header::ETAG, &etag);
    if has_variants {
        set(&mut response, header::VARY, "accept-encoding");
    }
    let hashed = path.starts_with(HASHED);
    let caching = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    set(&mut response, header::CACHE_CONTROL, caching);
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, header::REFERRER_POLICY, "no-referrer");
    if path == INDEX {
        set(&mut response, header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        set(&mut response, HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY);
    }
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // Every value is made here, of visible ASCII; one that were not would be left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Embedded bytes are served where they lie.
fn body(data: Cow<'static, [u8]>) -> Body {
    match data {
        Cow::Borrowed(bytes) => Body::from(Bytes::from_static(bytes)),
        Cow::Owned(bytes) => Body::from(bytes),
    }
}

/// A strong validator: 128 bits of the SHA-256 of the bytes as sent.
fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// RFC 9110 §13.1.2: any of the listed validators, compared weakly, or `*`.
fn is_known(request: &HeaderMap, etag: &str) -> bool {
    let listed = request.get_all(header::IF_NONE_MATCH);
    listed.iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
    })
}

/// RFC 9110 §12.5.3, as far as it concerns one coding: listed, and not with a weight of zero.
fn accepts_brotli(request: &HeaderMap) -> bool {
    let listed = request.get_all(header::ACCEPT_ENCODING);
    listed.iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case("br") && weight.is_some_and(|weight| weight > 0.0)
        })
    })
}

/// The kinds of file a web client consists of.
fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_is_sent_only_to_those_who_take_it() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=0.5", true),
            ("gzip, BR", true),
            ("br;q=0", false),
            ("gzip, br; q=0.0", false),
            ("gzip", false),
            ("identity", false),
            ("", false),
        ] {
            let request = headers(header::ACCEPT_ENCODING, value);
            assert_eq!(accepts_brotli(&request), expected, "{value:?}");
        }
        assert!(!accepts_brotli(&HeaderMap::new()));
    }

    #[test]
    fn a_known_validator_is_found_in_a_list_weak_or_not() {
        for (value, expected) in [
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(
                is_known(&headers(header::IF_NONE_MATCH, value), "\"a\""),
                expected,
                "{value}"
            );
        }
    }

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }
}
