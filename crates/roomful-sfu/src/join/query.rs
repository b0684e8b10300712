//! The join request of LiveKit's older protocol: the query of `/rtc`, a parameter for each thing a client says.

use std::collections::HashMap;

use base64::Engine as _;
use livekit_protocol as proto;
use proto::client_info::{Capability, Sdk};

use super::{BASE64URL, JoinError};

/// Reads a join request from a query of which `parameter` gives the values, decoded. What it does not say is as
/// LiveKit has it: everything is subscribed to, nothing else is on.
///
/// # Errors
/// [`JoinError::Attributes`]: `attributes` is there and cannot be read.
pub fn from_query<'a>(
    parameter: impl Fn(&str) -> Option<&'a str>,
) -> Result<proto::JoinRequest, JoinError> {
    let text = |name| parameter(name).filter(|value| !value.is_empty());
    let is_on = |name| text(name).map(is_true);
    let number = |name| text(name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let reconnect = is_on("reconnect").unwrap_or(false);
    let sid = text("sid").filter(|_| reconnect).unwrap_or_default();
    Ok(proto::JoinRequest {
        client_info: Some(client_info(text)),
        connection_settings: Some(proto::ConnectionSettings {
            auto_subscribe: is_on("auto_subscribe").unwrap_or(true),
            adaptive_stream: is_on("adaptive_stream").unwrap_or(false),
            subscriber_allow_pause: is_on("subscriber_allow_pause"),
            disable_ice_lite: is_on("disable_ice_lite").unwrap_or(false),
            auto_subscribe_data_track: is_on("auto_subscribe_data_track"),
        }),
        participant_attributes: text("attributes").map(attributes).transpose()?.unwrap_or_default(),
        reconnect,
        reconnect_reason: number("reconnect_reason"),
        participant_sid: sid.to_owned(),
        ..Default::default()
    })
}

fn client_info<'a>(text: impl Fn(&'static str) -> Option<&'a str>) -> proto::ClientInfo {
    let said = |name| text(name).unwrap_or_default().to_owned();
    let number = |name| text(name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let capabilities = text("capabilities").unwrap_or_default().split(',');
    let known = |name: &str| Capability::from_str_name(name.trim()).map(i32::from);
    proto::ClientInfo {
        sdk: sdk(text("sdk").unwrap_or_default()).into(),
        version: said("version"),
        protocol: number("protocol"),
        os: said("os"),
        os_version: said("os_version"),
        device_model: said("device_model"),
        browser: said("browser"),
        browser_version: said("browser_version"),
        network: said("network"),
        client_protocol: number("client_protocol"),
        capabilities: capabilities.filter_map(known).collect(),
        ..Default::default()
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// Libraries by the names they give themselves.
fn sdk(name: &str) -> Sdk {
    match name {
        "js" => Sdk::Js,
        "ios" | "swift" => Sdk::Swift,
        "android" => Sdk::Android,
        "flutter" => Sdk::Flutter,
        "go" => Sdk::Go,
        "unity" => Sdk::Unity,
        "reactnative" => Sdk::ReactNative,
        "rust" => Sdk::Rust,
        "python" => Sdk::Python,
        "cpp" => Sdk::Cpp,
        "unityweb" => Sdk::UnityWeb,
        "node" => Sdk::Node,
        "esp32" => Sdk::Esp32,
        _ => Sdk::Unknown,
    }
}

/// Base64url of a JSON object of texts.
fn attributes(value: &str) -> Result<HashMap<String, String>, JoinError> {
    let json = BASE64URL.decode(value).map_err(|_| JoinError::Attributes)?;
    serde_json::from_slice(&json).map_err(|_| JoinError::Attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &'static str)]) -> Result<proto::JoinRequest, JoinError> {
        from_query(|name| query.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    #[test]
    fn what_a_query_does_not_say_is_as_older_clients_expect_it() {
        let request = read(&[]).unwrap();
        let settings = request.connection_settings.unwrap();
        assert!(settings.auto_subscribe && !settings.adaptive_stream && !request.reconnect);
        assert_eq!(settings.auto_subscribe_data_track, None);
        assert_eq!(request.client_info.unwrap().sdk(), Sdk::Unknown);
    }

    #[test]
    fn every_parameter_finds_its_field() {
        let request = read(&[
            ("auto_subscribe", "0"),
            ("adaptive_stream", "true"),
            ("sdk", "reactnative"),
            ("version", "2.9.1"),
            ("protocol", "9"),
            ("client_protocol", "1"),
            ("browser", "Safari"),
            ("capabilities", "CAP_PACKET_TRAILER, CAP_OF_THE_FUTURE"),
            ("reconnect", "1"),
            ("reconnect_reason", "3"),
            ("sid", "PA_x"),
            ("attributes", "eyJhIjoiYiJ9"),
        ])
        .unwrap();
        let settings = request.connection_settings.unwrap();
        assert!(!settings.auto_subscribe && settings.adaptive_stream && request.reconnect);
        assert_eq!(request.reconnect_reason(), proto::ReconnectReason::RrSubscriberFailed);
        assert_eq!(request.participant_sid, "PA_x");
        assert_eq!(request.participant_attributes["a"], "b");
        let info = request.client_info.unwrap();
        assert_eq!((info.sdk(), info.protocol, info.client_protocol), (Sdk::ReactNative, 9, 1));
        assert_eq!((&info.version[..], &info.browser[..]), ("2.9.1", "Safari"));
        assert_eq!(info.capabilities, [i32::from(Capability::CapPacketTrailer)]);
    }

    #[test]
    fn numbers_that_are_none_are_passed_over_and_attributes_that_are_none_refused() {
        let request = read(&[("protocol", "nine"), ("reconnect_reason", "-"), ("sid", "PA_x")]);
        let request = request.unwrap();
        assert_eq!(request.client_info.unwrap().protocol, 0);
        assert_eq!(request.participant_sid, "", "nobody comes back who does not say so");
        for bad in ["not base64!", "bm8ganNvbg", "WzFd", "eyJhIjoxfQ"] {
            assert_eq!(read(&[("attributes", bad)]), Err(JoinError::Attributes), "{bad}");
        }
    }
}
