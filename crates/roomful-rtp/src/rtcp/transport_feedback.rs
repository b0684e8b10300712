//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): which packets
//! of a transport arrived, and when, in 250 µs steps.

use super::reader::Reader;
use crate::Ssrc;

/// One transport-wide feedback packet. It was checked whole: its iterators cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct TransportFeedback<'a> {
    /// Who received the packets.
    pub sender: Ssrc,
    /// One of the streams they belong to.
    pub media: Ssrc,
    /// Transport-wide sequence number of the first packet reported.
    pub first_seq: u16,
    /// How many packets are reported, arrived or not, in order. A few bytes can report 65,535 lost
    /// ones: go over [`TransportFeedback::spans`] where that matters.
    pub count: u16,
    /// Counts the feedback packets of a transport; wraps.
    pub number: u8,
    reference: u32,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// A moment on the clock of a feedback's sender, in steps of 250 µs modulo 2^32 (12.4 days). Where
/// that clock begins is the sender's secret: only differences mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeedbackTime(pub u32);

impl FeedbackTime {
    /// Steps of 250 µs in a second (draft §3.1.5).
    pub const PER_SECOND: u32 = 4000;
    /// Microseconds in one step.
    pub const MICROS: u64 = 250;
    /// Steps in one unit of the reference time, which counts 64 ms (draft §3.1).
    pub(crate) const PER_REFERENCE: u32 = 256;

    /// Steps from `earlier` to this moment, negative if it is in fact later; meaningful within six days.
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// Consecutive packets of a feedback that share a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// `count` packets from `first` on did not arrive.
    Lost {
        /// Sequence number of the first of them.
        first: u16,
        /// How many they are, at least one.
        count: u16,
    },
    /// One packet arrived.
    Arrived {
        /// Its sequence number.
        seq: u16,
        /// When.
        at: FeedbackTime,
    },
}

/// What a status chunk says of one packet (draft §3.1.1): also the size of its delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaStatus {
    /// Not received: no delta.
    Lost,
    /// Received, up to 63.75 ms after the packet before: one byte.
    Small,
    /// Received earlier than the packet before, or much later: two bytes, signed.
    Large,
}

impl DeltaStatus {
    /// Bytes its delta takes.
    pub const fn delta_len(self) -> usize {
        match self {
            Self::Lost => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }

    pub(super) const fn symbol(self) -> u16 {
        match self {
            Self::Lost => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }

    const fn of_symbol(symbol: u16) -> Option<Self> {
        match symbol {
            0 => Some(Self::Lost),
            1 => Some(Self::Small),
            2 => Some(Self::Large),
            _ => None,
        }
    }
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(mut reader: Reader<'a>) -> Option<Self> {
        let (sender, media) = (reader.ssrc()?, reader.ssrc()?);
        let (first_seq, count) = (reader.u16()?, reader.u16()?);
        let [high, middle, low, number] = reader.array()?;
        let (chunks, delta_len) = measure(reader.rest(), count)?;
        let chunks = reader.records(chunks)?;
        let deltas = reader.bytes(delta_len)?;
        let reference = u32::from_be_bytes([0, high, middle, low]);
        Some(Self { sender, media, first_seq, count, number, reference, chunks, deltas })
    }

    /// The packets reported, lost ones together as their sender put them, in order.
    pub fn spans(&self) -> Spans<'a> {
        Spans {
            runs: Runs::new(self.chunks, self.count),
            arrived: None,
            deltas: Reader::new(self.deltas),
            seq: self.first_seq,
            time: self.reference.wrapping_mul(FeedbackTime::PER_REFERENCE),
        }
    }

    /// The packets reported one by one, in order: sequence number, and when it arrived if it did.
    pub fn statuses(&self) -> PacketStatuses<'a> {
        PacketStatuses { spans: self.spans(), lost: (0, 0) }
    }
}

/// How many chunks of two bytes it takes to cover `count` packets, and how many bytes their deltas
/// take. `None` if `bytes` ends before or a symbol is reserved.
fn measure(bytes: &[u8], count: u16) -> Option<(usize, usize)> {
    let (chunks, _) = bytes.as_chunks::<2>();
    let mut runs = Runs::new(chunks, count);
    let mut delta_len = 0;
    while runs.left > 0 {
        let (status, run) = runs.next()?;
        delta_len += status.delta_len() * usize::from(run);
    }
    Some((chunks.len() - runs.chunks.len(), delta_len))
}

/// Runs of equal statuses, as the chunks spell them: a symbol of a vector is a run of one.
#[derive(Clone, Copy, Debug)]
struct Runs<'a> {
    chunks: &'a [[u8; 2]],
    /// Packets not yet told.
    left: u16,
    vector: Vector,
}

/// What is left of a status vector chunk.
#[derive(Clone, Copy, Debug)]
struct Vector {
    /// The next symbol is in the highest bits.
    bits: u16,
    symbols: u16,
    width: u32,
}

impl<'a> Runs<'a> {
    const fn new(chunks: &'a [[u8; 2]], count: u16) -> Self {
        Self { chunks, left: count, vector: Vector { bits: 0, symbols: 0, width: 1 } }
    }
}

impl Iterator for Runs<'_> {
    type Item = (DeltaStatus, u16);

    fn next(&mut self) -> Option<(DeltaStatus, u16)> {
        if self.left == 0 {
            return None;
        }
        while self.vector.symbols == 0 {
            let (first, rest) = self.chunks.split_first()?;
            self.chunks = rest;
            let chunk = u16::from_be_bytes(*first);
            if chunk & 0x8000 == 0 {
                // Run length chunk (draft §3.1.3): two bits of symbol, thirteen of length.
                let run = (chunk & 0x1fff).min(self.left);
                if run > 0 {
                    self.left -= run;
                    return Some((DeltaStatus::of_symbol(chunk >> 13)?, run));
                }
            } else {
                // Status vector chunk (draft §3.1.4): fourteen symbols of one bit or seven of two.
                let (symbols, width) = if chunk & 0x4000 == 0 { (14, 1) } else { (7, 2) };
                self.vector = Vector { bits: chunk << 2, symbols, width };
            }
        }
        self.left -= 1;
        Some((self.vector.next_status()?, 1))
    }
}

impl Vector {
    fn next_status(&mut self) -> Option<DeltaStatus> {
        let symbol = self.bits >> (u16::BITS - self.width);
        self.symbols -= 1;
        self.bits <<= self.width;
        DeltaStatus::of_symbol(symbol)
    }
}

/// See [`TransportFeedback::spans`].
#[derive(Clone, Debug)]
pub struct Spans<'a> {
    runs: Runs<'a>,
    /// The rest of a run of arrived packets.
    arrived: Option<(DeltaStatus, u16)>,
    deltas: Reader<'a>,
    seq: u16,
    time: u32,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let (status, run) = match self.arrived.take() {
            Some(rest) => rest,
            None => self.runs.next()?,
        };
        let first = self.seq;
        let delta = match status {
            DeltaStatus::Lost => {
                self.seq = first.wrapping_add(run);
                return Some(Span::Lost { first, count: run });
            }
            DeltaStatus::Small => i32::from(self.deltas.u8()?),
            DeltaStatus::Large => i32::from(self.deltas.u16()? as i16),
        };
        self.seq = first.wrapping_add(1);
        self.time = self.time.wrapping_add_signed(delta);
        if run > 1 {
            self.arrived = Some((status, run - 1));
        }
        Some(Span::Arrived { seq: first, at: FeedbackTime(self.time) })
    }
}

/// See [`TransportFeedback::statuses`].
#[derive(Clone, Debug)]
pub struct PacketStatuses<'a> {
    spans: Spans<'a>,
    /// The rest of a span of lost packets: the next of them, and how many.
    lost: (u16, u16),
}

impl Iterator for PacketStatuses<'_> {
    type Item = (u16, Option<FeedbackTime>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.lost.1 == 0 {
            match self.spans.next()? {
                Span::Arrived { seq, at } => return Some((seq, Some(at))),
                Span::Lost { first, count } => self.lost = (first, count),
            }
        }
        let (seq, left) = self.lost;
        self.lost = (seq.wrapping_add(1), left - 1);
        Some((seq, None))
    }
}
