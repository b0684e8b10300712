use std::time::Duration;

use clap::Parser as _;
use roomful_sfu::NoticePolicy;
use roomful_sfu::codecs::{Codec, EnabledCodecs};

use super::*;

#[test]
fn nothing_configured_is_a_working_configuration() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.port, 7880);
    assert_eq!(config.media.udp_port, 7882);
    assert_eq!(config.bind_addresses, [IpAddr::V6(Ipv6Addr::UNSPECIFIED)]);
    assert!(config.keys.is_empty());
    assert_eq!(config.page_access, PageAccess::Everyone);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_flag_wins_over_the_file() {
    let file = "port: 1000\nlogging: {level: debug, json: true}\n";
    let config = load(file, &["--port=2000", "--log-json=false"]).unwrap();
    assert_eq!(config.port, 2000);
    assert_eq!(config.logging.level, tracing::Level::DEBUG);
    assert!(!config.logging.json);
}

#[test]
fn livekits_sample_settings_are_understood() {
    let file = "
port: 7880
bind_addresses: [\"127.0.0.1\", \"\"]
keys:
  key1: secret1
  key2: 12345
rtc:
  udp_port: 7882-7883
  tcp_port: 7881
  node_ip: 203.0.113.7
  interfaces: {includes: [en0], excludes: [docker0]}
  pli_throttle: {low_quality: 500ms}
room:
  auto_create: true
  max_participants: 0
  empty_timeout: 300
  sync_streams: true
turn: {enabled: false}
";
    let config = load(file, &["--workers=2"]).unwrap();
    assert_eq!(config.keys.len(), 2);
    assert_eq!(config.page_access, PageAccess::ThisMachine, "keys close the page to others");
    assert_eq!(config.media.node_ip, Some("203.0.113.7".parse().unwrap()));
    assert_eq!(config.media.interface_includes, ["en0"]);
    assert_eq!(config.bind_addresses.len(), 2);
    assert_eq!(config.media.tcp_port, Some(7881));
    for key in ["rtc.pli_throttle", "turn", "\"key2\""] {
        assert!(config.warnings.iter().any(|text| text.contains(key)), "{key}");
    }
}

#[test]
fn media_over_tcp_has_a_port_unless_somebody_says_none() {
    let port = |file: &str, flags: &[&str]| load(file, flags).map(|config| config.media.tcp_port);
    assert_eq!(port("", &[]).unwrap(), Some(DEFAULT_TCP_PORT));
    assert_eq!(port("rtc: {tcp_port: 443}", &[]).unwrap(), Some(443));
    assert_eq!(port("rtc: {tcp_port: 0}", &[]).unwrap(), None, "LiveKit's word for none");
    assert_eq!(port("rtc: {tcp_port: 0}", &["--tcp-port=1"]).unwrap(), Some(1), "flags win");
    assert_eq!(port("", &["--tcp-port=off"]).unwrap(), None);
    assert_eq!(port("", &["--tcp-port=0"]).unwrap(), Some(0), "the system chooses");
    let forced = load("rtc: {force_tcp: true, tcp_port: 0}", &[]);
    assert!(forced.err().is_some_and(|error| error.to_string().contains("rtc.tcp_port")));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    for (file, expected) in [
        (
            "port: 1\nrtc:\n  udp_prot: 7882\n",
            "line 3: unknown key rtc.udp_prot; did you mean rtc.udp_port?",
        ),
        ("udp_port: 7882\n", "line 1: unknown key udp_port; did you mean rtc.udp_port?"),
        ("prot: 7880\n", "line 1: unknown key prot; did you mean port?"),
        ("xylophone: 1\n", "line 1: unknown key xylophone"),
        (
            "rtc:\n  interfaces:\n    include: []\n",
            "line 3: unknown key rtc.interfaces.include; did you mean rtc.interfaces.includes?",
        ),
    ] {
        let error = load(file, &[]).err().unwrap();
        assert!(error.ends_with(expected), "{error}\nexpected: {expected}");
    }
}

#[test]
fn presets_are_checked_key_by_key() {
    let presets = |text: &str| load(&format!("room:\n  room_configurations:\n{text}"), &[]);
    let stage =
        "    stage:\n      max_participants: 2\n      egress: {}\n      tags: {any: thing}\n";
    let config = presets(stage).unwrap();
    assert_eq!(config.rooms.presets["stage"].max_participants, 2);
    let path = "room.room_configurations.stage";
    assert!(config.warnings.iter().any(|text| text.contains(&format!("{path}.egress"))));
    for (line, expected) in [
        ("max_participant: 2", "did you mean room.room_configurations.NAME.max_participants?"),
        ("max_participants: many", "stage.max_participants must be a number"),
        ("agents: [{name: x}]", "stage.agents must be a list of agents, each with agent_name"),
        ("sync_streams: 3", "stage.sync_streams must be true or false"),
    ] {
        let error = presets(&format!("    stage:\n      {line}\n")).err().unwrap();
        assert!(error.contains("line 4: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    for (file, expected) in [
        ("port: many\n", "line 1: port must be a TCP port"),
        ("port: 70000\n", "line 1: port must be a TCP port"),
        ("port: 1\nrtc:\n  node_ip: here\n", "line 3: rtc.node_ip must be an IP address"),
        ("rtc:\n  udp_port: 9-3\n", "line 2: rtc.udp_port must be a UDP port"),
        ("rtc: {udp_port: 7882, node_ip: 9}\n", "line 1: rtc.node_ip must be an IP address"),
        ("rtc: 5\n", "line 1: rtc must be a section"),
        ("workers: 0\n", "line 1: workers must be a number of threads, at least 1"),
        ("logging: {level: loud}\n", "line 1: logging.level must be trace, debug"),
        ("bind_addresses: [home]\n", "bind_addresses: \"home\" is not an IP address"),
        ("- port\n", "must be a list of \"key: value\" lines"),
        ("port: 1\nport: 2\n", "line 2"),
        ("port: [\n", "line"),
    ] {
        let error = load(file, &[]).err().unwrap();
        assert!(error.contains(expected), "{file:?}: {error}\nexpected: {expected}");
    }
}

#[test]
fn errors_quote_no_secret() {
    for file in
        ["keys: {a: [hunter2]}\n", "keys:\n  a: hunter2\n  a: hunter2\n", "keys:\n - hunter2\n"]
    {
        let error = load(file, &[]).err().unwrap();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = load("", &["--keys=hunter2"]).err().unwrap();
    assert!(!error.contains("hunter2") && error.contains("key: secret"), "{error}");
}

#[test]
fn what_the_file_says_of_rooms_is_taken() {
    let file = "room: {auto_create: false, max_participants: 5, empty_timeout: 1, \
                departure_timeout: 0, enable_remote_unmute: true}\nenable_participant_data_blob: true";
    let rooms = load(file, &[]).unwrap().rooms;
    assert!(!rooms.auto_create && rooms.remote_unmute && rooms.data_blobs);
    assert_eq!(rooms.max_participants, 5);
    assert_eq!((rooms.empty_timeout.as_secs(), rooms.departure_timeout.as_secs()), (1, 0));
    let rooms = load("room: {max_participants: 5}", &["--max-participants=7"]).unwrap().rooms;
    assert_eq!(rooms, RoomPolicy { max_participants: 7, ..RoomPolicy::default() });
}

#[test]
fn stun_servers_are_asked_only_if_the_public_address_is_wanted_and_unknown() {
    let servers = |file: &str, flags: &[&str]| load(file, flags).unwrap().media.stun_servers;
    let (listed, wanted) = ("stun_servers: [\"a.example:3478\"]", "use_external_ip: true");
    let both = format!("rtc: {{{listed}, {wanted}}}");
    assert_eq!(servers(&format!("rtc: {{{listed}}}"), &[]), Vec::<String>::new());
    assert_eq!(servers(&both, &[]), ["a.example:3478"]);
    assert_eq!(servers(&both, &["--stun-server=[::1]:1,b.example:2"]), ["[::1]:1", "b.example:2"]);
    assert_eq!(servers(&both, &["--use-external-ip=false"]), Vec::<String>::new());
    assert_eq!(servers(&both, &["--node-ip=203.0.113.7"]), Vec::<String>::new());
    assert_eq!(servers("", &["--use-external-ip"]), DEFAULT_STUN_SERVERS);
    for wrong in ["a.example", "a.example:many", ":3478", "a.example:70000"] {
        let error = load(&both, &[&format!("--stun-server={wrong}")]).err().unwrap();
        assert!(error.contains(wrong) && error.contains("host:port"), "{error}");
    }
}

#[test]
fn keys_come_from_the_flag_in_one_line_or_several() {
    for keys in ["--keys=a: one,b: two", "--keys=a: one\nb: two", "--keys=a:one, b:two"] {
        let config = load("", &[keys]).unwrap();
        assert_eq!(config.keys.len(), 2);
        assert_eq!(config.page_access, PageAccess::ThisMachine);
    }
    let config = load("", &["--keys=a: one", "--open-page"]).unwrap();
    assert_eq!(config.page_access, PageAccess::Everyone);
    let config = load("", &["--open-page=false"]).unwrap();
    assert_eq!(config.page_access, PageAccess::Nobody);
}

#[test]
fn workers_fit_into_the_range_of_ports() {
    let error = load("", &["--workers=3", "--udp-port=7882-7883"]).err().unwrap();
    assert!(error.contains("7882-7883 has 2"), "{error}");
    let config = load("", &["--udp-port=7882-7882"]).unwrap();
    assert_eq!(config.workers.get(), 1);
}

#[test]
fn applications_are_told_as_much_of_rooms_as_livekit_tells_them() {
    let hook = "keys: {k: 12345678901234567890123456789012}\n\
                webhook: {api_key: k, urls: [\"http://a.example\"]}\n";
    let full = "room: {enable_full_room_in_webhooks: true}\n";
    let notices = |file: &str| load(file, &[]).unwrap().rooms.notices;
    assert_eq!(notices(full), NoticePolicy::Untold, "nobody listens");
    assert_eq!(notices(hook), NoticePolicy::Named);
    assert_eq!(notices(&format!("{hook}{full}")), NoticePolicy::Described);
}

#[test]
fn a_missing_file_is_named() {
    let mut flags = Flags::parse_from(["roomful"]);
    flags.config = Some("/nowhere/roomful.yaml".into());
    let error = Config::from_flags(flags).err().unwrap().to_string();
    assert!(error.contains("/nowhere/roomful.yaml") && error.contains("--config"), "{error}");
}

/// The configuration of `file` with `flags` over it. Variables of the environment that name
/// settings would be read, too: the test command sets none.
#[test]
fn livekits_variable_holds_a_whole_configuration() {
    let load = |text: &str| {
        let mut flags = Flags::parse_from(["roomful"]);
        flags.livekit_config = Some(text.to_owned());
        Config::from_flags(flags)
    };
    assert_eq!(load("port: 7000").unwrap().port, 7000);
    let error = load("prot: 7000").err().unwrap().to_string();
    assert!(error.contains("LIVEKIT_CONFIG") && error.contains("port"), "{error}");
}

fn load(file: &str, flags: &[&str]) -> Result<Config, String> {
    let path = std::env::temp_dir().join(format!(
        "roomful-config-{}-{:?}.yaml",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, file).unwrap();
    let mut flags = Flags::parse_from(["roomful"].iter().chain(flags));
    flags.config = Some(path.clone());
    let config = Config::from_flags(flags);
    std::fs::remove_file(&path).unwrap();
    config.map_err(|error| error.to_string())
}

#[test]
fn codecs_and_turn_servers_are_told_to_clients() {
    let file = "room: {enabled_codecs: [{mime: video/vp8}, {mime: audio/opus}, {mime: video/H266}, \
                {mime: video/rtx}]}\n\
                rtc: {turn_servers: [{host: turn.example, port: 443, protocol: tls, username: u, \
                credential: c}]}";
    let config = load(file, &[]).unwrap();
    assert_eq!(config.rooms.enabled_codecs, EnabledCodecs::new([Codec::Vp8, Codec::Opus]));
    assert!(config.warnings.iter().any(|warning| warning.contains("H266")), "named");
    assert!(config.warnings.iter().all(|warning| !warning.contains("rtx")));
    let server = &config.media.ice_servers[0];
    assert_eq!(server.urls, ["turns:turn.example:443?transport=tcp"]);
    assert_eq!((server.username.as_str(), server.credential.as_str()), ("u", "c"));
    let load_server = |server: &str| load(&format!("rtc: {{turn_servers: [{server}]}}"), &[]);
    for bad in [
        "{host: a}",
        "{port: 1}",
        "{host: a, port: 1, protocol: quic}",
        "{host: a, port: 1, secret: s}",
    ] {
        assert!(load_server(bad).is_err(), "{bad}");
    }
}

#[test]
fn pictures_may_be_paused_where_the_file_allows_it() {
    assert!(!load("", &[]).unwrap().rooms.may_pause);
    let config = load("rtc: {congestion_control: {allow_pause: true}}", &[]).unwrap();
    assert!(config.rooms.may_pause && config.warnings.is_empty());
    let config = load("rtc: {congestion_control: {enabled: true}}", &[]).unwrap();
    assert!(config.warnings[0].contains("rtc.congestion_control.enabled has no effect"));
    let error = load("rtc: {congestion_control: {allow_pause: 3}}", &[]).err().unwrap();
    assert!(error.to_string().contains("rtc.congestion_control.allow_pause must be"), "{error}");
}

#[test]
fn limits_of_data_have_livekits_names_and_defaults() {
    let data = load("", &[]).unwrap().rooms.data;
    assert_eq!((data.slow_below, data.lossy_latency), (0, Duration::ZERO));
    assert_eq!(data.track_latency, Duration::from_millis(100));
    let file = "rtc: {datachannel_slow_threshold: 64000, datachannel_lossy_target_latency: 200ms, \
                datachannel_data_track_target_latency: 0, data_channel_max_buffered_amount: 1000}";
    let config = load(file, &[]).unwrap();
    let data = config.rooms.data;
    assert_eq!((data.slow_below, data.most_waiting), (64_000, 1_000));
    assert_eq!(data.lossy_latency, Duration::from_millis(200));
    assert_eq!(data.track_latency, Duration::ZERO);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let error = load("rtc: {datachannel_lossy_target_latency: soon}", &[]).err().unwrap();
    assert!(error.to_string().contains("rtc.datachannel_lossy_target_latency"), "{error}");
}
