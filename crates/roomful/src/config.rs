//! One [`Config`] out of four layers: flags win over the environment, the environment over the
//! file, the file over the defaults.
//!
//! The file is YAML with LiveKit's key names, so that a LiveKit configuration can be brought
//! along: what this server does not do yet is said so, and a key that nobody knows is an error.

use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use livekit_protocol::IceServer;
use roomful_sfu::RoomPolicy;
use roomful_sfu::token::ApiKeys;

pub use crate::http::Limit;
pub use flags::Flags;
pub use values::{PortRange, TcpPort};
pub use webhook::WebhookConfig;

use file::FileConfig;

mod environment;
mod file;
mod flags;
mod keys;
mod offered;
mod rooms;
mod schema;
mod values;
mod webhook;

/// Where the page and the signalling are served unless told otherwise: LiveKit's port.
const DEFAULT_PORT: u16 = 7880;

/// The first media port unless told otherwise: LiveKit's port. Worker `n` listens on the `n`-th
/// port from here.
const DEFAULT_UDP_PORT: u16 = 7882;

/// The TCP port for media unless told otherwise: LiveKit's port.
const DEFAULT_TCP_PORT: u16 = 7881;

/// Asked for the public address unless told otherwise: run by two companies, long-lived, and open to everyone.
const DEFAULT_STUN_SERVERS: [&str; 2] = ["stun.l.google.com:19302", "stun.cloudflare.com:3478"];

/// Connections open at a time unless told otherwise: each takes some tens of kilobytes, so this many
/// fit into a small machine, and a person needs one (and a few more while the page loads).
const DEFAULT_MAX_CONNECTIONS: NonZeroU32 =
    NonZeroU32::new(10_000).expect("ten thousand is not zero");

/// Joins a second of one public address unless told otherwise, and ten times as many at once: half of what one core does.
/// More lets somebody with a valid token keep a core busy alone, fewer keeps an office waiting that comes back as one.
const DEFAULT_JOINS_OF_ONE: NonZeroU32 = NonZeroU32::new(100).expect("a hundred is not zero");

/// Who may join through the built-in page, without a token of the operator's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageAccess {
    /// Everyone who reaches the server.
    Everyone,
    /// Whoever sits at this machine: nobody said who may, and keys say that not everyone may.
    ThisMachine,
    /// Nobody.
    Nobody,
}

/// Everything the server needs to know before it starts.
pub struct Config {
    /// Addresses on which the page and the signalling are served.
    pub bind_addresses: Vec<IpAddr>,
    /// TCP port of the page and the signalling; 0 lets the system choose.
    pub port: u16,
    /// The key pairs whose tokens are accepted. Empty: open mode, with a key for this run only.
    pub keys: ApiKeys,
    /// To whom `POST /api/token` gives a token.
    pub page_access: PageAccess,
    /// Media workers: threads, each with a UDP port of its own.
    pub workers: NonZeroUsize,
    /// What is so of every room unless its maker says otherwise.
    pub rooms: RoomPolicy,
    /// When a room goes on on further workers.
    pub spreading: Spreading,
    /// Connections to the page and the signalling that may be open at a time.
    pub max_connections: NonZeroU32,
    /// Of these, those that one address may have.
    pub connections_of_one: Limit,
    /// Joins a second that one address may make, and some seconds' worth of them at once.
    pub joins_of_one: Limit,
    /// Where media is received and what clients are told about it.
    pub media: MediaConfig,
    /// Whom to tell what happens in rooms.
    pub webhooks: Option<WebhookConfig>,
    /// Agents are sent only where an agency has less load than this; `None` for the default.
    pub agents_target_load: Option<f32>,
    /// What is logged and how.
    pub logging: LoggingConfig,
    /// What the operator should know about the configuration, to be logged once.
    pub warnings: Vec<String>,
}

/// Where media is received and what clients are told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    /// The first UDP port; 0 lets the system choose one for each worker.
    pub udp_port: u16,
    /// The TCP port for those whom UDP does not reach; 0 lets the system choose.
    pub tcp_port: Option<u16>,
    /// Tell clients of that port alone.
    pub force_tcp: bool,
    /// Told to clients instead of the addresses found: this machine is behind a 1:1 NAT.
    pub node_ip: Option<IpAddr>,
    /// Asked in turn, at the start, for what to use as `node_ip` ([`crate::external_ip::settle`]); each is
    /// `host:port`. Empty: nobody is asked.
    pub stun_servers: Vec<String>,
    /// TURN servers run by others, of which clients are told.
    pub ice_servers: Vec<IceServer>,
    /// If not empty, only these network interfaces receive media.
    pub interface_includes: Vec<String>,
    /// These network interfaces receive no media, unless `interface_includes` names any.
    pub interface_excludes: Vec<String>,
    /// Tell every client, not only those on this machine, the loopback address.
    pub enable_loopback_candidate: bool,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// One JSON object a line instead of text for people.
    pub json: bool,
}

/// Why the configuration cannot be used: which setting, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// When a room goes on on further workers than the one where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spreading {
    /// Never.
    Never,
    /// When its worker is busy and another is not.
    WhenBusy,
    /// Then, and when so many of its participants are on one worker.
    Above(NonZeroU32),
}

impl Spreading {
    /// As set, where 0 stands for never.
    fn new(above: Option<u32>) -> Self {
        match above.map(NonZeroU32::new) {
            None => Self::WhenBusy,
            Some(None) => Self::Never,
            Some(Some(above)) => Self::Above(above),
        }
    }
}

impl Config {
    /// Reads the file that `flags` names, lays LiveKit's variables of the environment over it, and `flags` (other
    /// variables are in them) over those.
    pub fn from_flags(flags: Flags) -> Result<Self, ConfigError> {
        Self::from_settings(flags, environment::variables())
    }

    fn from_settings(
        flags: Flags,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (mut file, mut warnings) = match &flags.config {
            Some(path) => FileConfig::read(path)?,
            None => FileConfig::read_text(flags.livekit_config.as_deref())?,
        };
        environment::lay_over(&mut file, variables, &mut warnings)?;
        let rtc = file.rtc.unwrap_or_default();
        let data = rtc.data_policy();
        let pausing = rtc.congestion_control.as_ref().and_then(|one| one.allow_pause);
        let udp_ports = flags.udp_port.or(rtc.udp_port).unwrap_or(DEFAULT_UDP_PORT.into());
        let workers = flags.workers.or(file.workers);
        let workers = fit_workers(workers, udp_ports, &mut warnings)?;
        let keys = keys::read(&flags, file.keys, file.key_file.as_deref(), &mut warnings)?;
        let node_ip = flags.node_ip.or(rtc.node_ip);
        let use_external_ip = flags.use_external_ip.or(rtc.use_external_ip) == Some(true);
        let stun_servers = if use_external_ip && node_ip.is_none() {
            stun_servers(flags.stun_server, rtc.stun_servers)?
        } else {
            Vec::new()
        };
        let tcp_port = tcp_port(flags.tcp_port, rtc.tcp_port);
        let force_tcp = rtc.force_tcp.unwrap_or(false);
        if force_tcp && tcp_port.is_none() {
            return Err(ConfigError::new(
                "rtc.force_tcp needs a port for it: set rtc.tcp_port (--tcp-port)",
            ));
        }
        let page_open = flags.open_page.or(file.page.and_then(|page| page.open));
        let logging = file.logging.unwrap_or_default();
        let interfaces = rtc.interfaces.unwrap_or_default();
        let webhooks = file.webhook.unwrap_or_default().read(&keys)?;
        let room = file.room.unwrap_or_default();
        let spreading = Spreading::new(flags.spread_above.or(room.spread_above));
        let max_connections = flags.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        let notices = room.notices(webhooks.is_some());
        let mut rooms = room.read(flags.max_participants, &mut warnings)?;
        rooms.may_pause = pausing.unwrap_or(false);
        rooms.data = data;
        rooms.notices = notices;
        rooms.data_blobs = file.enable_participant_data_blob.unwrap_or(false);
        rooms.data_tracks = file.enable_data_tracks.unwrap_or(true);
        Ok(Self {
            bind_addresses: bind_addresses(&flags.bind, file.bind_addresses)?,
            port: flags.port.or(file.port).unwrap_or(DEFAULT_PORT),
            // Whoever configures keys decides who comes in; without keys everybody does.
            page_access: match page_open {
                Some(true) => PageAccess::Everyone,
                Some(false) => PageAccess::Nobody,
                None if keys.is_empty() => PageAccess::Everyone,
                None => PageAccess::ThisMachine,
            },
            keys,
            workers,
            rooms,
            webhooks,
            agents_target_load: file.agents.unwrap_or_default().target_load()?,
            spreading,
            max_connections,
            connections_of_one: Limit::new(
                flags.max_connections_per_address,
                half(max_connections),
            ),
            joins_of_one: Limit::new(flags.max_joins_per_address, DEFAULT_JOINS_OF_ONE),
            media: MediaConfig {
                udp_port: udp_ports.first(),
                tcp_port,
                force_tcp,
                node_ip,
                stun_servers,
                ice_servers: offered::ice_servers(rtc.turn_servers.unwrap_or_default())?,
                interface_includes: either(flags.interface, interfaces.includes),
                interface_excludes: either(flags.exclude_interface, interfaces.excludes),
                enable_loopback_candidate: flags
                    .loopback_candidate
                    .or(rtc.enable_loopback_candidate)
                    .unwrap_or(false),
            },
            logging: LoggingConfig {
                level: flags
                    .log_level
                    .or(file.log_level)
                    .or(logging.level)
                    .unwrap_or_default()
                    .into(),
                json: flags.log_json.or(logging.json).unwrap_or(false),
            },
            warnings,
        })
    }
}

impl ConfigError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn in_file(path: &Path, text: impl std::fmt::Display) -> Self {
        Self(format!("{}: {text}", path.display()))
    }
}

/// One address may have half of what there is: others find a place whatever it does.
fn half(of: NonZeroU32) -> NonZeroU32 {
    NonZeroU32::new(of.get() / 2).unwrap_or(NonZeroU32::MIN)
}

fn tcp_port(flag: Option<TcpPort>, file: Option<u16>) -> Option<u16> {
    match (flag, file) {
        (Some(TcpPort::Off), _) | (None, Some(0)) => None,
        (Some(TcpPort::On(port)), _) | (None, Some(port)) => Some(port),
        (None, None) => Some(DEFAULT_TCP_PORT),
    }
}

/// A flag given at all replaces the list of the file.
fn either(flag: Vec<String>, file: Option<Vec<String>>) -> Vec<String> {
    if flag.is_empty() { file.unwrap_or_default() } else { flag }
}

/// Each `host:port`. An empty list is the same as none.
fn stun_servers(flag: Vec<String>, file: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let mut servers = either(flag, file);
    if servers.is_empty() {
        servers.extend(DEFAULT_STUN_SERVERS.map(String::from));
    }
    for server in &servers {
        let parts = server.rsplit_once(':');
        if parts.is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(ConfigError::new(format!(
                "rtc.stun_servers (--stun-server): {server:?} is not host:port; write for example \
                 stun.example.com:3478"
            )));
        }
    }
    Ok(servers)
}

/// Without a setting: one worker per core, as far as a given range of ports reaches.
fn fit_workers(
    wanted: Option<NonZeroUsize>,
    ports: PortRange,
    warnings: &mut Vec<String>,
) -> Result<NonZeroUsize, ConfigError> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let available = ports.worker_limit();
    match wanted {
        Some(wanted) if wanted > available => Err(ConfigError::new(format!(
            "{wanted} workers need {wanted} UDP ports, one each: rtc.udp_port {ports} has \
             {available}; widen the range or lower --workers",
        ))),
        Some(wanted) => Ok(wanted),
        None if cores > available => {
            warnings.push(format!(
                "rtc.udp_port {ports} allows {available} of {cores} workers: a port per core uses \
                 the whole machine"
            ));
            Ok(available)
        }
        None => Ok(cores),
    }
}

/// Every address of this machine unless told otherwise.
fn bind_addresses(flags: &[IpAddr], file: Option<Vec<String>>) -> Result<Vec<IpAddr>, ConfigError> {
    if !flags.is_empty() {
        return Ok(flags.to_vec());
    }
    let mut addresses = Vec::new();
    for text in file.unwrap_or_default() {
        addresses.push(match text.as_str() {
            // LiveKit writes "every address" as an empty text.
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            text => text.parse().map_err(|_| {
                ConfigError::new(format!(
                    "bind_addresses: {text:?} is not an IP address; write for example \
                     \"127.0.0.1\", or \"::\" for every address of this machine"
                ))
            })?,
        });
    }
    if addresses.is_empty() {
        addresses.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests;
