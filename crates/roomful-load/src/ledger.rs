//! What the media thread counts, in one place, handed along with every packet.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::Stamp;
use crate::media::mark::{ContentError, Mark, RunId, StreamKind};
use crate::media::source::Batch;

/// Light mode opens one packet in so many. More often, and it saves little; more seldom, and a short run
/// has too few latencies for a p99.
const LIGHT_INTERVAL: u32 = 64;

/// The largest latency and gap told apart: a minute, in the histograms' units.
const LONGEST_MICROS: u64 = 60_000_000;

/// How much of what arrives is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Depth {
    /// Everything.
    #[default]
    Full,
    /// Headers of everything, content of one packet in 64.
    Light,
}

/// Whom a participant's figures are counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Group {
    /// Those the workload is about.
    #[default]
    Watched,
    /// Those who come and go beside them.
    Passing,
}

/// A span of time on the stamps' clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: Stamp,
    pub(crate) to: Stamp,
}

impl Window {
    /// Not open yet.
    pub(crate) const NONE: Self = Self { from: Stamp::NEVER, to: Stamp::NEVER };

    pub(crate) fn contains(&self, at: Stamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Media packets received since the start, each once.
    pub(crate) packets: u64,
    pub(crate) window: InWindow,
    pub(crate) asides: Asides,
    pub(crate) faults: Faults,
}

/// What was counted within the measuring window.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InWindow {
    /// Media packets that arrived in it, each once.
    pub(crate) forwarded_packets: u64,
    /// Their bytes as received, SRTP included.
    pub(crate) forwarded_bytes: u64,
    /// Those of them that are pictures.
    pub(crate) forwarded_video: u64,
    /// Opened ones that were sent in it, whenever they arrived.
    pub(crate) delivered_packets: u64,
    /// Sent in it by all microphones.
    pub(crate) published_audio: u64,
    /// The same of cameras, by layer, the lowest first. A camera of one layer sends the highest.
    pub(crate) published_layers: [u64; 3],
}

/// What goes on beside the media, since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Asides {
    /// Packets that were here before.
    pub(crate) duplicates: u64,
    /// Packets without content: probes for bandwidth.
    pub(crate) padding_packets: u64,
    /// Packets of retransmission streams.
    pub(crate) repair_packets: u64,
    /// Those nobody missed any more.
    pub(crate) needless_repairs: u64,
    /// Packets the server asked publishers for, and those it was given.
    pub(crate) repairs_asked: u64,
    pub(crate) repairs_sent: u64,
    /// Keyframes the server asked publishers for.
    pub(crate) keyframes_asked: u64,
    /// Those receivers asked the server for.
    pub(crate) keyframe_requests_sent: u64,
    pub(crate) nacks_sent: u64,
    /// Frames the system did not take.
    pub(crate) send_failures: u64,
    /// Packets before the keys to open them were there.
    pub(crate) early_packets: u64,
    pub(crate) unknown_datagrams: u64,
}

/// What a correct server never causes, since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Faults {
    /// SRTP that does not open.
    pub(crate) unauthentic: u64,
    pub(crate) malformed_rtcp: u64,
    pub(crate) foreign_payload_types: u64,
    /// Content that nobody of this run sent.
    pub(crate) foreign_content: u64,
    /// Content that changed on its way.
    pub(crate) damaged_content: u64,
}

impl InWindow {
    /// Sent in it by all cameras.
    pub(crate) fn published_video(&self) -> u64 {
        self.published_layers.iter().sum()
    }
}

impl Faults {
    pub(crate) fn count(&self) -> u64 {
        self.unauthentic
            + self.malformed_rtcp
            + self.foreign_payload_types
            + self.foreign_content
            + self.damaged_content
    }
}

/// See the module text.
pub(crate) struct Ledger {
    pub(crate) run: RunId,
    pub(crate) window: Window,
    pub(crate) totals: Totals,
    /// Memory for what is sent.
    pub(crate) batch: Batch,
    depth: Depth,
    until_open: u32,
    /// From leaving one participant to arriving at another, in microseconds, by group.
    watched: Histogram<u64>,
    passing: Histogram<u64>,
    /// Between two packets of one stream, in microseconds.
    gaps: Histogram<u64>,
}

impl Ledger {
    pub(crate) fn new(run: RunId, depth: Depth) -> Self {
        Self {
            run,
            window: Window::NONE,
            totals: Totals::default(),
            batch: Batch::default(),
            depth,
            until_open: 0,
            watched: histogram(),
            passing: histogram(),
            gaps: histogram(),
        }
    }

    /// Whether the next packet is to be opened.
    pub(crate) fn opens_next(&mut self) -> bool {
        match self.depth {
            Depth::Full => true,
            Depth::Light => {
                let opens = self.until_open == 0;
                self.until_open = if opens { LIGHT_INTERVAL - 1 } else { self.until_open - 1 };
                opens
            }
        }
    }

    /// Forgets what was measured and measures within `window`.
    pub(crate) fn open_window(&mut self, window: Window) {
        self.window = window;
        self.watched.reset();
        self.passing.reset();
        self.gaps.reset();
        self.totals.window = InWindow::default();
    }

    /// `sent` is what the packets' marks say, so that at the window's edges they count here if they count
    /// where they arrive.
    pub(crate) fn count_published(&mut self, kind: StreamKind, sent: Stamp, packets: u64) {
        if self.window.contains(sent) {
            match kind {
                StreamKind::Audio => self.totals.window.published_audio += packets,
                StreamKind::Video(layer) => {
                    if let Some(count) =
                        self.totals.window.published_layers.get_mut(usize::from(layer))
                    {
                        *count += packets;
                    }
                }
            }
        }
    }

    /// A marked packet arrived.
    pub(crate) fn count_delivered(&mut self, mark: &Mark, arrived: Stamp, group: Group) {
        if !self.window.contains(mark.sent) {
            return;
        }
        self.totals.window.delivered_packets += 1;
        let histogram = match group {
            Group::Watched => &mut self.watched,
            Group::Passing => &mut self.passing,
        };
        histogram.saturating_record(micros(arrived.nanos_since(mark.sent)));
    }

    pub(crate) fn count_content_error(&mut self, error: ContentError) {
        match error {
            ContentError::Foreign | ContentError::OtherRun => {
                self.totals.faults.foreign_content += 1
            }
            ContentError::Damaged => self.totals.faults.damaged_content += 1,
        }
    }

    pub(crate) fn count_gap(&mut self, gap: Duration) {
        self.gaps.saturating_record(u64::try_from(gap.as_micros()).unwrap_or(LONGEST_MICROS));
    }

    pub(crate) fn latency(&self, group: Group) -> &Histogram<u64> {
        match group {
            Group::Watched => &self.watched,
            Group::Passing => &self.passing,
        }
    }

    pub(crate) fn gaps(&self) -> &Histogram<u64> {
        &self.gaps
    }
}

fn micros(nanos: i64) -> u64 {
    // The two stamps are taken on two cores: a packet may seem to arrive a little before it left.
    u64::try_from(nanos).unwrap_or(0) / 1000
}

fn histogram() -> Histogram<u64> {
    // Three digits: 0.1 % of each value, 0.2 MB in all.
    #[expect(clippy::expect_used, reason = "the bounds are constants in the order it asks for")]
    Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("constant bounds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::ParticipantId;

    #[test]
    fn light_mode_opens_one_packet_in_64() {
        let mut ledger = Ledger::new(RunId(1), Depth::Light);
        assert_eq!((0..6400).filter(|_| ledger.opens_next()).count(), 100);
    }

    #[test]
    fn only_what_was_sent_in_the_window_has_a_latency() {
        let mut ledger = Ledger::new(RunId(1), Depth::Full);
        ledger.open_window(Window { from: at(1_000_000), to: at(2_000_000) });
        for sent in [999_999, 1_000_000, 1_999_999, 2_000_000] {
            ledger.count_delivered(&mark(at(sent)), at(sent + 50_000), Group::Watched);
        }
        assert_eq!(ledger.totals.window.delivered_packets, 2);
        assert_eq!(ledger.latency(Group::Watched).max(), 50);
        assert_eq!(ledger.latency(Group::Passing).len(), 0);
    }

    #[test]
    fn what_is_counted_where_it_arrives_is_counted_where_it_leaves() {
        let mut ledger = Ledger::new(RunId(1), Depth::Full);
        ledger.open_window(Window { from: at(1_000_000), to: at(2_000_000) });
        for sent in [999_999, 1_000_000, 1_999_999, 2_000_000] {
            ledger.count_published(StreamKind::Audio, at(sent), 3);
            ledger.count_published(StreamKind::Video(2), at(sent), 8);
        }
        let window = ledger.totals.window;
        assert_eq!((window.published_audio, window.published_layers), (6, [0, 0, 16]));
    }

    #[test]
    fn an_arrival_before_its_departure_counts_as_none() {
        let mut ledger = Ledger::new(RunId(1), Depth::Full);
        ledger.open_window(Window { from: at(0), to: at(10_000) });
        ledger.count_delivered(&mark(at(5000)), at(4000), Group::Watched);
        assert_eq!(ledger.latency(Group::Watched).max(), 0);
    }

    fn at(nanos: u64) -> Stamp {
        Stamp::from_nanos(nanos)
    }

    fn mark(sent: Stamp) -> Mark {
        let publisher = ParticipantId(0);
        Mark { run: RunId(1), publisher, stream: StreamKind::Audio, seq: 0, sent }
    }
}
