//! What an SDP offer, or an answer, says about its sections, as far as forwarding cares (RFC 8866, RFC 8829).
//!
//! `str0m` negotiates; this reads the few attributes it keeps to itself: which track a section carries
//! and which encodings, lowest first.

use crate::transport::Section;

/// One m-line of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedSection {
    /// Its place among the m-lines.
    pub(crate) section: Section,
    /// `a=mid` (RFC 5888).
    pub(crate) mid: String,
    /// Audio, video or data.
    pub(crate) kind: SectionKind,
    /// It is not to be used (its port is 0, RFC 3264 §6).
    pub(crate) is_rejected: bool,
    /// The participant sends here (`sendonly`, `sendrecv`).
    pub(crate) sends: bool,
    /// The participant can receive here (`recvonly`, `sendrecv`).
    pub(crate) receives: bool,
    /// The track part of `a=msid` (RFC 8830): the id the participant gave its track.
    pub(crate) track: Option<String>,
    /// Encodings it sends, lowest quality first; empty without simulcast (RFC 8853).
    pub(crate) rids: Vec<String>,
}

/// What a section carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SectionKind {
    Audio,
    Video,
    Data,
}

/// Reads the sections of an offer. Unknown lines are passed over: `str0m` judges the whole.
pub(crate) fn read_sections(sdp: &str) -> Vec<OfferedSection> {
    let mut sections: Vec<OfferedSection> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            sections.push(OfferedSection::new(sections.len(), media));
        } else if let (Some(section), Some(attribute)) =
            (sections.last_mut(), line.strip_prefix("a="))
        {
            section.read_attribute(attribute);
        }
    }
    for section in &mut sections {
        order_rids(&mut section.rids);
    }
    sections
}

impl OfferedSection {
    fn new(index: usize, media: &str) -> Self {
        let kind = match media.split(' ').next() {
            Some("audio") => SectionKind::Audio,
            Some("video") => SectionKind::Video,
            _ => SectionKind::Data,
        };
        // Without a direction attribute media flows both ways (RFC 8866 §6.7).
        let media_section = kind != SectionKind::Data;
        Self {
            section: Section::from_index(index),
            mid: String::new(),
            kind,
            is_rejected: media.split(' ').nth(1) == Some("0"),
            sends: media_section,
            receives: media_section,
            track: None,
            rids: Vec::new(),
        }
    }

    fn read_attribute(&mut self, attribute: &str) {
        match attribute.split_once(':') {
            Some(("mid", mid)) => self.mid = mid.to_owned(),
            Some(("msid", ids)) => {
                self.track = ids.split(' ').nth(1).filter(|id| !id.is_empty()).map(str::to_owned);
            }
            Some(("simulcast", value)) => self.rids = simulcast_send_rids(value),
            Some(_) => {}
            None => self.read_direction(attribute),
        }
    }

    fn read_direction(&mut self, attribute: &str) {
        let (sends, receives) = match attribute {
            "sendrecv" => (true, true),
            "sendonly" => (true, false),
            "recvonly" => (false, true),
            "inactive" => (false, false),
            _ => return,
        };
        (self.sends, self.receives) = (sends, receives);
    }
}

/// The rids of `a=simulcast:send q;h;f`. Of alternatives (`h,h2`) the first counts; a paused one (`~h`)
/// is still an encoding.
fn simulcast_send_rids(value: &str) -> Vec<String> {
    let mut words = value.split_whitespace();
    while let Some(word) = words.next() {
        if word == "send" {
            let rids = words.next().unwrap_or_default().split(';');
            return rids
                .filter_map(|alternatives| alternatives.split(',').next())
                .map(|rid| rid.trim_start_matches('~').to_owned())
                .filter(|rid| !rid.is_empty())
                .collect();
        }
    }
    Vec::new()
}

/// Firefox may list encodings in another order than their sizes; LiveKit's clients name theirs
/// q(uarter), h(alf), f(ull), so known names are put in order and unknown ones keep theirs.
fn order_rids(rids: &mut [String]) {
    let rank = |rid: &str| ["q", "h", "f"].iter().position(|known| *known == rid);
    if rids.iter().all(|rid| rank(rid).is_some()) {
        rids.sort_by_key(|rid| rank(rid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=msid:stream-a track-b\r\na=sendonly\r\n\
        a=rid:f send\r\na=rid:q send\r\na=simulcast:send f;~q\r\n";

    #[test]
    fn sections_are_read_in_order_with_kind_direction_and_track() {
        let sections = read_sections(OFFER);
        assert_eq!(sections.len(), 3);
        assert_eq!(sections[0].kind, SectionKind::Data);
        assert!(!sections[0].sends && !sections[0].receives);
        assert!(!sections[1].sends && sections[1].receives);
        assert_eq!(sections[2].track.as_deref(), Some("track-b"));
        assert!(sections[2].sends && !sections[2].receives);
    }

    #[test]
    fn encodings_come_lowest_first_whatever_the_order_offered() {
        assert_eq!(read_sections(OFFER)[2].rids, ["q", "f"]);
        assert_eq!(simulcast_send_rids("recv a send x,y;z"), ["x", "z"]);
    }

    #[test]
    fn text_that_is_no_sdp_has_no_sections() {
        assert!(read_sections("").is_empty());
        assert!(read_sections("a=mid:1\r\nnonsense\r\na=sendonly").is_empty());
        assert_eq!(read_sections("m=\r\na=msid:\r\na=simulcast:send").len(), 1);
    }
}
