//! How a participant is to send in a section: which codec the answer prefers, and what it says of sound.
//!
//! Browsers send in the first codec of an answer, and LiveKit's browser client leaves the choice to that: what a track
//! is announced in is what its section is answered with first.

use std::collections::BTreeMap;

use super::Section;
use super::formats::{Formats, add_to_opus, parts};
use crate::codecs::Codec;

/// See the module text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SentAs {
    /// The codec that comes first, if it was agreed on.
    pub(crate) codec: Option<Codec>,
    /// No other is left: its client takes any.
    pub(crate) alone: bool,
    /// Opus with two channels.
    pub(crate) stereo: bool,
    /// Opus that sends little while nobody talks.
    pub(crate) silence: bool,
}

/// `answer` with the formats of each section in the order of `offer`, as RFC 3264 §6.1 recommends.
pub(super) fn in_order_of(offer: &str, answer: &str) -> String {
    let mut ordered = String::with_capacity(answer.len());
    let mut offered = parts(offer);
    for part in parts(answer) {
        let formats = Formats::read(part);
        let wanted = Formats::read(offered.next().unwrap_or_default());
        let place = |one: &&str| wanted.listed().iter().position(|other| other == one);
        let mut listed = formats.listed().to_vec();
        listed.sort_by_key(|one| place(one).unwrap_or(usize::MAX));
        formats.write(&listed, &mut ordered);
    }
    ordered
}

/// `answer` with the preferences of each of these sections.
pub(super) fn prefer(answer: &str, sent: &BTreeMap<Section, SentAs>) -> String {
    let mut parts = parts(answer);
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        match sent.get(&Section::from_index(index)) {
            Some(sent) => changed.push_str(&sent.apply(part)),
            None => changed.push_str(part),
        }
    }
    changed
}

impl SentAs {
    fn apply(self, part: &str) -> String {
        let formats = Formats::read(part);
        let is_first = |one: &&str| self.codec.is_some() && formats.codec(one) == self.codec;
        let (mut listed, others): (Vec<&str>, Vec<&str>) =
            formats.listed().iter().copied().partition(is_first);
        if listed.is_empty() || !self.alone {
            listed.extend(others);
        }
        let mut changed = String::with_capacity(part.len());
        formats.write(&listed, &mut changed);
        add_to_opus(&changed, &self.parameters())
    }

    /// For Opus (RFC 7587 §6.1). Two channels get as much as they need, which no other line would say.
    fn parameters(self) -> String {
        let silence = if self.silence { ";usedtx=1" } else { "" };
        let stereo = if self.stereo { ";stereo=1;maxaveragebitrate=510000" } else { "" };
        [silence, stereo].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\nm=audio 9 X 8 111 63\r\nm=video 9 X 98 99 96 97\r\n";
    const ANSWER: &str = "v=0\r\nm=audio 9 X 63 111 8\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n\
        m=video 9 X 96 97 98 99\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:98 VP9/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n";

    fn media(sdp: &str) -> Vec<&str> {
        sdp.lines().filter_map(|line| line.strip_prefix("m=")).collect()
    }

    fn preferred(sent: SentAs) -> String {
        let sent = BTreeMap::from([0, 1].map(|index| (Section::from_index(index), sent)));
        prefer(ANSWER, &sent)
    }

    #[test]
    fn an_answer_lists_what_was_offered_in_the_order_offered() {
        let ordered = in_order_of(OFFER, ANSWER);
        assert_eq!(media(&ordered), ["audio 9 X 8 111 63", "video 9 X 98 99 96 97"]);
        assert_eq!(ordered.len(), ANSWER.len());
        assert_eq!(in_order_of("", ANSWER), ANSWER);
    }

    #[test]
    fn the_codec_of_a_track_comes_first_with_its_retransmissions() {
        let answer = preferred(SentAs { codec: Some(Codec::Vp9), ..SentAs::default() });
        assert_eq!(media(&answer), ["audio 9 X 63 111 8", "video 9 X 98 99 96 97"]);
        let answer = preferred(SentAs { codec: Some(Codec::Opus), ..SentAs::default() });
        assert_eq!(media(&answer)[0], "audio 9 X 111 63 8", "redundancy behind it is not used");
    }

    #[test]
    fn whoever_takes_any_codec_gets_one() {
        let alone = SentAs { codec: Some(Codec::Vp9), alone: true, ..SentAs::default() };
        let answer = preferred(alone);
        assert_eq!(media(&answer), ["audio 9 X 63 111 8", "video 9 X 98 99"]);
        assert!(!answer.contains(":96") && !answer.contains(":97"), "{answer}");
    }

    #[test]
    fn two_channels_and_silence_are_said_to_opus() {
        let answer = preferred(SentAs { stereo: true, silence: true, ..SentAs::default() });
        let said = "a=fmtp:111 minptime=10;usedtx=1;stereo=1;maxaveragebitrate=510000\r\n";
        assert!(answer.contains(said), "{answer}");
        assert_eq!(preferred(SentAs::default()), ANSWER);
    }
}
