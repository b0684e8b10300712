//! Codecs that are not to be agreed on: an offer as if its sender did not know them.
//!
//! What nobody answers is never sent (RFC 3264 §6.1), so a room's choice of codecs holds whatever a client was told.

use std::borrow::Cow;

use crate::codecs::{AllowedCodecs, Codec, EnabledCodecs};

/// `offer` without the codecs that are not allowed: in sections in which the participant sends, those it may not publish
/// with, elsewhere those it is not to receive. Codecs this server does not know are left to whoever answers.
pub(super) fn without_codecs<'a>(offer: &'a str, allowed: &AllowedCodecs) -> Cow<'a, str> {
    if *allowed == AllowedCodecs::default() {
        return Cow::Borrowed(offer);
    }
    let mut changed = String::with_capacity(offer.len());
    for part in parts(offer) {
        push_allowed(part, allowed, &mut changed);
    }
    Cow::Owned(changed)
}

/// The session part and each m-line part, with their line ends.
fn parts(sdp: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(sdp.match_indices("\nm=").map(|(at, _)| at + 1))
        .chain([sdp.len()])
        .collect();
    let bounds: Vec<(usize, usize)> =
        starts.iter().copied().zip(starts.iter().copied().skip(1)).collect();
    bounds.into_iter().filter_map(move |(from, to)| sdp.get(from..to))
}

fn push_allowed(part: &str, allowed: &AllowedCodecs, changed: &mut String) {
    let sends = part.lines().map(str::trim_end);
    let sends = sends.clone().any(|line| line == "a=sendonly" || line == "a=sendrecv")
        || !sends.clone().any(|line| line == "a=recvonly" || line == "a=inactive");
    let enabled = if sends { &allowed.publishing } else { &allowed.receiving };
    let unwanted = unwanted(part, enabled);
    let mut only = None;
    for line in part.split_inclusive('\n') {
        match line.strip_prefix("m=") {
            Some(media) => only = push_media_line(media, &unwanted, changed),
            None if payload_type_of(line).is_some_and(|one| unwanted.contains(&one)) => {}
            None => changed.push_str(line),
        }
    }
    if let Some(only) = only {
        changed.push_str(&format!("a=rtpmap:{only} {NOTHING}\r\n"));
    }
}

/// A codec that nobody knows.
const NOTHING: &str = "unwanted/90000";

/// The payload types of codecs that are not `enabled`, and of their retransmissions.
fn unwanted<'a>(part: &'a str, enabled: &EnabledCodecs) -> Vec<&'a str> {
    let mut unwanted: Vec<&str> = Vec::new();
    for mapping in part.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")) {
        let Some((payload_type, name)) = mapping.split_once(' ') else { continue };
        let name = name.split('/').next().unwrap_or_default();
        if Codec::of_name(name).is_some_and(|codec| !enabled.contains(codec)) {
            unwanted.push(payload_type);
        }
    }
    let repairs = part.lines().filter_map(|line| line.trim_end().strip_prefix("a=fmtp:"));
    let repairs: Vec<&str> = repairs
        .filter_map(|line| line.split_once(" apt="))
        .filter(|(_, of)| unwanted.contains(of))
        .map(|(payload_type, _)| payload_type)
        .collect();
    unwanted.extend(repairs);
    unwanted
}

/// The payload type that an attribute is about.
fn payload_type_of(line: &str) -> Option<&str> {
    let about = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
    let rest = about.iter().find_map(|prefix| line.strip_prefix(prefix))?;
    rest.split(' ').next()
}

/// An m-line without payload types that are not wanted. So that it stays an m-line, one is kept where all are unwanted; it
/// is returned, and has to stand for nothing.
fn push_media_line<'a>(media: &'a str, unwanted: &[&str], changed: &mut String) -> Option<&'a str> {
    let words: Vec<&str> = media.trim_end().split(' ').collect();
    let (head, formats) = words.split_at(words.len().min(3));
    let mut kept: Vec<&str> =
        formats.iter().copied().filter(|one| !unwanted.contains(one)).collect();
    let only = formats.first().copied().filter(|_| kept.is_empty());
    kept.extend(only);
    let line: Vec<&str> = head.iter().copied().chain(kept).collect();
    changed.push_str("m=");
    changed.push_str(&line.join(" "));
    changed.push_str("\r\n");
    only
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::DisabledCodecs;

    const OFFER: &str = "v=0\r\ns=-\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 116\r\na=mid:1\r\na=sendonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1\r\na=rtcp-fb:102 nack\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:116 red/90000\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 102\r\na=mid:2\r\na=recvonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n";

    fn left(enabled: EnabledCodecs, disabled: DisabledCodecs) -> Vec<String> {
        let changed = without_codecs(OFFER, &AllowedCodecs::new(&enabled, &disabled)).into_owned();
        assert_eq!(changed.lines().filter(|line| line.contains("a=mid:")).count(), 3);
        changed.lines().filter(|line| line.starts_with("m=video")).map(str::to_owned).collect()
    }

    #[test]
    fn codecs_that_are_not_allowed_are_gone_with_all_that_is_said_of_them() {
        let h264_cannot_be_sent =
            DisabledCodecs { publishing: vec![Codec::H264], ..DisabledCodecs::default() };
        let left = left(EnabledCodecs::default(), h264_cannot_be_sent.clone());
        assert_eq!(left[0], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 116");
        assert_eq!(left[1], "m=video 9 UDP/TLS/RTP/SAVPF 96 102", "it may be received");
        let allowed = AllowedCodecs::new(&EnabledCodecs::default(), &h264_cannot_be_sent);
        let changed = without_codecs(OFFER, &allowed).into_owned();
        let sent = changed.split("a=mid:2").next().unwrap();
        assert!(!sent.contains("H264") && !sent.contains(":102") && !sent.contains(":103"));
        assert!(sent.contains("a=rtcp-fb:96 nack pli\r\n"));
    }

    #[test]
    fn what_a_room_does_not_allow_is_neither_sent_nor_received() {
        let left = left(EnabledCodecs::new([Codec::H264]), DisabledCodecs::default());
        assert_eq!(left[0], "m=video 9 UDP/TLS/RTP/SAVPF 102 103 116");
        assert_eq!(left[1], "m=video 9 UDP/TLS/RTP/SAVPF 102");
    }

    #[test]
    fn a_section_of_nothing_but_what_is_not_allowed_stays_a_section() {
        let enabled = EnabledCodecs::new([Codec::Av1]);
        let left = left(enabled.clone(), DisabledCodecs::default());
        assert_eq!(left[1], "m=video 9 UDP/TLS/RTP/SAVPF 96");
        let allowed = AllowedCodecs::new(&enabled, &DisabledCodecs::default());
        let changed = without_codecs(OFFER, &allowed).into_owned();
        assert!(changed.ends_with("a=recvonly\r\na=rtpmap:96 unwanted/90000\r\n"), "{changed}");
    }

    #[test]
    fn where_everything_is_allowed_nothing_changes() {
        let changed = without_codecs(OFFER, &AllowedCodecs::default());
        assert!(matches!(changed, Cow::Borrowed(text) if text == OFFER));
    }

    #[test]
    fn nonsense_passes_as_it_is() {
        let some =
            AllowedCodecs::new(&EnabledCodecs::new([Codec::Vp8]), &DisabledCodecs::default());
        for text in ["", "\n", "a=rtpmap:\r\n", "m=\r\n", "v=0\r\nm=video\r\na=rtpmap:9 H264/1\r\n"]
        {
            without_codecs(text, &some);
        }
    }
}
