//! Which server, and in whose name.

use anyhow::{Context as _, ensure};
use axum::http::Uri;
use clap::Args;
use roomful_sfu::token::{ApiKey, ApiKeys, ApiSecret};

use crate::config::{Config, Flags};

/// Named as LiveKit's tools name them, so that one environment serves both.
#[derive(Debug, Args)]
pub(super) struct Access {
    /// Address of the server [default: this machine].
    #[arg(long, env = "LIVEKIT_URL")]
    url: Option<String>,

    /// API key [default: the first one of the server's own configuration].
    #[arg(long, env = "LIVEKIT_API_KEY", requires = "api_secret")]
    api_key: Option<String>,

    /// Its secret. Others on this machine can see a flag: prefer the environment.
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true)]
    api_secret: Option<String>,
}

impl Access {
    /// The key pair to sign with.
    pub(super) fn keys(&self, flags: Flags) -> anyhow::Result<ApiKeys> {
        self.resolve(flags).map(|(_, keys)| keys)
    }

    /// Where the server is, and the key pair to sign with.
    pub(super) fn resolve(&self, flags: Flags) -> anyhow::Result<(Uri, ApiKeys)> {
        let config = Config::from_flags(flags)?;
        let mut keys = config.keys;
        if let (Some(key), Some(secret)) = (&self.api_key, &self.api_secret) {
            keys = ApiKeys::default();
            keys.insert(ApiKey::new(key), ApiSecret::new(secret));
        }
        ensure!(
            !keys.is_empty(),
            "no API key: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or name the server's \
             configuration with --config. A server without keys has no API"
        );
        let url = match &self.url {
            Some(url) => http_url(url),
            None => format!("http://localhost:{}", config.port),
        };
        let url: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        ensure!(
            url.host().is_some(),
            "{url} names no server: write for example http://localhost:7880"
        );
        Ok((url, keys))
    }
}

/// LiveKit's clients are given the address of the signalling: the API is at the same place.
fn http_url(url: &str) -> String {
    match url.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(_) => url.to_owned(),
        None => format!("http://{url}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_where_the_signalling_is() {
        assert_eq!(http_url("wss://meet.example"), "https://meet.example");
        assert_eq!(http_url("ws://localhost:7880"), "http://localhost:7880");
        assert_eq!(http_url("https://meet.example"), "https://meet.example");
        assert_eq!(http_url("localhost:7880"), "http://localhost:7880");
    }
}
