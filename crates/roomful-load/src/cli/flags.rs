//! Flags that workloads share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use roomful_rtp::srtp::SrtpProfile;

use crate::crowd::Server;
use crate::media::source::Shape;
use crate::process::ProcessId;
use crate::sdp::VideoCodec;
use crate::signalling::{janus, livekit};

/// What every workload needs to know.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(flatten)]
    pub(crate) media: MediaFlags,
    #[command(flatten)]
    pub(crate) measuring: MeasuringFlags,
}

/// Where the server is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerFlags {
    /// A server of LiveKit's protocol.
    #[arg(long, default_value = "ws://127.0.0.1:7880")]
    url: String,
    /// Janus' HTTP API instead, with its path: http://127.0.0.1:8088/janus
    #[arg(long, conflicts_with_all = ["url", "key", "secret", "via"])]
    janus: Option<String>,
    /// API key configured at the server.
    #[arg(long, default_value = "devkey")]
    key: String,
    /// The key's secret.
    #[arg(long, default_value = "secret")]
    secret: String,
    /// Receiving sections of each kind in the first offer. Browsers make 3; with 0 there is none, and whoever
    /// is to receive something needs a second offer.
    #[arg(long, default_value_t = livekit::BROWSER_SECTIONS)]
    sections: u32,
    /// Send media to this address instead of those the server announces.
    #[arg(long)]
    via: Option<SocketAddr>,
    /// The only SRTP profile to offer. Without it the server takes the one it prefers.
    #[arg(long, value_enum)]
    srtp: Option<Srtp>,
    /// Process to take processor time and memory from: the server's, if it runs on this machine.
    #[arg(long)]
    server_pid: Option<u32>,
}

/// SRTP profiles.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Srtp {
    /// AES-128 in Galois/Counter mode.
    Gcm128,
    /// AES-256 in Galois/Counter mode.
    Gcm256,
    /// AES-128 in counter mode with HMAC-SHA1.
    Cm,
}

/// What cameras send.
#[derive(Debug, Clone, Args)]
pub(crate) struct MediaFlags {
    /// Frames a second of a camera.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Packets of a frame of the highest layer.
    #[arg(long, default_value_t = 8)]
    packets_per_frame: usize,
    /// RTP payload of a video packet in bytes.
    #[arg(long, default_value_t = 1160)]
    packet_size: usize,
    /// How the pictures pretend to be coded.
    #[arg(long, value_enum, default_value = "vp8")]
    pub(crate) codec: VideoCodec,
}

/// How long and how closely to look.
#[derive(Debug, Clone, Args)]
pub(crate) struct MeasuringFlags {
    /// Seconds to measure: 10 unless said otherwise, 4 for each size when looking for the capacity.
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds between the last participant's first packet and the measuring.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Look at headers only and open one packet in 64: for more participants than this program could
    /// otherwise listen to.
    #[arg(long)]
    pub(crate) light: bool,
    /// Measure twice, opening everything and opening one packet in 64, and compare.
    #[arg(long, conflicts_with = "light")]
    pub(crate) validate: bool,
    /// Datagrams of garbage a second to send to the server's media port meanwhile.
    #[arg(long, default_value_t = 0)]
    pub(crate) garbage: u32,
    /// Percentage of lost packets above which a run is void.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) max_loss: f64,
    /// Write every figure to this file.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

impl ServerFlags {
    /// # Errors
    /// If the address is none this program can reach.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        if let Some(url) = &self.janus {
            let (authority, path) = split(url)?;
            return Ok(Server::Janus(janus::Server { authority, path }));
        }
        let (authority, _) = split(&self.url)?;
        let key = livekit::ApiKey { key: self.key.clone(), secret: self.secret.clone() };
        Ok(Server::LiveKit(livekit::Server {
            authority,
            key,
            sections: self.sections,
            via: self.via,
        }))
    }

    pub(crate) fn srtp(&self) -> Option<SrtpProfile> {
        self.srtp.map(|profile| match profile {
            Srtp::Gcm128 => SrtpProfile::AeadAes128Gcm,
            Srtp::Gcm256 => SrtpProfile::AeadAes256Gcm,
            Srtp::Cm => SrtpProfile::Aes128CmHmacSha1_80,
        })
    }

    pub(crate) fn process(&self) -> Option<ProcessId> {
        self.server_pid.map(ProcessId)
    }
}

/// Host and port of an address, and its path without a slash at the end.
fn split(url: &str) -> anyhow::Result<(String, String)> {
    let Some(rest) = url.strip_prefix("ws://").or(url.strip_prefix("http://")) else {
        bail!("{url}: only ws:// and http:// are spoken; name the server itself, not a proxy");
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let port = if has_port { "" } else { ":80" };
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    Ok((format!("{authority}{port}"), format!("{slash}{path}")))
}

impl MediaFlags {
    /// A camera's highest layer.
    pub(crate) fn camera(&self) -> Shape {
        let fps = self.fps.clamp(1.0, 1000.0);
        Shape {
            packets_per_frame: self.packets_per_frame,
            payload_bytes: self.packet_size,
            interval: Duration::from_secs_f64(1.0 / fps),
        }
        .bounded()
    }
}

impl MeasuringFlags {
    /// As it suits many short measurements of many participants.
    pub(crate) fn brief(mut self) -> Self {
        self.seconds.get_or_insert(4.0);
        self.light = true;
        self
    }

    pub(crate) fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(10.0).clamp(0.1, 86_400.0))
    }

    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup.clamp(0.0, 3600.0))
    }
}
