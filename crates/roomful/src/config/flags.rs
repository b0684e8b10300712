//! The command line, every flag of which is an environment variable, too.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{ArgAction, Parser};

use super::values::{LogLevel, PortRange, TcpPort};

/// A video room anyone can run: this one program serves the page and carries the call.
///
/// Started without any setting it is open to whoever can reach it: open http://localhost:7880,
/// type a room name and your name, and send the link to others.
#[derive(Debug, Default, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Flags {
    /// Read settings from this YAML file (LiveKit's key names work).
    #[arg(long, short, value_name = "FILE", env = "ROOMFUL_CONFIG")]
    pub config: Option<PathBuf>,

    /// The text of a configuration under the name of LiveKit's variable, for its deployments; `--config` wins.
    #[arg(long, env = "LIVEKIT_CONFIG", hide = true, hide_env_values = true)]
    pub livekit_config: Option<String>,

    /// TCP port of the page and the signalling [default: 7880].
    #[arg(long, short, env = "ROOMFUL_PORT", help_heading = "Serving the page")]
    pub port: Option<u16>,

    /// Serve the page on this address only; may be repeated [default: every address].
    #[arg(long, value_name = "IP", env = "ROOMFUL_BIND", value_delimiter = ',')]
    #[arg(help_heading = "Serving the page")]
    pub bind: Vec<IpAddr>,

    /// Let everybody who opens the page join any room [default: true without keys; with keys, only
    /// people at this machine].
    ///
    /// With keys, tokens normally come from your own application. Set this to true if visitors of
    /// the built-in page may join without one, and to false if nobody may. Behind a proxy on this
    /// machine set it either way: everybody may seem to sit here.
    #[arg(long, value_name = "BOOL", env = "ROOMFUL_OPEN_PAGE", num_args = 0..=1)]
    #[arg(default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    #[arg(help_heading = "Who may join")]
    pub open_page: Option<bool>,

    /// API key pairs whose tokens are accepted. Others on this machine can see a flag: prefer the
    /// environment or the file.
    #[arg(long, value_name = "KEY: SECRET", env = "ROOMFUL_KEYS", hide_env_values = true)]
    #[arg(help_heading = "Who may join")]
    pub keys: Option<String>,

    /// The same under the name of LiveKit's variable, for its deployments; `--keys` wins.
    #[arg(long, env = "LIVEKIT_KEYS", hide = true, hide_env_values = true)]
    pub livekit_keys: Option<String>,

    /// Participants one room may hold, 0 for no limit [default: 0].
    #[arg(long, value_name = "N", env = "ROOMFUL_MAX_PARTICIPANTS", help_heading = "Who may join")]
    pub max_participants: Option<u32>,

    /// Participants of one room on one worker, above which newcomers go to another; 0: they never do [default: when it
    /// is busy].
    #[arg(
        long,
        value_name = "N",
        env = "ROOMFUL_SPREAD_ABOVE",
        help_heading = "Carrying the call"
    )]
    pub spread_above: Option<u32>,

    /// Connections to the page and the signalling that may be open at a time [default: 10000].
    #[arg(long, value_name = "N", env = "ROOMFUL_MAX_CONNECTIONS")]
    #[arg(help_heading = "Serving the page")]
    pub max_connections: Option<NonZeroU32>,

    /// Of these, those that one IP address may have, 0 for no limit [default: half of them for public addresses].
    ///
    /// Set it where no proxy stands in front: all that comes through one comes from its address.
    #[arg(long, value_name = "N", env = "ROOMFUL_MAX_CONNECTIONS_PER_ADDRESS")]
    #[arg(help_heading = "Serving the page")]
    pub max_connections_per_address: Option<u32>,

    /// Joins a second that one IP address may make, and ten times as many at once, 0 for no limit [default: 100 for
    /// public addresses].
    #[arg(long, value_name = "N", env = "ROOMFUL_MAX_JOINS_PER_ADDRESS")]
    #[arg(help_heading = "Who may join")]
    pub max_joins_per_address: Option<u32>,

    /// First UDP port for media, one for each worker, or a range such as 7882-7889
    /// [default: 7882].
    #[arg(long, value_name = "PORT", env = "ROOMFUL_UDP_PORT", help_heading = "Carrying the call")]
    pub udp_port: Option<PortRange>,

    /// TCP port for media of those whom UDP does not reach, `off` for none [default: 7881].
    #[arg(long, value_name = "PORT", env = "ROOMFUL_TCP_PORT", help_heading = "Carrying the call")]
    pub tcp_port: Option<TcpPort>,

    /// Media workers, a thread and a UDP port each [default: one per core].
    #[arg(long, value_name = "N", env = "ROOMFUL_WORKERS", help_heading = "Carrying the call")]
    pub workers: Option<NonZeroUsize>,

    /// Tell clients this address instead of those of the network interfaces.
    ///
    /// Not needed where clients open the page under the public address, or a name for it: it is
    /// then told them beside the others, also if it is on a router (1:1 NAT, most clouds).
    #[arg(long, value_name = "IP", env = "ROOMFUL_NODE_IP", help_heading = "Carrying the call")]
    pub node_ip: Option<IpAddr>,

    /// Ask STUN servers for the public address at the start and use it as --node-ip [default:
    /// false].
    #[arg(long, value_name = "BOOL", env = "ROOMFUL_USE_EXTERNAL_IP", num_args = 0..=1)]
    #[arg(default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    #[arg(help_heading = "Carrying the call")]
    pub use_external_ip: Option<bool>,

    /// Ask this STUN server for --use-external-ip; may be repeated [default: two public ones].
    #[arg(long, value_name = "HOST:PORT", env = "ROOMFUL_STUN_SERVER", value_delimiter = ',')]
    #[arg(help_heading = "Carrying the call")]
    pub stun_server: Vec<String>,

    /// Receive media on this network interface only; may be repeated [default: all].
    #[arg(long, value_name = "NAME", env = "ROOMFUL_INTERFACE", value_delimiter = ',')]
    #[arg(help_heading = "Carrying the call")]
    pub interface: Vec<String>,

    /// Receive no media on this network interface; may be repeated.
    #[arg(long, value_name = "NAME", env = "ROOMFUL_EXCLUDE_INTERFACE", value_delimiter = ',')]
    #[arg(help_heading = "Carrying the call")]
    pub exclude_interface: Vec<String>,

    /// Tell every client the loopback address, too. Clients on this machine always get it.
    #[arg(long, value_name = "BOOL", env = "ROOMFUL_LOOPBACK_CANDIDATE", num_args = 0..=1)]
    #[arg(default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    #[arg(help_heading = "Carrying the call")]
    pub loopback_candidate: Option<bool>,

    /// Write messages of this severity and above [default: info].
    #[arg(long, value_name = "LEVEL", env = "ROOMFUL_LOG_LEVEL", help_heading = "Logging")]
    pub log_level: Option<LogLevel>,

    /// Write one JSON object a line [default: false].
    #[arg(long, value_name = "BOOL", env = "ROOMFUL_LOG_JSON", num_args = 0..=1)]
    #[arg(default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    #[arg(help_heading = "Logging")]
    pub log_json: Option<bool>,
}

const EXAMPLES: &str = "\
Examples:
  roomful
      Try it out: open http://localhost:7880 in two windows.
  LIVEKIT_KEYS='mykey: <secret of 32 characters>' roomful --node-ip=203.0.113.7
      A server on the Internet; your application makes the tokens.
  roomful --config roomful.yaml --log-level=debug
      Settings from a file, flags win over it.

Settings are looked for in this order: flag, environment variable, file, default. LiveKit's variables work, too:
NODE_IP, UDP_PORT, and LIVEKIT_RTC_TCP_PORT and the like for keys of the file.
Ctrl-C (or SIGTERM) ends all calls and exits; a second Ctrl-C exits at once.";
