//! What a run found, for people and for programs.

mod joins;
mod table;

use std::io::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::Common;
use crate::engine::Snapshot;
use crate::ledger::{Asides, Faults};
use crate::signalling::JoinRecord;
use crate::workload::Measured;
pub(crate) use joins::{JoinPhases, WhoseJoins};

/// Share of its core above which the generator's own waiting would be taken for the server's (`goals.md`
/// of this project: 70 %).
const MOST_GENERATOR_SHARE: f64 = 0.70;

/// How far two runs of the same may lie apart: packets by their share, latencies by their share and as
/// much again in microseconds. On shared machines latencies drift by tens of percent between runs; a mode
/// that measured something else would be off by more.
const LIKE_PACKETS: f64 = 0.02;
const LIKE_LATENCY: f64 = 0.5;
const LIKE_MICROS: f64 = 300.0;

/// Different reasons for failures that are told.
const MAX_REASONS: usize = 5;

/// See the module text. Field names are the ones of the JSON file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    pub(crate) participants: u32,
    pub(crate) seconds: f64,
    /// Why the run does not count; absent if it does.
    pub(crate) void: Option<String>,
    /// The SRTP profile, or several.
    pub(crate) srtp: String,
    #[serde(flatten)]
    pub(crate) media: Media,
    #[serde(flatten)]
    pub(crate) loss: Loss,
    #[serde(flatten)]
    pub(crate) server: Server,
    /// Processor time of this program as a share of one core.
    pub(crate) generator_share: f64,
    #[serde(flatten)]
    pub(crate) joins: Joins,
    #[serde(flatten)]
    pub(crate) failed: Failed,
    pub(crate) asides: Asides,
    pub(crate) faults: Faults,
}

/// How joining went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Joins {
    /// From starting to join to the first media packet.
    pub(crate) join_ms: Option<Percentiles>,
    /// To the first one of a picture, which servers begin with a keyframe, and publishers make only so many.
    pub(crate) join_picture_ms: Option<Percentiles>,
    /// Joins that got a packet, a second, where participants come and go.
    pub(crate) joins_per_second: Option<f64>,
    /// Joins that did not.
    pub(crate) joins_unfinished: u64,
    pub(crate) join_phases_ms: JoinPhases,
}

/// Participants who did not stay.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failed {
    pub(crate) failures: u64,
    /// Why, the first few.
    pub(crate) failure_reasons: Vec<String>,
}

/// Packets and how long they took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Media {
    /// Sent by all publishers in the window.
    pub(crate) packets_published: u64,
    /// What should have arrived, where the workload determines it.
    pub(crate) packets_expected: Option<u64>,
    /// What arrived in the window, each packet of each receiver once.
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    /// Packets of pictures that everybody's wishes add up to, and those that arrived: a server that sheds
    /// load sends lower layers, or none.
    pub(crate) video_expected: Option<u64>,
    pub(crate) video_received: u64,
    /// The same of sound of the loudest; silence may come on top.
    pub(crate) audio_expected: Option<u64>,
    pub(crate) audio_received: u64,
    /// Streams received, one for each receiver and track.
    pub(crate) streams: u64,
    /// From the publisher's send call to the kernel's receive stamp.
    pub(crate) latency_us: Option<Percentiles>,
    /// The same for those who come and go.
    pub(crate) passing_latency_us: Option<Percentiles>,
    /// Longest pause between two packets of one stream.
    pub(crate) longest_gap_ms: f64,
}

/// Packets that did not arrive, and what became of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Loss {
    /// Never arrived, not even repaired.
    pub(crate) packets_lost: u64,
    pub(crate) loss_percent: f64,
    /// The most one stream lost.
    pub(crate) worst_stream_lost: u64,
    /// Did not arrive by themselves: lost, or repaired when asked for.
    pub(crate) packets_missing: u64,
    pub(crate) missing_percent: f64,
    pub(crate) packets_repaired: u64,
    pub(crate) packets_reordered: u64,
    /// What a correct server never causes.
    pub(crate) content_errors: u64,
}

/// What the server used, if its process was given.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Server {
    pub(crate) cpu_us_per_forwarded_packet: Option<f64>,
    /// Processor time as a share of one core.
    pub(crate) server_share: Option<f64>,
    pub(crate) server_rss_kb_before: Option<u64>,
    pub(crate) server_rss_kb_after: Option<u64>,
}

/// The middle and the upper end of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) samples: u64,
}

/// What a report is made of.
pub(crate) struct Findings {
    pub(crate) workload: &'static str,
    /// Without those who come and go.
    pub(crate) participants: u32,
    pub(crate) measured: Measured,
    pub(crate) records: Vec<JoinRecord>,
    /// Packets that must arrive, where the workload determines it.
    pub(crate) expected: Option<u64>,
    /// What was asked for, where a server may send less when it sheds load.
    pub(crate) wishes: Option<Wishes>,
    pub(crate) joins: WhoseJoins,
}

/// Packets that participants ask for, of those that were published in the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// Of pictures, each in the size somebody wants.
    pub(crate) video: u64,
    /// Of the sound of those who talk.
    pub(crate) audio: u64,
}

impl Report {
    pub(crate) fn new(findings: Findings, common: &Common) -> Self {
        let Findings { workload, participants, measured, records, expected, .. } = findings;
        let snapshot = &measured.snapshot;
        let profiles: Vec<&str> = snapshot.profiles.keys().copied().collect();
        let (earlier, later) = &measured.generator;
        let joins = joins::Chosen::of(
            joins::combine(&records, &snapshot.timelines),
            findings.joins,
            measured.opened,
            measured.seconds,
        );
        let mut report = Self {
            workload,
            participants,
            seconds: measured.seconds,
            void: None,
            srtp: profiles.join("+"),
            media: Media::new(&measured, expected, findings.wishes),
            loss: Loss::new(&measured, expected),
            server: Server::new(&measured),
            generator_share: later.share_since(earlier),
            joins: Joins {
                join_ms: joins.whole(),
                join_picture_ms: joins.to_picture(),
                joins_per_second: joins.rate(),
                joins_unfinished: joins.unfinished(),
                join_phases_ms: joins.phases(),
            },
            failed: Failed::new(&records, snapshot),
            asides: snapshot.totals.asides,
            faults: snapshot.totals.faults,
        };
        report.void = report.fault(common.measuring.max_loss);
        report
    }

    /// Whether this program, and not the server, was at its limit.
    pub(crate) fn is_generators_fault(&self) -> bool {
        self.generator_share > MOST_GENERATOR_SHARE
    }

    /// Why the run does not count.
    fn fault(&self, max_loss: f64) -> Option<String> {
        if self.is_generators_fault() {
            let percent = 100.0 * self.generator_share;
            return Some(format!(
                "the generator used {percent:.0} % of a core: its own waiting shows"
            ));
        }
        if self.loss.content_errors > 0 {
            let errors = self.loss.content_errors;
            return Some(format!("{errors} packets carried what nobody sent to their receiver"));
        }
        let Failed { failures, failure_reasons } = &self.failed;
        if *failures > 0 {
            let reason = failure_reasons.first().map_or("", String::as_str);
            return Some(format!("{failures} participants failed: {reason}"));
        }
        let unfinished = self.joins.joins_unfinished;
        if unfinished > 0 {
            return Some(format!("{unfinished} participants joined and received nothing"));
        }
        if self.loss.loss_percent > max_loss {
            return Some(format!("{:.3} % of the packets were lost", self.loss.loss_percent));
        }
        if self.media.packets_received == 0 && self.media.packets_published > 0 {
            return Some("nothing was received".into());
        }
        None
    }

    /// Writes it where it is to go.
    ///
    /// # Errors
    /// If a file or the terminal does not take it.
    pub(crate) fn publish(&self, common: &Common) -> anyhow::Result<()> {
        if let Some(path) = &common.measuring.json {
            std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        }
        print(&self.table())
    }

    /// What the same scene showed otherwise in light mode, if it is more than two runs may differ by.
    pub(crate) fn difference(&self, light: &Self) -> Option<String> {
        let (full, light) = (&self.media, &light.media);
        let packets = (full.packets_received as f64, light.packets_received as f64);
        if (packets.0 - packets.1).abs() > packets.0.max(packets.1) * LIKE_PACKETS {
            return Some(format!("packets received: {} and {}", packets.0, packets.1));
        }
        let (full, light) = (full.latency_us?, light.latency_us?);
        for (name, one, other) in [("p50", full.p50, light.p50), ("p99", full.p99, light.p99)] {
            if (one - other).abs() > one.max(other) * LIKE_LATENCY + LIKE_MICROS {
                return Some(format!("latency {name}: {one:.0} and {other:.0} µs"));
            }
        }
        None
    }
}

/// Writes to the terminal.
///
/// # Errors
/// If it is gone.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// A line for whoever waits.
pub(crate) fn progress(line: &str) {
    // A terminal that is gone stops nothing.
    let _gone = writeln!(std::io::stderr(), "{line}");
}

impl Media {
    fn new(measured: &Measured, expected: Option<u64>, wishes: Option<Wishes>) -> Self {
        let snapshot = &measured.snapshot;
        let window = &snapshot.totals.window;
        Self {
            packets_published: window.published_audio + window.published_video(),
            packets_expected: expected,
            packets_received: window.forwarded_packets,
            bytes_received: window.forwarded_bytes,
            video_expected: wishes.map(|wishes| wishes.video),
            video_received: window.forwarded_video,
            audio_expected: wishes.map(|wishes| wishes.audio),
            audio_received: window.forwarded_packets.saturating_sub(window.forwarded_video),
            streams: snapshot.streams,
            latency_us: Percentiles::of(&snapshot.watched),
            passing_latency_us: Percentiles::of(&snapshot.passing),
            longest_gap_ms: snapshot.gaps.max() as f64 / 1000.0,
        }
    }
}

impl Loss {
    fn new(measured: &Measured, expected: Option<u64>) -> Self {
        let snapshot = &measured.snapshot;
        let (missed, window) = (&snapshot.missed, &snapshot.totals.window);
        // What is lost at the end of a stream shows only against what was published.
        let lost = match expected {
            Some(expected) if !measured.is_light => {
                expected.saturating_sub(window.delivered_packets)
            }
            Some(_) | None => snapshot.lost_packets(),
        };
        let missing = missed.missing.saturating_sub(missed.reordered);
        let of = expected.unwrap_or(window.forwarded_packets + lost).max(1) as f64;
        Self {
            packets_lost: lost,
            loss_percent: 100.0 * lost as f64 / of,
            worst_stream_lost: snapshot.worst_stream_lost,
            packets_missing: missing,
            missing_percent: 100.0 * missing as f64 / of,
            packets_repaired: missed.repaired,
            packets_reordered: missed.reordered,
            content_errors: snapshot.totals.faults.count(),
        }
    }
}

impl Failed {
    fn new(records: &[JoinRecord], snapshot: &Snapshot) -> Self {
        let mut reasons: Vec<String> =
            records.iter().filter_map(|record| record.failure.clone()).collect();
        let failures = snapshot.failures + reasons.len() as u64;
        reasons.extend(snapshot.reasons.iter().cloned());
        reasons.dedup();
        reasons.truncate(MAX_REASONS);
        Self { failures, failure_reasons: reasons }
    }
}

impl Server {
    fn new(measured: &Measured) -> Self {
        let Some((before, after)) = &measured.server else { return Self::default() };
        let cpu = after.cpu_since(before).as_secs_f64() * 1e6;
        let packets = measured.snapshot.totals.window.forwarded_packets;
        Self {
            cpu_us_per_forwarded_packet: (packets > 0).then(|| cpu / packets as f64),
            server_share: Some(after.share_since(before)),
            server_rss_kb_before: Some(before.resident_kb),
            server_rss_kb_after: Some(after.resident_kb),
        }
    }
}

impl Percentiles {
    /// In the histogram's unit. `None` without samples.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: histogram.max() as f64,
            samples: histogram.len(),
        })
    }

    /// Exact ones of a few values.
    pub(crate) fn of_values(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |quantile: f64| values.get((last as f64 * quantile).ceil() as usize).copied();
        Some(Self {
            p50: at(0.5)?,
            p90: at(0.9)?,
            p99: at(0.99)?,
            max: at(1.0)?,
            samples: values.len() as u64,
        })
    }
}
