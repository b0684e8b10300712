//! Whom to tell what happens in rooms: the section `webhook`.

use std::time::Duration;

use axum::http::Uri;
use roomful_sfu::token::{ApiKey, ApiKeys};
use serde::Deserialize;

use super::ConfigError;
use super::values::FileDuration;

/// How long an event may wait before it is told nobody: LiveKit's default. Longer tells applications what is long over,
/// shorter loses more while one of them restarts.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(30);

/// Events of one room that may wait: LiveKit's default. More takes memory while an application is away, fewer loses
/// some where a meeting of hundreds begins.
const DEFAULT_MAX_DEPTH: usize = 200;

/// Whom to tell, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where each event is sent.
    pub urls: Vec<Uri>,
    /// The key that signs: one of the server's.
    pub key: ApiKey,
    /// If not empty, only events of these names are sent.
    pub include: Vec<String>,
    /// Events of these names are not sent, unless `include` names any.
    pub exclude: Vec<String>,
    /// An event that waited longer is dropped.
    pub max_age: Duration,
    /// An event for which so many of its room wait already is dropped.
    pub max_depth: usize,
}

/// The section of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileWebhook {
    pub(super) api_key: Option<String>,
    urls: Option<Vec<String>>,
    filter_params: Option<FileFilterParams>,
    resource_url_notifier: Option<FileQueue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FileFilterParams {
    include_events: Option<Vec<String>>,
    exclude_events: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FileQueue {
    max_age: Option<String>,
    max_depth: Option<usize>,
}

impl FileWebhook {
    /// `None`: nobody is to be told.
    pub(super) fn read(self, keys: &ApiKeys) -> Result<Option<WebhookConfig>, ConfigError> {
        let urls = self.urls.unwrap_or_default();
        if urls.is_empty() {
            return Ok(None);
        }
        let key = ApiKey::new(self.api_key.unwrap_or_default());
        if !keys.contains(&key) {
            return Err(ConfigError::new(
                "webhook.api_key: name the key that signs webhooks, one of those under keys",
            ));
        }
        let filter = self.filter_params.unwrap_or_default();
        let queue = self.resource_url_notifier.unwrap_or_default();
        Ok(Some(WebhookConfig {
            urls: urls.iter().map(|url| parse_url(url)).collect::<Result<_, _>>()?,
            key,
            include: filter.include_events.unwrap_or_default(),
            exclude: filter.exclude_events.unwrap_or_default(),
            max_age: queue.max_age.map_or(Ok(DEFAULT_MAX_AGE), |text| parse_max_age(&text))?,
            max_depth: queue.max_depth.unwrap_or(DEFAULT_MAX_DEPTH).max(1),
        }))
    }
}

/// The text may hold a secret: the error does not repeat it.
fn parse_url(text: &str) -> Result<Uri, ConfigError> {
    let url: Option<Uri> = text.parse().ok();
    url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        .ok_or_else(|| {
            ConfigError::new(
                "webhook.urls: one is no address; write for example https://app.example/webhook",
            )
        })
}

fn parse_max_age(text: &str) -> Result<Duration, ConfigError> {
    text.parse::<FileDuration>().map(|FileDuration(age)| age).map_err(|error| {
        ConfigError::new(format!("webhook.resource_url_notifier.max_age: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use roomful_sfu::token::ApiSecret;

    fn read(yaml: &str) -> Result<Option<WebhookConfig>, String> {
        let mut keys = ApiKeys::default();
        keys.insert(ApiKey::new("key"), ApiSecret::new("secret"));
        let file: FileWebhook = serde_saphyr::from_str(yaml).unwrap();
        file.read(&keys).map_err(|error| error.to_string())
    }

    #[test]
    fn livekits_section_is_read() {
        let all = "{api_key: key, urls: [\"http://a.example/x\", \"https://b.example\"], \
                   filter_params: {exclude_events: [room_started]}, \
                   resource_url_notifier: {max_age: 2m, max_depth: 7}}";
        let webhook = read(all).unwrap().unwrap();
        assert_eq!(webhook.urls.len(), 2);
        assert_eq!(webhook.exclude, ["room_started"]);
        assert_eq!((webhook.max_age, webhook.max_depth), (Duration::from_secs(120), 7));
        let plain = read("{api_key: key, urls: [\"http://a.example\"]}").unwrap().unwrap();
        assert_eq!((plain.max_age, plain.max_depth), (Duration::from_secs(30), 200));
        assert_eq!(read("{api_key: other, urls: []}"), Ok(None));
    }

    #[test]
    fn what_cannot_work_is_named_without_repeating_secrets() {
        let error = read("{api_key: other, urls: [\"http://a.example\"]}").unwrap_err();
        assert!(error.contains("webhook.api_key"), "{error}");
        for url in ["a.example/hunter2", "ftp://hunter2", "https://", "http://a b/hunter2"] {
            let error = read(&format!("{{api_key: key, urls: [\"{url}\"]}}")).unwrap_err();
            assert!(error.contains("webhook.urls") && !error.contains("hunter2"), "{error}");
        }
        for age in ["soon", "30", "5 s", "-1s", "99999999999999999999s"] {
            let error = parse_max_age(age).unwrap_err().to_string();
            assert!(error.contains("max_age"), "{error}");
        }
    }
}
