//! The workloads of the goals.

use std::fmt;
use std::time::Duration;

/// What the load generator does to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// W1: one publisher of 30 frames a second, 8 packets of 1,160 bytes each, and its viewers.
    Stage {
        /// How many watch.
        viewers: u32,
    },
    /// W2 with the one speaker that its goals speak of, 50 packets of 100 bytes a second, and the listeners.
    Hall {
        /// How many listen.
        listeners: u32,
    },
    /// W3: everyone sends sound and three layers of video, and sees one large and the others small.
    Grid {
        /// How many there are.
        participants: u32,
    },
    /// W4: a steady room of 50, and people coming and going around it.
    Churn {
        /// Joins a second, and as many leaves.
        rate: u32,
    },
    /// W6: connected, muted.
    Idle {
        /// How many there are.
        participants: u32,
    },
    /// Full joins one after another beside a steady room.
    Joins {
        /// Joins a second.
        rate: u32,
    },
}

impl Workload {
    /// How long the participants take to gather before anything is measured, at worst; for the plan only.
    pub(crate) fn gathering(self) -> Duration {
        // What the slowest server here needs for a join when they come one after another.
        Duration::from_millis(300 + 6 * u64::from(self.participants()))
    }

    /// How many are there at once, beside those who send.
    pub(crate) fn participants(self) -> u32 {
        match self {
            Self::Stage { viewers } => viewers,
            Self::Hall { listeners } => listeners,
            Self::Grid { participants } | Self::Idle { participants } => participants,
            Self::Churn { .. } | Self::Joins { .. } => 50,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage { viewers } => write!(formatter, "W1 stage, {viewers} viewers"),
            Self::Hall { listeners } => {
                write!(formatter, "W2 hall, 1 speaker, {listeners} listeners")
            }
            Self::Grid { participants } => write!(formatter, "W3 grid of {participants}"),
            Self::Churn { rate } => write!(formatter, "W4 churn, {rate} joins/s"),
            Self::Idle { participants } => {
                write!(formatter, "W6 idle, {participants} participants")
            }
            Self::Joins { rate } => write!(formatter, "joins, {rate}/s"),
        }
    }
}
