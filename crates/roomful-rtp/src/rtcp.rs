//! RTCP: reports, feedback and farewells, read from and written into plain bytes.
//!
//! [`packets`] walks over a compound packet after SRTCP was opened; [`RtcpWriter`] puts one
//! together before it is sealed. Nothing here allocates, and nothing a participant can write makes
//! it panic: what is malformed ends the walk with an [`RtcpError`].
//!
//! Formats: RFC 3550 §6 (reports, SDES, BYE), RFC 4585 §6 (NACK, PLI), RFC 5104 §4.3.1 (FIR),
//! RFC 5506 (compounds that begin with anything), RFC 3611 §4 (extended reports),
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 and draft-alvestrand-rmcat-remb-03.

mod description;
mod extended;
mod feedback;
mod reader;
mod report;
#[cfg(test)]
mod tests;
mod transport_feedback;
mod writer;

use std::fmt;

pub use description::{Bye, Sdes, SdesChunk};
pub use extended::{Dlrr, DlrrBlock, ExtendedReport, XrBlock, XrBlocks};
pub use feedback::{Fir, FirEntry, Nack, NackSeqs, Pli, Remb, Ssrcs};
pub use report::{ReceiverReport, ReportBlock, ReportBlocks, SenderInfo, SenderReport};
pub use transport_feedback::{
    DeltaStatus, FeedbackTime, PacketStatuses, Span, Spans, TransportFeedback,
};
pub use writer::{FeedbackStart, RtcpWriter};

use reader::Reader;

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
    pub(super) const EXTENDED_REPORT: u8 = 207;
}

/// Feedback formats: the five bits that stand where other packets have a count.
mod format {
    /// Under transport feedback: RFC 4585 §6.2.1.
    pub(super) const NACK: u8 = 1;
    /// Under transport feedback: draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
    pub(super) const TRANSPORT_WIDE: u8 = 15;
    /// Under payload feedback: RFC 4585 §6.3.1.
    pub(super) const PLI: u8 = 1;
    /// Under payload feedback: RFC 5104 §4.3.1.
    pub(super) const FIR: u8 = 4;
    /// Under payload feedback: RFC 4585 §6.4; REMB is one of those.
    pub(super) const APPLICATION: u8 = 15;
}

/// Header of every RTCP packet, before its SSRC: flags and count, type, length.
const HEADER_LEN: usize = 4;

/// One RTCP packet, borrowed from its datagram.
#[derive(Clone, Copy, Debug)]
pub enum Rtcp<'a> {
    /// What a sender has sent, and how its clocks relate.
    SenderReport(SenderReport<'a>),
    /// What a receiver has received.
    ReceiverReport(ReceiverReport<'a>),
    /// Who is behind an SSRC.
    Sdes(Sdes<'a>),
    /// Sources that end.
    Bye(Bye<'a>),
    /// Packets to be sent again.
    Nack(Nack<'a>),
    /// A keyframe is needed, for a picture that cannot be decoded any more.
    Pli(Pli),
    /// A keyframe is needed, for somebody new.
    Fir(Fir<'a>),
    /// Which packets of a transport arrived, and when.
    TransportFeedback(TransportFeedback<'a>),
    /// What the receiver believes its downlink can carry.
    Remb(Remb<'a>),
    /// Extended reports, of which only reference times are told apart.
    ExtendedReport(ExtendedReport<'a>),
    /// Well formed as far as can be told, and of no kind that is used here.
    Unknown {
        /// The RTCP packet type.
        packet_type: u8,
        /// The five bits of count or feedback format.
        format: u8,
    },
}

/// The kinds of RTCP packets that are read, for saying which one is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtcpKind {
    /// Type 200.
    SenderReport,
    /// Type 201.
    ReceiverReport,
    /// Type 202.
    Sdes,
    /// Type 203.
    Bye,
    /// Type 205, format 1.
    Nack,
    /// Type 206, format 1.
    Pli,
    /// Type 206, format 4.
    Fir,
    /// Type 205, format 15.
    TransportFeedback,
    /// Type 206, format 15, "REMB".
    Remb,
    /// Type 207.
    ExtendedReport,
}

impl fmt::Display for RtcpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SenderReport => "sender report",
            Self::ReceiverReport => "receiver report",
            Self::Sdes => "source description",
            Self::Bye => "goodbye",
            Self::Nack => "NACK",
            Self::Pli => "PLI",
            Self::Fir => "FIR",
            Self::TransportFeedback => "transport-wide feedback",
            Self::Remb => "REMB",
            Self::ExtendedReport => "extended report",
        })
    }
}

/// Why the rest of a compound packet is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtcpError {
    /// Fewer bytes are left than a header takes.
    #[error("{0} stray bytes after the last RTCP packet")]
    Stray(usize),
    /// The version bits are not 2.
    #[error("RTCP version {0} instead of 2")]
    Version(u8),
    /// A packet claims more bytes than are left.
    #[error("an RTCP packet of type {packet_type} claims {claimed} bytes, {left} are left")]
    Length {
        /// The RTCP packet type.
        packet_type: u8,
        /// Its length with the header, as it says itself.
        claimed: usize,
        /// Bytes left in the compound.
        left: usize,
    },
    /// The padding is empty or larger than the packet.
    #[error("an RTCP packet of type {packet_type} has impossible padding")]
    Padding {
        /// The RTCP packet type.
        packet_type: u8,
    },
    /// The packet's own fields do not fit into it, or contradict each other.
    #[error("malformed {0}")]
    Malformed(RtcpKind),
}

/// Walks over the packets of one compound, or of a reduced-size one (RFC 5506).
///
/// `compound` is what SRTCP leaves after opening. The first malformed packet is the last item.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// The packets of a compound, in order. See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Rtcp<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

impl<'a> Packets<'a> {
    fn read(&mut self) -> Result<Rtcp<'a>, RtcpError> {
        let Some((&[flags, packet_type, high, low], _)) =
            self.rest.split_first_chunk::<HEADER_LEN>()
        else {
            return Err(RtcpError::Stray(self.rest.len()));
        };
        if flags >> 6 != 2 {
            return Err(RtcpError::Version(flags >> 6));
        }
        // The length counts 32-bit words without the first (RFC 3550 §6.4.1).
        let claimed = HEADER_LEN + 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((packet, rest)) = self.rest.split_at_checked(claimed) else {
            return Err(RtcpError::Length { packet_type, claimed, left: self.rest.len() });
        };
        self.rest = rest;
        let padded = packet.get(HEADER_LEN..).unwrap_or_default();
        let body = if flags & 0x20 == 0 { Some(padded) } else { without_padding(padded) };
        let Some(body) = body else { return Err(RtcpError::Padding { packet_type }) };
        parse(packet_type, flags & 0x1f, body)
    }
}

/// The last byte counts the padding, itself included (RFC 3550 §6.4.1). Any count is taken: browsers
/// pad transport-wide feedback by one to three bytes, where the RFC wants multiples of four.
fn without_padding(body: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*body.last()?);
    let kept = body.len().checked_sub(padding)?;
    if padding == 0 { None } else { body.get(..kept) }
}

/// Reads the body (after the header, without padding) of one packet.
fn parse(packet_type: u8, format: u8, body: &[u8]) -> Result<Rtcp<'_>, RtcpError> {
    let reader = Reader::new(body);
    let (kind, parsed) = match (packet_type, format) {
        (packet_type::SENDER_REPORT, count) => (
            RtcpKind::SenderReport,
            SenderReport::parse(reader, usize::from(count)).map(Rtcp::SenderReport),
        ),
        (packet_type::RECEIVER_REPORT, count) => (
            RtcpKind::ReceiverReport,
            ReceiverReport::parse(reader, usize::from(count)).map(Rtcp::ReceiverReport),
        ),
        (packet_type::SDES, count) => {
            (RtcpKind::Sdes, Sdes::parse(reader, usize::from(count)).map(Rtcp::Sdes))
        }
        (packet_type::BYE, count) => {
            (RtcpKind::Bye, Bye::parse(reader, usize::from(count)).map(Rtcp::Bye))
        }
        (packet_type::TRANSPORT_FEEDBACK, format::NACK) => {
            (RtcpKind::Nack, Nack::parse(reader).map(Rtcp::Nack))
        }
        (packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_WIDE) => (
            RtcpKind::TransportFeedback,
            TransportFeedback::parse(reader).map(Rtcp::TransportFeedback),
        ),
        (packet_type::PAYLOAD_FEEDBACK, format::PLI) => {
            (RtcpKind::Pli, Pli::parse(reader).map(Rtcp::Pli))
        }
        (packet_type::PAYLOAD_FEEDBACK, format::FIR) => {
            (RtcpKind::Fir, Fir::parse(reader).map(Rtcp::Fir))
        }
        (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) if Remb::is_one(body) => {
            (RtcpKind::Remb, Remb::parse(reader).map(Rtcp::Remb))
        }
        (packet_type::EXTENDED_REPORT, _) => {
            (RtcpKind::ExtendedReport, ExtendedReport::parse(reader).map(Rtcp::ExtendedReport))
        }
        _ => return Ok(Rtcp::Unknown { packet_type, format }),
    };
    parsed.ok_or(RtcpError::Malformed(kind))
}
