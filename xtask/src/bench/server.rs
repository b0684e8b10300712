//! The servers under measurement: how each is started, and when it is ready.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::network::{SERVER, SERVER_INTERFACE};
use super::peers::Peers;
use super::process::{Core, Process, pinned, resident_kb};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// This project.
    Roomful,
    /// LiveKit 1.13.5.
    LiveKit,
    /// Janus 1.1.2 with its VideoRoom plugin.
    Janus,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Roomful => "Roomful",
            Self::LiveKit => "LiveKit",
            Self::Janus => "Janus",
        })
    }
}

/// The API key of servers that speak LiveKit's protocol.
pub(crate) const KEY: &str = "bench";
/// Its secret. Nothing but the bench reaches the servers it starts.
pub(crate) const SECRET: &str = "bench-secret-of-thirty-two-bytes-or-more";

/// Where Roomful and LiveKit are asked to serve.
const PORT: u16 = 7880;
/// Where Janus is asked to serve its HTTP API.
const JANUS_PORT: u16 = 8088;
/// Where Roomful and LiveKit receive media. Janus has a port per participant.
const MEDIA_PORT: u16 = 7882;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);
/// How long an idle server is left alone before its memory is read: start-up work is over by then.
const SETTLE: Duration = Duration::from_millis(500);

/// The programs of the servers, and where they may write.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The release build of Roomful.
    pub(crate) roomful: PathBuf,
    /// The others.
    pub(crate) peers: Peers,
    /// A folder for logs and generated configuration.
    pub(crate) directory: PathBuf,
}

impl Programs {
    /// Whether `subject` can be started here.
    pub(crate) fn has(&self, subject: Subject) -> bool {
        match subject {
            Subject::Roomful => self.roomful.is_file(),
            Subject::LiveKit => self.peers.livekit.is_some(),
            Subject::Janus => self.peers.janus.is_some(),
        }
    }

    /// Starts `subject` on the servers' core and waits until it accepts connections.
    ///
    /// # Errors
    /// If it is not there, cannot be started, or is not ready in time.
    pub(crate) fn start(&self, subject: Subject) -> Result<Server> {
        let command = match subject {
            Subject::Roomful => Ok(roomful(&self.roomful)),
            Subject::LiveKit => self.peers.livekit.as_deref().context("not built").map(livekit),
            Subject::Janus => {
                let unpacked = self.peers.janus.as_deref().context("not unpacked")?;
                janus(unpacked, &self.directory.join("janus-configuration"))
            }
        };
        let command = command.with_context(|| format!("{subject} cannot be started"))?;
        let log = self.directory.join(format!("{}.log", subject.to_string().to_lowercase()));
        let mut process = Process::start(&subject.to_string(), command, log)?;
        let address = address(subject);
        process.wait_until(START, |_| TcpStream::connect(address).is_ok())?;
        std::thread::sleep(SETTLE);
        let idle_kb = resident_kb(process.id());
        Ok(Server { subject, process, idle_kb })
    }
}

/// A running server. It ends when dropped.
pub(crate) struct Server {
    /// Which it is.
    pub(crate) subject: Subject,
    /// Its process.
    pub(crate) process: Process,
    /// Resident memory before anybody came.
    pub(crate) idle_kb: Option<u64>,
}

impl Server {
    /// Where its API is.
    pub(crate) fn address(&self) -> SocketAddr {
        address(self.subject)
    }
}

/// Where media is received by servers that receive all of it at one address.
pub(crate) fn media_address() -> SocketAddr {
    SocketAddr::from((SERVER, MEDIA_PORT))
}

fn address(subject: Subject) -> SocketAddr {
    match subject {
        Subject::Roomful | Subject::LiveKit => SocketAddr::from((SERVER, PORT)),
        Subject::Janus => SocketAddr::from((SERVER, JANUS_PORT)),
    }
}

fn roomful(program: &Path) -> Command {
    let mut command = pinned(Core::SERVER, program);
    command
        .args(["--port", &PORT.to_string(), "--udp-port", &MEDIA_PORT.to_string()])
        .args(["--node-ip", &SERVER.to_string(), "--log-level", "warn"])
        .env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"));
    command
}

/// LiveKit as a single node with its defaults, quiet, and one media port like ours.
fn livekit(program: &Path) -> Command {
    let configuration = format!(
        "port: {PORT}\nlogging: {{level: error, pion_level: error}}\n\
         rtc: {{udp_port: {MEDIA_PORT}, use_external_ip: false, node_ip: {SERVER}}}\n\
         keys: {{{KEY}: {SECRET}}}\n"
    );
    let mut command = pinned(Core::SERVER, program);
    command.args(["--config-body", &configuration]);
    command
}

/// Janus with nothing but the VideoRoom plugin and the HTTP API. One event loop instead of a thread per participant
/// is what its authors advise for many participants, and is cheaper here too.
fn janus(unpacked: &Path, configuration: &Path) -> Result<Command> {
    std::fs::create_dir_all(configuration)?;
    let library = library(unpacked)?;
    let write = |name: &str, text: String| {
        std::fs::write(configuration.join(name), text)
            .with_context(|| format!("cannot write {name}"))
    };
    write(
        "janus.jcfg",
        format!(
            "general: {{ transports_folder = \"{library}/transports\", events_folder = \"{library}/events\", \
             debug_level = 2, event_loops = 1 }}\n\
             nat: {{ ice_enforce_list = \"{SERVER_INTERFACE}\" }}\n\
             media: {{ ipv6 = false }}\n\
             plugins: {{ disable = \"{}\" }}\n\
             transports: {{ disable = \"{}\" }}\n",
            others(Path::new(&library).join("plugins"), "videoroom")?,
            others(Path::new(&library).join("transports"), "http")?,
        ),
    )?;
    write(
        "janus.transport.http.jcfg",
        format!(
            "general: {{ json = \"plain\", base_path = \"/janus\", http = true, port = {JANUS_PORT} }}\n"
        ),
    )?;
    write("janus.plugin.videoroom.jcfg", "general: { }\n".to_owned())?;
    let mut command = pinned(Core::SERVER, &unpacked.join("usr/bin/janus"));
    command.arg("--configs-folder").arg(configuration);
    command.arg("--plugins-folder").arg(format!("{library}/plugins"));
    command.args(["--disable-colors", "--cwd-path"]).arg(configuration);
    Ok(command)
}

/// The folder of Janus' plugins, whose name holds the machine's architecture.
fn library(unpacked: &Path) -> Result<String> {
    for entry in std::fs::read_dir(unpacked.join("usr/lib"))? {
        let folder = entry?.path().join("janus");
        if folder.is_dir() {
            return Ok(folder.display().to_string());
        }
    }
    anyhow::bail!("there are no plugins in {}", unpacked.display())
}

/// The names of all modules in `folder` but the one that is needed.
fn others(folder: PathBuf, needed: &str) -> Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".so") && !name.contains(needed) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.join(","))
}
