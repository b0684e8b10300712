//! Which keys the file may have, and what to say about the others.

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// What a look at the keys of the file found.
#[derive(Default)]
pub(super) struct Outline {
    /// What the operator should know: keys of LiveKit's that this version does not act on.
    pub(super) warnings: Vec<String>,
    /// Where each key that is acted on stands (line and column) and what it expects.
    keys: Vec<((u64, u64), String, &'static str)>,
}

impl Outline {
    /// Looks at every key of the file. An unknown one is an error that names its line and the
    /// nearest known key.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let Node::Map(entries) = serde_saphyr::from_str(text).map_err(|error| say(&error))? else {
            return Err("the configuration must be a list of \"key: value\" lines".into());
        };
        let mut outline = Self::default();
        check_entries(&Place::default(), &entries, &mut outline)?;
        Ok(outline)
    }

    /// What is wrong with a value: the key before it says what it should have been.
    pub(super) fn explain(&self, error: &serde_saphyr::Error) -> String {
        let at = error.location().map(|location| (location.line(), location.column()));
        let key = at.and_then(|at| self.keys.iter().filter(|(key, ..)| *key <= at).max());
        match key {
            Some(((line, _), path, expects)) => format!("line {line}: {path} must be {expects}"),
            None => say(error),
        }
    }
}

/// One line, without the source excerpt: an excerpt could show a secret.
fn say(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Where a key stands.
#[derive(Default)]
struct Place {
    /// The keys that lead there, as they are written.
    path: String,
    /// The same as the lists below have it: `*` for names of the operator's choice.
    pattern: String,
}

impl Place {
    fn below(&self, key: &str) -> Self {
        let join = |parent: &str, key: &str| match parent {
            "" => key.to_owned(),
            _ => format!("{parent}.{key}"),
        };
        let known = if self.pattern == PRESETS {
            "*".to_owned()
        } else if self.pattern.starts_with(PRESETS) {
            // Written as protobuf's JSON, too.
            snake_case(key)
        } else {
            key.to_owned()
        };
        Self { path: join(&self.path, key), pattern: join(&self.pattern, &known) }
    }
}

fn snake_case(key: &str) -> String {
    let mut snake = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn check_entries(
    parent: &Place,
    entries: &[(Spanned<String>, Node)],
    outline: &mut Outline,
) -> Result<(), String> {
    for (key, value) in entries {
        let place = parent.below(&key.value);
        let line = key.referenced.line();
        if let Some((_, expects)) = KEYS.iter().find(|(known, _)| *known == place.pattern) {
            outline.keys.push(((line, key.referenced.column()), place.path.clone(), expects));
            match value {
                Node::Map(entries) if !FREE.contains(&&place.pattern[..]) => {
                    check_entries(&place, entries, outline)?;
                }
                _ => {}
            }
        } else if let Some(remedy) = livekit_only(&place.pattern) {
            let path = place.path;
            outline.warnings.push(format!("line {line}: {path} has no effect yet{remedy}"));
        } else {
            return Err(unknown(line, &place));
        }
    }
    Ok(())
}

fn unknown(line: u64, place: &Place) -> String {
    let Place { path, pattern } = place;
    let nearest = KEYS
        .iter()
        .chain(LIVEKIT_ONLY)
        .map(|(key, _)| *key)
        .max_by(|a, b| likeness(pattern, a).total_cmp(&likeness(pattern, b)));
    match nearest.filter(|nearest| likeness(pattern, nearest) > 0.6) {
        Some(nearest) => {
            let nearest = nearest.replace('*', "NAME");
            format!("line {line}: unknown key {path}; did you mean {nearest}?")
        }
        None => format!("line {line}: unknown key {path}"),
    }
}

/// Likeness of the whole path, or of the last part where somebody put a key under another parent.
fn likeness(path: &str, known: &str) -> f64 {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::normalized_damerau_levenshtein(path, known);
    whole.max(strsim::normalized_damerau_levenshtein(&last(path), &last(known)) - 0.05)
}

/// What the key of that path expects.
pub(super) fn expects(path: &str) -> &'static str {
    KEYS.iter().find(|(key, _)| *key == path).map_or("set otherwise", |(_, expects)| expects)
}

/// What to say about the first key of LiveKit's that `is_key`.
pub(super) fn livekit_only_by(is_key: impl Fn(&str) -> bool) -> Option<&'static str> {
    LIVEKIT_ONLY.iter().find(|(key, _)| is_key(key)).map(|(_, remedy)| *remedy)
}

/// What to say about a key of LiveKit's, itself or below one in the list.
fn livekit_only(path: &str) -> Option<&'static str> {
    LIVEKIT_ONLY.iter().find_map(|(key, remedy)| {
        let below = path.strip_prefix(key)?;
        (below.is_empty() || below.starts_with('.')).then_some(*remedy)
    })
}

/// The keys this server acts on, and what each expects.
const KEYS: &[(&str, &str)] = &[
    ("port", "a TCP port, for example 7880"),
    ("bind_addresses", "a list of IP addresses, for example [\"127.0.0.1\"]"),
    ("keys", "lines of \"key: secret\", each key once"),
    ("key_file", "the path of a file with lines of \"key: secret\""),
    ("workers", "a number of threads, at least 1"),
    ("page", "a section: page.open"),
    ("page.open", "true or false"),
    ("rtc", "a section: rtc.udp_port and others"),
    ("rtc.udp_port", "a UDP port, for example 7882, or a range, for example 7882-7889"),
    ("rtc.tcp_port", "a TCP port, for example 7881, or 0 for none"),
    ("rtc.force_tcp", "true or false"),
    ("rtc.node_ip", "an IP address, for example 203.0.113.7"),
    ("rtc.use_external_ip", "true or false"),
    ("rtc.turn_servers", "a list of servers, each with host, port, protocol, username, credential"),
    ("rtc.stun_servers", "a list of host:port, for example [\"stun.example.com:3478\"]"),
    ("rtc.interfaces", "a section: rtc.interfaces.includes and rtc.interfaces.excludes"),
    ("rtc.interfaces.includes", "a list of network interfaces, for example [eth0]"),
    ("rtc.interfaces.excludes", "a list of network interfaces, for example [docker0]"),
    ("rtc.enable_loopback_candidate", "true or false"),
    ("rtc.data_channel_max_buffered_amount", "a number of bytes, 0 for the default"),
    ("rtc.congestion_control", "a section: allow_pause"),
    ("rtc.congestion_control.allow_pause", "true or false"),
    ("rtc.datachannel_slow_threshold", "a number of bits a second, 0 for none"),
    ("rtc.datachannel_lossy_target_latency", "a duration, for example 200ms, or 0 for any"),
    ("rtc.datachannel_data_track_target_latency", "a duration, for example 100ms, or 0 for any"),
    ("enable_data_tracks", "true or false"),
    ("enable_participant_data_blob", "true or false"),
    ("room", "a section: room.max_participants and others"),
    ("room.auto_create", "true or false"),
    ("room.departure_timeout", "a number of seconds, for example 20"),
    ("room.empty_timeout", "a number of seconds, for example 300"),
    ("room.enable_full_room_in_webhooks", "true or false"),
    ("room.enable_remote_unmute", "true or false"),
    ("room.max_participants", "a number, 0 for no limit"),
    ("room.playout_delay", "a section: enabled, min and max"),
    ("room.playout_delay.enabled", "true or false"),
    ("room.playout_delay.min", "a number of milliseconds, for example 100"),
    ("room.playout_delay.max", "a number of milliseconds, for example 2000"),
    ("room.sync_streams", "true or false"),
    ("room.spread_above", "a number, 0 for never"),
    (
        "room.enabled_codecs",
        "a list of codecs, for example [{mime: video/VP8}, {mime: audio/opus}]",
    ),
    (PRESETS, "a section with a name for each preset, and below it empty_timeout and others"),
    ("room.room_configurations.*", "a section: empty_timeout, max_participants and others"),
    ("room.room_configurations.*.name", "the name of the preset"),
    ("room.room_configurations.*.empty_timeout", "a number of seconds, for example 300"),
    ("room.room_configurations.*.departure_timeout", "a number of seconds, for example 20"),
    ("room.room_configurations.*.max_participants", "a number, 0 for no limit of its own"),
    ("room.room_configurations.*.metadata", "a text"),
    ("room.room_configurations.*.min_playout_delay", "a number of milliseconds"),
    ("room.room_configurations.*.max_playout_delay", "a number of milliseconds"),
    ("room.room_configurations.*.sync_streams", "true or false"),
    (
        "room.room_configurations.*.agents",
        "a list of agents, each with agent_name and, if need be, metadata, attributes, deployment, restart_policy",
    ),
    ("room.room_configurations.*.tags", "a section of texts"),
    ("webhook", "a section: webhook.api_key and webhook.urls"),
    ("webhook.api_key", "one of the keys under keys"),
    ("webhook.urls", "a list of addresses, for example [\"https://app.example/webhook\"]"),
    ("webhook.filter_params", "a section: include_events or exclude_events"),
    ("webhook.filter_params.include_events", "a list of events, for example [room_started]"),
    ("webhook.filter_params.exclude_events", "a list of events, for example [track_published]"),
    ("webhook.resource_url_notifier", "a section: max_age and max_depth"),
    ("webhook.resource_url_notifier.max_age", "a duration, for example 30s"),
    ("webhook.resource_url_notifier.max_depth", "a number of events, for example 200"),
    ("agents", "a section: agents.target_load"),
    ("agents.target_load", "a number from 0 to 1, for example 0.7"),
    ("log_level", LEVELS),
    ("logging", "a section: logging.level and logging.json"),
    ("logging.level", LEVELS),
    ("logging.json", "true or false"),
];

const LEVELS: &str = "trace, debug, info, warn or error";

/// Each of its children is a preset, with a name of the operator's choice.
const PRESETS: &str = "room.room_configurations";

/// Their children have names of the operator's choice, and are nothing but text.
const FREE: &[&str] = &["keys", "room.room_configurations.*.tags"];

/// The keys LiveKit has and this server does not act on, with what to do instead, if anything.
/// They are warnings, not errors, so that a LiveKit configuration starts.
const LIVEKIT_ONLY: &[(&str, &str)] = &[
    ("agents.enable_user_data_recording", ""),
    ("agents.enable_user_data_redaction", ""),
    ("api", ""),
    ("audio", ""),
    ("debug_handler", ""),
    ("debug_handler_port", ""),
    ("development", ": without keys the server is open by itself"),
    ("ingress", ""),
    ("limit", ""),
    ("logging.pion_level", ""),
    ("logging.sample", ""),
    ("logging.component_levels", ""),
    ("metric", ""),
    ("node_selector", ""),
    ("node_stats", ""),
    ("prometheus", ""),
    ("prometheus_port", ""),
    ("psrpc", ""),
    ("redis", ": this server runs alone"),
    ("region", ""),
    ("room.create_room_attempts", ""),
    ("room.create_room_timeout", ""),
    ("room.max_metadata_size", ""),
    ("room.max_participant_identity_length", ""),
    ("room.max_room_name_length", ""),
    ("room.room_configurations.*.egress", ": nothing is recorded here"),
    ("room.update_batch_target_size", ""),
    ("rtc.advertise_internal_ip", ""),
    ("rtc.allow_tcp_fallback", ""),
    ("rtc.allow_udp_unstable_fallback", ""),
    ("rtc.batch_io", ": sending is always batched"),
    ("rtc.congestion_control.enabled", ""),
    ("rtc.congestion_control.remote_bwe", ""),
    ("rtc.congestion_control.send_side_bwe", ""),
    ("rtc.congestion_control.send_side_bwe_pacer", ""),
    ("rtc.congestion_control.stream_allocator", ""),
    ("rtc.congestion_control.use_send_side_bwe", ""),
    ("rtc.congestion_control.use_send_side_bwe_interceptor", ""),
    ("rtc.enable_rtp_stream_restart_detection", ""),
    ("rtc.enable_warp", ""),
    ("rtc.external_ip_only", ""),
    ("rtc.forward_stats", ""),
    ("rtc.ips", ": choose interfaces with rtc.interfaces"),
    ("rtc.packet_buffer_size", ""),
    ("rtc.packet_buffer_size_audio", ""),
    ("rtc.packet_buffer_size_video", ""),
    ("rtc.pli_throttle", ""),
    ("rtc.port_range_end", ": all media uses rtc.udp_port, one port per worker"),
    ("rtc.port_range_start", ": all media uses rtc.udp_port, one port per worker"),
    ("rtc.reconnect_on_data_channel_error", ""),
    ("rtc.reconnect_on_publication_error", ""),
    ("rtc.reconnect_on_subscription_error", ""),
    ("rtc.skip_external_ip_validation", ""),
    ("rtc.strict_acks", ""),
    ("rtc.tcp_fallback_rtt_threshold", ""),
    ("rtc.use_ice_lite", ""),
    ("rtc.use_mdns", ""),
    ("signal_relay", ""),
    ("sip", ""),
    ("trace", ""),
    ("turn", ""),
    ("video", ""),
    ("webhook.url_notifier", ": use webhook.resource_url_notifier"),
];

/// The keys with one plain value.
#[cfg(test)]
pub(super) fn plain_keys() -> impl Iterator<Item = &'static str> {
    let is_plain = |(path, expects): &&(&str, &str)| {
        let several = ["a section", "a list", "lines of"];
        !path.contains('*') && !several.iter().any(|start| expects.starts_with(start))
    };
    // Queues of webhooks have no variables in LiveKit either.
    let keys = KEYS.iter().filter(is_plain).map(|(path, _)| *path);
    keys.filter(|path| !path.starts_with("webhook.resource_url_notifier."))
}

/// The shape of the file: maps with the positions of their keys; other values do not matter here.
enum Node {
    Map(Vec<(Spanned<String>, Node)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a setting")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Other)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
}
