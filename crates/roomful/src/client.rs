//! What this program asks of others over HTTP and HTTPS: one POST at a time, bounded in time and size.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// How the other end sees this program.
const USER_AGENT: &str = concat!("roomful/", env!("CARGO_PKG_VERSION"));

/// Sends requests, over connections it keeps for a while.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No certificates of authorities can be read, or the TLS library refuses.
    #[error("no HTTPS: {0}")]
    Tls(String),
    /// The address cannot be reached, or the connection broke.
    #[error("cannot reach it: {0}")]
    Connect(#[from] hyper_util::client::legacy::Error),
    /// The request cannot be made, which an address that was checked does not cause.
    #[error("cannot make the request: {0}")]
    Request(#[from] axum::http::Error),
    /// The answer broke off, or is too large.
    #[error("the answer cannot be read: {0}")]
    Body(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
}

impl HttpClient {
    /// A client that trusts the authorities this machine trusts.
    pub(crate) fn new() -> Result<Self, ClientError> {
        let tls = |error: &dyn std::error::Error| ClientError::Tls(error.to_string());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(&error))?;
        // A machine without any authority can still speak plain HTTP.
        let config = match config.clone().with_native_roots() {
            Ok(config) => config.with_no_client_auth(),
            Err(error) => {
                tracing::debug!(%error, "no certificates of authorities: HTTPS trusts nobody");
                config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
            }
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Sends `body` and returns status and body of the answer, which may take `patience` and hold `limit` bytes.
    /// Redirections are not followed.
    pub(crate) async fn post(
        &self,
        to: &Uri,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut request = Request::post(to).body(Full::new(body))?;
        *request.headers_mut() = headers;
        let agent = header::HeaderValue::from_static(USER_AGENT);
        request.headers_mut().insert(header::USER_AGENT, agent);
        let exchange = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit).collect().await;
            let body = body.map_err(|error| ClientError::Body(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        timeout(patience, exchange).await.map_err(|_| ClientError::TooSlow(patience))?
    }
}
