//! The YAML file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use roomful_sfu::DataPolicy;
use serde::Deserialize;

use super::ConfigError;
use super::offered::FileTurnServer;
use super::rooms::FileRoom;
use super::schema::Outline;
use super::values::{FileDuration, LogLevel, PortRange};
use super::webhook::FileWebhook;

/// Largest file read, in bytes. Honest files have some KiB; a wrong path (a disk image, a log) is
/// refused before it fills the memory.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What the file says; every setting may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileConfig {
    pub(super) port: Option<u16>,
    pub(super) bind_addresses: Option<Vec<String>>,
    pub(super) keys: Option<BTreeMap<String, String>>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) rtc: Option<FileRtc>,
    pub(super) room: Option<FileRoom>,
    pub(super) enable_participant_data_blob: Option<bool>,
    pub(super) enable_data_tracks: Option<bool>,
    pub(super) page: Option<FilePage>,
    pub(super) webhook: Option<FileWebhook>,
    pub(super) logging: Option<FileLogging>,
    /// An older place of `logging.level`.
    pub(super) log_level: Option<LogLevel>,
    pub(super) agents: Option<FileAgents>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileRtc {
    pub(super) udp_port: Option<PortRange>,
    /// 0 is LiveKit's word for none.
    pub(super) tcp_port: Option<u16>,
    pub(super) force_tcp: Option<bool>,
    pub(super) node_ip: Option<IpAddr>,
    pub(super) use_external_ip: Option<bool>,
    pub(super) stun_servers: Option<Vec<String>>,
    pub(super) turn_servers: Option<Vec<FileTurnServer>>,
    pub(super) interfaces: Option<FileFilter>,
    pub(super) enable_loopback_candidate: Option<bool>,
    /// In bytes; 0 is LiveKit's word for no limit.
    pub(super) data_channel_max_buffered_amount: Option<usize>,
    /// In bits a second.
    pub(super) datachannel_slow_threshold: Option<u64>,
    pub(super) congestion_control: Option<FileCongestion>,
    pub(super) datachannel_lossy_target_latency: Option<FileDuration>,
    pub(super) datachannel_data_track_target_latency: Option<FileDuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileCongestion {
    pub(super) allow_pause: Option<bool>,
}

impl FileRtc {
    /// When data for slow receivers is lost. Something has to limit what waits: where nothing is said, the default does.
    pub(super) fn data_policy(&self) -> DataPolicy {
        let default = DataPolicy::default();
        let duration = |said: Option<FileDuration>, default| said.map_or(default, |said| said.0);
        let most_waiting = self.data_channel_max_buffered_amount.filter(|most| *most > 0);
        DataPolicy {
            most_waiting: most_waiting.unwrap_or(default.most_waiting),
            slow_below: self.datachannel_slow_threshold.unwrap_or(default.slow_below),
            lossy_latency: duration(self.datachannel_lossy_target_latency, default.lossy_latency),
            track_latency: duration(
                self.datachannel_data_track_target_latency,
                default.track_latency,
            ),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileFilter {
    pub(super) includes: Option<Vec<String>>,
    pub(super) excludes: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FilePage {
    pub(super) open: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileAgents {
    pub(super) target_load: Option<f32>,
}

impl FileAgents {
    /// `None`: the default. 0 is LiveKit's word for it.
    pub(super) fn target_load(&self) -> Result<Option<f32>, ConfigError> {
        match self.target_load.filter(|load| *load != 0.0) {
            Some(load) if !(0.0..=1.0).contains(&load) => {
                Err(ConfigError::new("agents.target_load must be a number from 0 to 1"))
            }
            load => Ok(load),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileLogging {
    pub(super) level: Option<LogLevel>,
    pub(super) json: Option<bool>,
}

impl FileConfig {
    /// The settings in the file at `path`, and what the operator should know about them.
    pub(super) fn read(path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let unreadable = |error: std::io::Error| {
            ConfigError::new(format!(
                "cannot read the configuration {}: {error}; check the path given to --config",
                path.display()
            ))
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE_BYTES {
            return Err(ConfigError::in_file(
                path,
                format!("{size} bytes are too many for a configuration (limit {MAX_FILE_BYTES})"),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|error| ConfigError::in_file(path, error))
    }

    /// The settings in the text of `LIVEKIT_CONFIG`, if there is one.
    pub(super) fn read_text(text: Option<&str>) -> Result<(Self, Vec<String>), ConfigError> {
        Self::parse(text.unwrap_or_default())
            .map_err(|error| ConfigError::new(format!("LIVEKIT_CONFIG: {error}")))
    }

    pub(super) fn parse(text: &str) -> Result<(Self, Vec<String>), String> {
        // A file of nothing but comments is a configuration of nothing but defaults.
        if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
            return Ok((Self::default(), Vec::new()));
        }
        let outline = Outline::of(text)?;
        let file: Self = serde_saphyr::from_str(text).map_err(|error| outline.explain(&error))?;
        Ok((file, outline.warnings))
    }
}
