//! Calling the load generator and reading what it found.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::measured::{Granted, LOSS_PERCENT, Measured, Memory, Percentiles, SRTP, Shares};
use super::network::Network;
use super::process::{Core, Process, busy_ticks, resident_kb};
use super::server::{KEY, SECRET, Server, Subject};
use super::workload::Workload;

/// Seconds between the last participant's arrival and the measuring: first keyframes are through, timers run evenly.
const WARMUP: f64 = 1.5;

/// How long a run may take beyond what is planned, and how often the planned time for gathering may pass. A server that
/// needs longer for admitting everybody does not hold them.
const PATIENCE: Duration = Duration::from_secs(45);
const GATHERING: u32 = 4;

/// Where what the generator says goes.
const LOG: &str = "load.log";
/// How its lines begin while it measures.
const MEASURING: &str = "measuring:";

/// A workload with its circumstances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    /// What the participants do.
    pub(crate) workload: Workload,
    /// Datagrams of garbage a second beside it.
    pub(crate) garbage: u32,
    /// Whether receivers open every packet, or look at headers and open one in 64.
    pub(crate) light: bool,
    /// Where participants send media to instead of to the server.
    pub(crate) via: Option<SocketAddr>,
    /// Whether whoever joins offers nothing at first and so needs a second offer to receive. Otherwise they offer what
    /// `livekit-client` does: three free sections of each kind.
    pub(crate) two_offers: bool,
    /// How many times as long as other runs it is measured.
    pub(crate) lasting: u32,
}

impl Load {
    /// A workload and nothing beside it.
    pub(crate) fn of(workload: Workload) -> Self {
        Self { workload, garbage: 0, light: false, via: None, two_offers: false, lasting: 1 }
    }

    /// The same in light mode, for more participants than the generator could listen to otherwise.
    pub(crate) fn light(self) -> Self {
        Self { light: true, ..self }
    }

    /// The same through somebody in between.
    pub(crate) fn via(self, proxy: SocketAddr) -> Self {
        Self { via: Some(proxy), ..self }
    }

    /// The same beside garbage.
    pub(crate) fn with_garbage(self, garbage: u32) -> Self {
        Self { garbage, ..self }
    }

    /// The same with people who learn of tracks after joining.
    pub(crate) fn in_two_offers(self) -> Self {
        Self { two_offers: true, ..self }
    }

    /// The same for so many times as long.
    pub(crate) fn lasting(self, lasting: u32) -> Self {
        Self { lasting, ..self }
    }

    /// How long the generator measures where other runs take `seconds`.
    pub(crate) fn seconds(&self, seconds: f64) -> f64 {
        seconds * f64::from(self.lasting)
    }

    /// What a table says beside the server's name.
    pub(crate) fn difference(&self) -> String {
        let what = match self.workload {
            Workload::Stage { viewers } => format!("{viewers} viewers"),
            Workload::Hall { listeners } => format!("{listeners} listeners"),
            Workload::Grid { participants } | Workload::Idle { participants } => {
                format!("{participants} participants")
            }
            Workload::Churn { rate } | Workload::Joins { rate } => format!("{rate} joins/s"),
        };
        let garbage = (self.garbage > 0).then(|| format!("{} garbage/s", self.garbage));
        let light = self.light.then(|| "light".to_owned());
        let via = self.via.map(|_| "by proxy".to_owned());
        let offers = self.two_offers.then(|| "two offers".to_owned());
        let words = [Some(what), garbage, light, via, offers].into_iter().flatten();
        words.collect::<Vec<_>>().join(", ")
    }
}

/// The load generator.
pub(crate) struct Generator {
    /// Its program.
    pub(crate) program: PathBuf,
    /// Where its logs go.
    pub(crate) logs: PathBuf,
}

impl Generator {
    /// Whether it can do this to that server: some things only servers of LiveKit's protocol are asked.
    pub(crate) fn can(&self, subject: Subject, load: &Load) -> bool {
        subject != Subject::Janus || !matches!(load.workload, Workload::Grid { .. })
    }

    /// Puts `server` under `load` and measures for `seconds`, calling `meanwhile` again and again. Returns the figures
    /// and everything it reported.
    ///
    /// # Errors
    /// If it fails without a report, or the report makes no sense.
    pub(crate) fn run(
        &self,
        network: &Network,
        server: &Server,
        load: &Load,
        seconds: f64,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(Measured, Value)> {
        let report = self.logs.join("load.json");
        // Nothing of an earlier run may be taken for this one's.
        let _ = std::fs::remove_file(&report);
        let mut command = network.in_generator(&self.program);
        self.arguments(&mut command, server, load, seconds);
        command.arg("--json").arg(&report);
        let mut process = Process::start("the load generator", command, self.logs.join(LOG))?;
        let limit = PATIENCE
            + Duration::from_secs_f64(WARMUP + seconds)
            + GATHERING * load.workload.gathering();
        let mut peak_kb = None;
        let watched = server.process.id();
        let log = self.logs.join(LOG);
        let mut window = Window::default();
        process.wait(limit, || {
            peak_kb = peak_kb.max(resident_kb(watched));
            window.look(&log);
            meanwhile();
        })?;
        let Ok(text) = std::fs::read_to_string(&report) else {
            bail!("the load generator left no report: {}", process.last_words());
        };
        let raw: Value = serde_json::from_str(&text).context("the load generator's report")?;
        let mut measured = read(&raw)?;
        measured.memory.peak_kb = peak_kb.map(|kb| kb as f64);
        measured.shares.generator_core = window.busy_share();
        Ok((measured, raw))
    }

    fn arguments(&self, command: &mut Command, server: &Server, load: &Load, seconds: f64) {
        let number = |value: u32| value.to_string();
        match load.workload {
            Workload::Stage { viewers } => command.args(["stage", "--viewers", &number(viewers)]),
            Workload::Hall { listeners } => {
                command.args(["hall", "--speakers", "1", "--loud", "1"]);
                command.args(["--listeners", &number(listeners)])
            }
            Workload::Grid { participants } => {
                command.args(["grid", "--participants", &number(participants)])
            }
            Workload::Churn { rate } => command.args(["churn", "--rate", &number(rate)]),
            Workload::Idle { participants } => {
                command.args(["idle", "--participants", &number(participants)])
            }
            Workload::Joins { rate } => command.args(["joins", "--rate", &number(rate)]),
        };
        match server.subject {
            Subject::Roomful | Subject::LiveKit => command
                .args(["--url", &format!("ws://{}", server.address())])
                .args(["--key", KEY, "--secret", SECRET]),
            Subject::Janus => {
                command.args(["--janus", &format!("http://{}/janus", server.address())])
            }
        };
        if load.garbage > 0 {
            command.args(["--garbage", &number(load.garbage)]);
        }
        if load.light {
            command.arg("--light");
        }
        if load.two_offers {
            command.args(["--sections", "0"]);
        }
        if let Some(proxy) = load.via {
            command.args(["--via", &proxy.to_string()]);
        }
        command
            .args(["--seconds", &seconds.to_string(), "--warmup", &WARMUP.to_string()])
            .args(["--srtp", SRTP, "--max-loss", &LOSS_PERCENT.to_string()])
            .args(["--server-pid", &server.process.id().to_string()]);
    }
}

/// How busy the generator's core is while it says that it measures.
#[derive(Default)]
struct Window {
    from: Option<(Instant, u64)>,
    to: Option<(Instant, u64)>,
}

impl Window {
    /// To be called again and again: reads the last line of progress.
    fn look(&mut self, log: &Path) {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let is_measuring = text.lines().last().is_some_and(|line| line.starts_with(MEASURING));
        if !is_measuring {
            return;
        }
        let now = busy_ticks(Core::GENERATOR).map(|ticks| (Instant::now(), ticks));
        if self.from.is_none() {
            self.from = now;
        }
        self.to = now;
    }

    fn busy_share(&self) -> Option<f64> {
        let ((from, before), (to, after)) = (self.from?, self.to?);
        let elapsed = (to - from).as_secs_f64();
        // A hundred ticks a second, as /proc counts them. Less than a second tells nothing.
        (elapsed >= 1.0).then(|| after.saturating_sub(before) as f64 / 100.0 / elapsed)
    }
}

/// Reads a report of the load generator.
fn read(raw: &Value) -> Result<Measured> {
    let number = |path: &str| raw.pointer(path).and_then(Value::as_f64);
    let percentiles = |path: &str| Percentiles {
        p50: number(&format!("{path}/p50")),
        p99: number(&format!("{path}/p99")),
    };
    let part = |received: &str, expected: &str| {
        let expected = number(expected).filter(|expected| *expected > 0.0);
        Some(number(received)? / expected?)
    };
    Ok(Measured {
        missing_percent: number("/missing_percent"),
        cpu_us_per_packet: number("/cpu_us_per_forwarded_packet"),
        packets: number("/packets_received"),
        loss_percent: number("/loss_percent"),
        latency_us: percentiles("/latency_us"),
        join_ms: percentiles("/join_ms"),
        picture_ms: percentiles("/join_picture_ms"),
        joins_per_second: number("/joins_per_second"),
        granted: Granted {
            video: part("/video_received", "/video_expected"),
            audio: part("/audio_received", "/audio_expected"),
        },
        shares: Shares {
            server: number("/server_share"),
            generator: number("/generator_share"),
            ..Shares::default()
        },
        memory: Memory {
            before_kb: number("/server_rss_kb_before"),
            settled_kb: number("/server_rss_kb_after"),
            ..Memory::default()
        },
        objection: raw["void"].as_str().map(str::to_owned),
        srtp: raw["srtp"].as_str().map(str::to_owned),
    })
}
