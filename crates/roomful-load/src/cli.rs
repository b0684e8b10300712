//! The command line.

mod flags;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

pub(crate) use flags::Common;

/// Finds out what a video server holds: fills rooms with virtual participants and says how it bears them.
///
/// Without a command it lets one camera be watched by more and more viewers until packets are late or lost,
/// and says how many there were. With one it carries out that scene and prints what it found. Exit code 2:
/// the figures do not count, and the last line says why.
#[derive(Debug, Parser)]
#[command(name = "roomful-load", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    capacity: Capacity,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// As without a command: how many viewers does one camera find here?
    Capacity(Capacity),
    #[command(flatten)]
    Workload(Workload),
    /// Relay datagrams to a server and impair those that come back: what must show in the figures does.
    Proxy(Proxy),
}

/// How far to go.
#[derive(Debug, Clone, Args)]
pub(crate) struct Capacity {
    /// Viewers to stop at.
    #[arg(long, default_value_t = 5000)]
    pub(crate) most: u32,
    /// Milliseconds from camera to viewer that one packet in a hundred may exceed.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) max_latency: f64,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What to do with datagrams.
#[derive(Debug, Clone, Args)]
pub(crate) struct Proxy {
    /// Where participants send to (`--via`).
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// The server's media address.
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Milliseconds everything from the server is delayed by.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) delay_ms: f64,
    /// Percentage of it that is lost.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) loss: f64,
}

impl Cli {
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Capacity(self.capacity))
    }
}

/// What the participants do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Workload {
    /// One camera, many viewers.
    Stage {
        /// Participants who watch.
        #[arg(long, default_value_t = 100)]
        viewers: u32,
        /// The camera sends three layers instead of one.
        #[arg(long)]
        simulcast: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Participants come and go around a room that stays.
    Churn {
        /// Viewers who stay; beside them there are one camera and three who talk.
        #[arg(long, default_value_t = 50)]
        steady: u32,
        /// Joins a second, and as many leaves.
        #[arg(long, default_value_t = 20.0)]
        rate: f64,
        /// Seconds each of them stays.
        #[arg(long, default_value_t = 2.0)]
        stay: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Everybody sends a camera in three layers and a microphone, and sees one large and all others small.
    Grid {
        #[arg(long, default_value_t = 16)]
        participants: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Several microphones, of which a few are loud, and many listeners.
    Hall {
        /// Participants who only listen.
        #[arg(long, default_value_t = 200)]
        listeners: u32,
        /// Participants with a microphone.
        #[arg(long, default_value_t = 10)]
        speakers: u32,
        /// How many of them talk; the others send silence.
        #[arg(long, default_value_t = 1)]
        loud: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Participants who are connected, and no media.
    Idle {
        #[arg(long, default_value_t = 1000)]
        participants: u32,
        #[command(flatten)]
        common: Common,
    },
    /// As many joins a second as asked for, in many rooms, beside a stage that must not notice.
    Joins {
        /// Viewers of that stage.
        #[arg(long, default_value_t = 10)]
        steady: u32,
        /// Joins a second.
        #[arg(long, default_value_t = 100.0)]
        rate: f64,
        /// Seconds each of them stays.
        #[arg(long, default_value_t = 1.0)]
        stay: f64,
        #[command(flatten)]
        common: Common,
    },
}

impl Workload {
    /// The most participants there are at once.
    pub(crate) fn participants(&self) -> u64 {
        match self {
            Self::Churn { steady, rate, stay, .. } | Self::Joins { steady, rate, stay, .. } => {
                // Those of one more second may be leaving still.
                u64::from(*steady) + (rate * (stay + 1.0)).clamp(0.0, 1e6) as u64 + 16
            }
            Self::Grid { participants, .. } => u64::from(*participants),
            Self::Hall { listeners, speakers, .. } => u64::from(*listeners) + u64::from(*speakers),
            Self::Idle { participants, .. } => u64::from(*participants),
            Self::Stage { viewers, .. } => u64::from(*viewers) + 1,
        }
    }

    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Churn { common, .. }
            | Self::Grid { common, .. }
            | Self::Hall { common, .. }
            | Self::Idle { common, .. }
            | Self::Joins { common, .. }
            | Self::Stage { common, .. } => common,
        }
    }

    /// The same, opening one packet in 64 only.
    pub(crate) fn light(mut self) -> Self {
        match &mut self {
            Self::Churn { common, .. }
            | Self::Grid { common, .. }
            | Self::Hall { common, .. }
            | Self::Idle { common, .. }
            | Self::Joins { common, .. }
            | Self::Stage { common, .. } => common.measuring.light = true,
        }
        self
    }
}
