//! Values that appear both on the command line and in the file.

use std::fmt;
use std::num::{NonZeroU16, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// One port (the first of as many as needed) or a range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: Option<u16>,
}

impl PortRange {
    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// How many workers can have a port of their own.
    pub fn worker_limit(self) -> NonZeroUsize {
        if self.first == 0 {
            // The system chooses: as many as there are ports.
            return NonZeroU16::MAX.into();
        }
        let last = self.last.unwrap_or(u16::MAX);
        NonZeroUsize::MIN.saturating_add(usize::from(last - self.first))
    }
}

impl From<u16> for PortRange {
    fn from(first: u16) -> Self {
        Self { first, last: None }
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| {
            text.trim().parse::<u16>().map_err(|_| {
                format!("{text:?} is not a port: write 7882, or a range such as 7882-7889")
            })
        };
        let Some((first, last)) = text.split_once('-') else {
            return Ok(port(text)?.into());
        };
        let (first, last) = (port(first)?, port(last)?);
        if first == 0 || last < first {
            return Err(format!("{text:?} is not a range of ports: write for example 7882-7889"));
        }
        Ok(Self { first, last: Some(last) })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) => write!(f, "{}-{last}", self.first),
            None => write!(f, "{}", self.first),
        }
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A plain number reads as text, too.
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The TCP port for media, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpPort {
    /// Media travels over UDP alone.
    Off,
    /// This one; 0 lets the system choose.
    On(u16),
}

impl FromStr for TcpPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "off" => Ok(Self::Off),
            text => text
                .parse()
                .map(Self::On)
                .map_err(|_| format!("{text:?} is not a port: write 7881, or off for none")),
        }
    }
}

/// A duration as Go writes it, in one unit: `30s`, `500ms`, `2m`. 0 needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileDuration(pub(super) Duration);

impl FromStr for FileDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let milliseconds = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "" if number == "0" => Some(0),
            _ => None,
        };
        let number = number.parse::<u64>().ok();
        let total = number.zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit));
        total
            .map(|total| Self(Duration::from_millis(total)))
            .ok_or_else(|| format!("{text:?} is no duration; write for example 30s"))
    }
}

impl<'de> Deserialize<'de> for FileDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How severe a message must be to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything, every packet included.
    Trace,
    /// What helps to find a fault; may name addresses.
    Debug,
    /// One line per event in the life of the server, a room, a connection.
    #[default]
    Info,
    /// What the operator should look at.
    Warn,
    /// What made something fail.
    Error,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::TRACE,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

/// Reads `key: secret` pairs, one a line or separated by commas. The error quotes nothing, since a
/// malformed pair is likely to hold a secret.
pub(super) fn parse_keys(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let mut pairs = Vec::new();
    for pair in text.split(['\n', ',']).map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, secret) = pair
            .split_once(':')
            .ok_or("write pairs as \"key: secret\", one a line or separated by commas")?;
        pairs.push((key.trim().to_owned(), secret.trim().to_owned()));
    }
    if pairs.is_empty() {
        return Err("holds no pair; write \"key: secret\", or unset it to run without keys");
    }
    Ok(pairs)
}
