//! LiveKit's variables of the environment: one for each key of its file that has a plain value, `LIVEKIT_` and the key's
//! path in capitals, and a few under names of their own. They win over the file, so that a deployment of LiveKit's works
//! as it is.

use serde::de::DeserializeOwned;

use super::ConfigError;
use super::file::FileConfig;
use super::schema;

/// Every variable whose name and value are text.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    let text = |value: std::ffi::OsString| value.into_string().ok();
    std::env::vars_os().filter_map(move |(name, value)| Some((text(name)?, text(value)?)))
}

/// Lays what `variables` say over `file`. Empty ones say nothing, and so do those that are no keys of LiveKit's.
///
/// # Errors
/// A value cannot be; the text names the variable.
pub(super) fn lay_over(
    file: &mut FileConfig,
    variables: impl Iterator<Item = (String, String)>,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
        let setting = SETTINGS.iter().find(|(path, _)| is_named(&name, path));
        if let Some((path, set)) = setting {
            set(file, &value).ok_or_else(|| {
                ConfigError::new(format!("{name} must be {}", schema::expects(path)))
            })?;
        } else if let Some(remedy) = without_effect(&name) {
            warnings.push(format!("{name} has no effect yet{remedy}"));
        }
    }
    Ok(())
}

/// Variables with names of their own, and the key each stands for.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("NODE_IP", "rtc.node_ip"),
    ("UDP_PORT", "rtc.udp_port"),
    ("REDIS_HOST", "redis"),
    ("REDIS_PASSWORD", "redis"),
    ("LIVEKIT_TURN_CERT", "turn"),
    ("LIVEKIT_TURN_KEY", "turn"),
    ("LIVEKIT_REGION", "region"),
];

/// What LiveKit's command line reads, and agents: no settings of a server.
const OF_CLIENTS: [&str; 3] = ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];

/// Takes a value; `None` if it cannot be.
type Set = fn(&mut FileConfig, &str) -> Option<()>;

/// Every key with a plain value.
const SETTINGS: &[(&str, Set)] = &[
    ("port", |file, text| read(&mut file.port, text)),
    ("key_file", |file, text| put(&mut file.key_file, text.into())),
    ("workers", |file, text| read(&mut file.workers, text)),
    ("log_level", |file, text| read(&mut file.log_level, text)),
    ("enable_data_tracks", |file, text| read(&mut file.enable_data_tracks, text)),
    ("enable_participant_data_blob", |file, text| {
        read(&mut file.enable_participant_data_blob, text)
    }),
    ("page.open", |file, text| read(&mut file.page.get_or_insert_default().open, text)),
    ("agents.target_load", |file, text| {
        read(&mut file.agents.get_or_insert_default().target_load, text)
    }),
    ("logging.level", |file, text| read(&mut file.logging.get_or_insert_default().level, text)),
    ("logging.json", |file, text| read(&mut file.logging.get_or_insert_default().json, text)),
    ("rtc.udp_port", |file, text| read(&mut file.rtc.get_or_insert_default().udp_port, text)),
    ("rtc.tcp_port", |file, text| read(&mut file.rtc.get_or_insert_default().tcp_port, text)),
    ("rtc.force_tcp", |file, text| read(&mut file.rtc.get_or_insert_default().force_tcp, text)),
    ("rtc.node_ip", |file, text| {
        put(&mut file.rtc.get_or_insert_default().node_ip, text.parse().ok()?)
    }),
    ("rtc.use_external_ip", |file, text| {
        read(&mut file.rtc.get_or_insert_default().use_external_ip, text)
    }),
    ("rtc.enable_loopback_candidate", |file, text| {
        read(&mut file.rtc.get_or_insert_default().enable_loopback_candidate, text)
    }),
    ("rtc.data_channel_max_buffered_amount", |file, text| {
        read(&mut file.rtc.get_or_insert_default().data_channel_max_buffered_amount, text)
    }),
    ("rtc.congestion_control.allow_pause", |file, text| {
        let rtc = file.rtc.get_or_insert_default();
        read(&mut rtc.congestion_control.get_or_insert_default().allow_pause, text)
    }),
    ("rtc.datachannel_slow_threshold", |file, text| {
        read(&mut file.rtc.get_or_insert_default().datachannel_slow_threshold, text)
    }),
    ("rtc.datachannel_lossy_target_latency", |file, text| {
        read(&mut file.rtc.get_or_insert_default().datachannel_lossy_target_latency, text)
    }),
    ("rtc.datachannel_data_track_target_latency", |file, text| {
        read(&mut file.rtc.get_or_insert_default().datachannel_data_track_target_latency, text)
    }),
    ("room.auto_create", |file, text| {
        read(&mut file.room.get_or_insert_default().auto_create, text)
    }),
    ("room.departure_timeout", |file, text| {
        read(&mut file.room.get_or_insert_default().departure_timeout, text)
    }),
    ("room.empty_timeout", |file, text| {
        read(&mut file.room.get_or_insert_default().empty_timeout, text)
    }),
    ("room.enable_full_room_in_webhooks", |file, text| {
        read(&mut file.room.get_or_insert_default().enable_full_room_in_webhooks, text)
    }),
    ("room.enable_remote_unmute", |file, text| {
        read(&mut file.room.get_or_insert_default().enable_remote_unmute, text)
    }),
    ("room.max_participants", |file, text| {
        read(&mut file.room.get_or_insert_default().max_participants, text)
    }),
    ("room.spread_above", |file, text| {
        read(&mut file.room.get_or_insert_default().spread_above, text)
    }),
    ("room.sync_streams", |file, text| {
        read(&mut file.room.get_or_insert_default().sync_streams, text)
    }),
    ("room.playout_delay.enabled", |file, text| {
        let delay = &mut file.room.get_or_insert_default().playout_delay;
        read(&mut delay.get_or_insert_default().enabled, text)
    }),
    ("room.playout_delay.min", |file, text| {
        let delay = &mut file.room.get_or_insert_default().playout_delay;
        read(&mut delay.get_or_insert_default().min, text)
    }),
    ("room.playout_delay.max", |file, text| {
        let delay = &mut file.room.get_or_insert_default().playout_delay;
        read(&mut delay.get_or_insert_default().max, text)
    }),
    ("webhook.api_key", |file, text| {
        put(&mut file.webhook.get_or_insert_default().api_key, text.to_owned())
    }),
];

fn is_named(name: &str, path: &str) -> bool {
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    other.map_or_else(|| name == variable_of(path), |(_, of)| *of == path)
}

fn variable_of(path: &str) -> String {
    format!("LIVEKIT_{}", path.replace('.', "_").to_uppercase())
}

/// What to say of a variable for a key that this server does not act on.
fn without_effect(name: &str) -> Option<&'static str> {
    if OF_CLIENTS.contains(&name) {
        return None;
    }
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    schema::livekit_only_by(|key| match other {
        Some((_, of)) => *of == key,
        None => {
            let rest = name.strip_prefix(&variable_of(key));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        }
    })
}

/// A value as it would stand in the file.
fn read<T: DeserializeOwned>(setting: &mut Option<T>, text: &str) -> Option<()> {
    put(setting, serde_saphyr::from_str(text).ok()?)
}

#[expect(clippy::unnecessary_wraps, reason = "as one that reads")]
fn put<T>(setting: &mut Option<T>, value: T) -> Option<()> {
    *setting = Some(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(variables: &[(&str, &str)]) -> Result<(FileConfig, Vec<String>), String> {
        let (mut file, mut warnings) = FileConfig::parse("port: 1\nrtc: {udp_port: 5}").unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        lay_over(&mut file, variables, &mut warnings).map_err(|error| error.to_string())?;
        Ok((file, warnings))
    }

    #[test]
    fn a_variable_wins_over_the_file_and_the_rest_of_it_stays() {
        let (file, warnings) = laid(&[
            ("LIVEKIT_RTC_TCP_PORT", "7"),
            ("NODE_IP", "203.0.113.7"),
            ("LIVEKIT_ROOM_AUTO_CREATE", "false"),
            ("LIVEKIT_ROOM_PLAYOUT_DELAY_MIN", "100"),
            ("LIVEKIT_KEY_FILE", "/etc/keys: all"),
            ("LIVEKIT_PORT", ""),
        ])
        .unwrap();
        let rtc = file.rtc.unwrap();
        assert_eq!((file.port, rtc.udp_port.unwrap().first(), rtc.tcp_port), (Some(1), 5, Some(7)));
        assert_eq!(rtc.node_ip, Some("203.0.113.7".parse().unwrap()));
        assert_eq!(file.room.unwrap().auto_create, Some(false));
        assert_eq!(file.key_file.unwrap().to_str(), Some("/etc/keys: all"));
        assert_eq!(warnings, [""; 0]);
        let (file, _) = laid(&[("UDP_PORT", "9-12")]).unwrap();
        assert_eq!(file.rtc.unwrap().udp_port.unwrap().first(), 9);
    }

    #[test]
    fn a_value_that_cannot_be_is_an_error_that_names_its_variable() {
        for (name, value, expected) in [
            (
                "LIVEKIT_ROOM_AUTO_CREATE",
                "perhaps",
                "LIVEKIT_ROOM_AUTO_CREATE must be true or false",
            ),
            ("UDP_PORT", "9-3", "UDP_PORT must be a UDP port"),
            ("NODE_IP", "here", "NODE_IP must be an IP address"),
        ] {
            let error = laid(&[(name, value)]).err().unwrap();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_has_no_effect_is_named_and_what_is_others_is_not() {
        let (_, warnings) = laid(&[
            ("REDIS_HOST", "redis:6379"),
            ("LIVEKIT_TURN_CERT", "/cert"),
            ("LIVEKIT_RTC_PLI_THROTTLE_LOW_QUALITY", "500ms"),
            ("LIVEKIT_URL", "ws://a.example"),
            ("LIVEKIT_API_KEY", "key"),
            ("LIVEKIT_SOMETHING_OF_AN_APPLICATION", "1"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        let named: Vec<&str> = warnings.iter().filter_map(|text| text.split(' ').next()).collect();
        let expected = ["REDIS_HOST", "LIVEKIT_TURN_CERT", "LIVEKIT_RTC_PLI_THROTTLE_LOW_QUALITY"];
        assert_eq!(named, expected);
    }

    #[test]
    fn every_key_with_a_plain_value_has_a_variable() {
        for path in schema::plain_keys() {
            assert!(SETTINGS.iter().any(|(known, _)| *known == path), "{path}");
        }
    }
}
