//! Finishing an answer: which section forwards which publication, under which SSRCs.
//!
//! `str0m` is told that nothing is received anywhere ([`without_receiving`]), so that it keeps no streams; here the sections
//! that do carry a publication become sending ones, with the stream label by which LiveKit clients find it. The others stay
//! inactive, so that a browser raises a track only where a publication begins.

use std::collections::BTreeMap;

use super::formats::add_to_opus;
use super::negotiated::OutgoingSsrcs;

/// The media stream and track a section is labelled with (RFC 8830).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamLabel {
    /// `participant sid|track sid`: how LiveKit clients learn whose track it is.
    pub(crate) stream: String,
    /// The track sid.
    pub(crate) track: String,
    /// The publisher's name in reports about the stream (CNAME, RFC 8834 §4.9).
    pub(crate) cname: String,
    /// It is sound of two channels.
    pub(crate) stereo: bool,
}

impl StreamLabel {
    /// Whether both name one stream, whatever is said of it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.stream, &self.track) == (&other.stream, &other.track)
    }

    /// A section that sends it, with what its receiver has to know of its sound (RFC 7587 §6.1).
    pub(super) fn described(&self, section: &str) -> String {
        add_to_opus(section, if self.stereo { ";sprop-stereo=1" } else { "" })
    }
}

/// What is to become of a section in which the participant can receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receiving {
    /// The participant sends there, too.
    pub(super) sends: bool,
    /// What it receives there, if anything.
    pub(super) stream: Option<(StreamLabel, OutgoingSsrcs)>,
}

/// An offer as if the participant wanted to receive nothing.
pub(super) fn without_receiving(offer: &str) -> String {
    let mut changed = String::with_capacity(offer.len());
    for line in offer.split_inclusive('\n') {
        match line.trim_end() {
            "a=recvonly" => push_line(&mut changed, "a=inactive"),
            "a=sendrecv" => push_line(&mut changed, "a=sendonly"),
            _ => changed.push_str(line),
        }
    }
    changed
}

/// Rewrites `sdp`, the answer to such an offer: each mid in `receiving` sends what it says.
pub(super) fn finish_sections(sdp: &str, receiving: &BTreeMap<String, Receiving>) -> String {
    let mut answer = String::with_capacity(sdp.len());
    let (session, sections) = split_sections(sdp);
    answer.push_str(session);
    for section in sections {
        match mid_of(section).and_then(|mid| receiving.get(mid)) {
            Some(receiving) => finish(section, receiving, &mut answer),
            None => answer.push_str(section),
        }
    }
    answer
}

/// Session part and m-line parts, each with its line ends.
pub(super) fn split_sections(sdp: &str) -> (&str, Vec<&str>) {
    let mut starts: Vec<usize> = sdp.match_indices("\nm=").map(|(at, _)| at + 1).collect();
    let session = &sdp[..starts.first().copied().unwrap_or(sdp.len())];
    starts.push(sdp.len());
    (session, starts.windows(2).map(|pair| &sdp[pair[0]..pair[1]]).collect())
}

fn mid_of(section: &str) -> Option<&str> {
    section.lines().find_map(|line| line.trim_end().strip_prefix("a=mid:"))
}

fn finish(section: &str, receiving: &Receiving, answer: &mut String) {
    let direction = match (&receiving.stream, receiving.sends) {
        (Some(_), true) => "a=sendrecv",
        (Some(_), false) => "a=sendonly",
        (None, true) => "a=recvonly",
        (None, false) => "a=inactive",
    };
    let label = receiving.stream.as_ref().map(|(label, _)| label);
    let section = label.map_or_else(|| section.to_owned(), |label| label.described(section));
    for line in section.split_inclusive('\n') {
        match line.trim_end() {
            "a=sendonly" | "a=sendrecv" | "a=recvonly" | "a=inactive" => {
                push_line(answer, direction)
            }
            text if text.starts_with("a=msid:") || text.starts_with("a=ssrc") => {}
            _ => answer.push_str(line),
        }
    }
    if let Some((label, ssrcs)) = &receiving.stream {
        announce(label, *ssrcs, answer);
    }
}

/// The stream's name (RFC 8830) and SSRCs (RFC 5576).
pub(super) fn announce(label: &StreamLabel, ssrcs: OutgoingSsrcs, answer: &mut String) {
    let StreamLabel { stream, track, cname, .. } = label;
    push_line(answer, &format!("a=msid:{stream} {track}"));
    if let Some(repair) = ssrcs.repair {
        push_line(answer, &format!("a=ssrc-group:FID {} {repair}", ssrcs.media));
    }
    for ssrc in std::iter::once(ssrcs.media).chain(ssrcs.repair) {
        push_line(answer, &format!("a=ssrc:{ssrc} cname:{cname}"));
        push_line(answer, &format!("a=ssrc:{ssrc} msid:{stream} {track}"));
    }
}

pub(super) fn push_line(answer: &mut String, text: &str) {
    answer.push_str(text);
    answer.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=inactive\r\na=msid:x y\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\n";

    fn stream() -> (StreamLabel, OutgoingSsrcs) {
        let label = StreamLabel {
            stream: "PA_a|TR_b".into(),
            track: "TR_b".into(),
            cname: "PA_a".into(),
            stereo: false,
        };
        (label, OutgoingSsrcs { media: 7, repair: Some(8) })
    }

    fn finished(mid: &str, sends: bool, stream: Option<(StreamLabel, OutgoingSsrcs)>) -> String {
        finish_sections(ANSWER, &BTreeMap::from([(mid.into(), Receiving { sends, stream })]))
    }

    #[test]
    fn a_section_with_a_publication_sends_it_under_its_label() {
        let answer = finished("0", false, Some(stream()));
        let audio = &answer[..answer.find("m=video").unwrap()];
        for line in [
            "a=sendonly",
            "a=msid:PA_a|TR_b TR_b",
            "a=ssrc-group:FID 7 8",
            "a=ssrc:7 cname:PA_a",
            "a=ssrc:8 msid:PA_a|TR_b TR_b",
        ] {
            assert!(audio.contains(&format!("{line}\r\n")), "{line}");
        }
        assert!(!audio.contains("msid:x"));
    }

    #[test]
    fn sound_of_two_channels_is_said_to_be_so() {
        let (label, ssrcs) = stream();
        let stereo = Some((StreamLabel { stereo: true, ..label }, ssrcs));
        let opus = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=mid:0\r\n";
        let answer = ANSWER.replace("a=mid:0\r\n", opus);
        let receiving = |stream| BTreeMap::from([("0".into(), Receiving { sends: false, stream })]);
        let says =
            |stream| finish_sections(&answer, &receiving(stream)).contains(";sprop-stereo=1");
        assert!(says(stereo) && !says(Some(stream())) && !says(None));
    }

    #[test]
    fn a_spare_section_is_inactive_and_announces_nothing() {
        let answer = finished("0", false, None);
        assert!(answer.contains("a=inactive\r\n"));
        assert!(!answer.contains("msid:") && !answer.contains("a=ssrc"));
    }

    #[test]
    fn a_section_may_carry_something_both_ways() {
        assert!(finished("1", true, Some(stream())).contains("a=mid:1\r\na=sendrecv\r\n"));
        assert!(finished("1", true, None).contains("a=mid:1\r\na=recvonly\r\n"));
    }

    #[test]
    fn sections_that_are_not_named_stay_as_they_are() {
        assert_eq!(finish_sections(ANSWER, &BTreeMap::new()), ANSWER);
    }

    #[test]
    fn an_offer_without_receiving_keeps_what_it_sends() {
        let offer = "m=a\r\na=recvonly\r\nm=b\r\na=sendrecv\r\nm=c\r\na=sendonly\r\n";
        let changed = "m=a\r\na=inactive\r\nm=b\r\na=sendonly\r\nm=c\r\na=sendonly\r\n";
        assert_eq!(without_receiving(offer), changed);
    }
}
