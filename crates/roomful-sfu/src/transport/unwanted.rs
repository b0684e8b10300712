//! Codecs that are not to be agreed on: an offer as if its sender did not know them.
//!
//! What nobody answers is never sent (RFC 3264 §6.1), so a room's choice of codecs holds whatever a client was told.

use std::borrow::Cow;

use super::formats::{Formats, parts};
use crate::codecs::{AllowedCodecs, EnabledCodecs};

/// `offer` without the codecs that are not allowed: in sections in which the participant sends, those it may not publish
/// with, elsewhere those it is not to receive. Codecs this server does not know are left to whoever answers.
pub(super) fn without_codecs<'a>(offer: &'a str, allowed: &AllowedCodecs) -> Cow<'a, str> {
    let sends = |part: &str| {
        let mut lines = part.lines().map(str::trim_end);
        !lines.any(|line| line == "a=recvonly" || line == "a=inactive")
    };
    left(offer, allowed, sends)
}

/// The same of the answer to an offer that was read as if its sender received nothing: what it can receive is inactive. No
/// section may be left without any codec.
pub(super) fn without_codecs_answered<'a>(
    answer: &'a str,
    allowed: &AllowedCodecs,
) -> Cow<'a, str> {
    let sends = |part: &str| part.lines().any(|line| line.trim_end() == "a=recvonly");
    left(answer, allowed, sends)
}

fn left<'a>(sdp: &'a str, allowed: &AllowedCodecs, sends: impl Fn(&str) -> bool) -> Cow<'a, str> {
    if *allowed == AllowedCodecs::default() {
        return Cow::Borrowed(sdp);
    }
    let mut changed = String::with_capacity(sdp.len());
    for part in parts(sdp) {
        let enabled = if sends(part) { &allowed.publishing } else { &allowed.receiving };
        push_allowed(part, enabled, &mut changed);
    }
    Cow::Owned(changed)
}

/// So that an m-line stays one, a payload type is kept where none is wanted, and stands for nothing.
fn push_allowed(part: &str, enabled: &EnabledCodecs, changed: &mut String) {
    let formats = Formats::read(part);
    let is_allowed = |one: &&str| formats.codec(one).is_none_or(|codec| enabled.contains(codec));
    let kept: Vec<&str> = formats.listed().iter().copied().filter(is_allowed).collect();
    match formats.listed().first().filter(|_| kept.is_empty()) {
        Some(only) => {
            let mut emptied = String::new();
            formats.write(&[], &mut emptied);
            let (media, rest) = emptied.split_once("\r\n").unwrap_or((&emptied, ""));
            changed.push_str(&format!("{media} {only}\r\n{rest}a=rtpmap:{only} {NOTHING}\r\n"));
        }
        None => formats.write(&kept, changed),
    }
}

/// A codec that nobody knows.
const NOTHING: &str = "unwanted/90000";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::{Codec, DisabledCodecs};

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
