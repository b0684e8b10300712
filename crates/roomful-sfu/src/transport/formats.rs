//! The formats of one m-line part of a description, by payload type: read from its text, and written back with some left
//! out or in another order.

use crate::codecs::Codec;

/// See the module text. Payload types are kept as they are spelled.
pub(super) struct Formats<'a> {
    part: &'a str,
    is_audio: bool,
    /// As the m-line lists them.
    listed: Vec<&'a str>,
    /// `a=rtpmap`: payload type and encoding name.
    names: Vec<(&'a str, &'a str)>,
    /// `a=fmtp` with `apt`: payload type, and that of what it repairs (RFC 4588 §8.1).
    repairs: Vec<(&'a str, &'a str)>,
}

/// Session part and m-line parts of a description, each with its line ends.
pub(super) fn parts(sdp: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(sdp.match_indices("\nm=").map(|(at, _)| at + 1));
    let starts: Vec<usize> = starts.chain([sdp.len()]).collect();
    (0..starts.len() - 1).filter_map(move |at| sdp.get(*starts.get(at)?..*starts.get(at + 1)?))
}

impl<'a> Formats<'a> {
    /// Reads a part; one that is no m-line part lists nothing.
    pub(super) fn read(part: &'a str) -> Self {
        let media = part.lines().next().and_then(|line| line.strip_prefix("m="));
        let media = media.unwrap_or_default().trim_end();
        let about = |prefix| {
            part.lines()
                .filter_map(move |line| line.trim_end().strip_prefix(prefix)?.split_once(' '))
        };
        let apt = |parameters: &'a str| {
            parameters.split(';').find_map(|pair| pair.trim().strip_prefix("apt="))
        };
        Self {
            part,
            is_audio: media.starts_with("audio "),
            listed: media.split(' ').skip(3).collect(),
            names: about("a=rtpmap:")
                .map(|(payload_type, name)| (payload_type, name.split('/').next().unwrap_or(name)))
                .collect(),
            repairs: about("a=fmtp:")
                .filter_map(|(payload_type, parameters)| Some((payload_type, apt(parameters)?)))
                .collect(),
        }
    }

    /// The payload types it lists, in their order.
    pub(super) fn listed(&self) -> &[&'a str] {
        &self.listed
    }

    /// The codec that a payload type, or what it repairs, stands for.
    pub(super) fn codec(&self, payload_type: &str) -> Option<Codec> {
        let found = |pairs: &[(&str, &'a str)], of| {
            pairs.iter().find(|(one, _)| *one == of).map(|(_, is)| *is)
        };
        let payload_type = found(&self.repairs, payload_type).unwrap_or(payload_type);
        let codec = match (found(&self.names, payload_type), payload_type) {
            (Some(name), _) => Codec::of_name(name),
            // They mean this without being named (RFC 3551 §6).
            (None, "0") => Some(Codec::Pcmu),
            (None, "8") => Some(Codec::Pcma),
            (None, _) => None,
        };
        codec.filter(|codec| codec.is_audio() == self.is_audio)
    }

    /// Writes the part with these formats, and nothing about the others it lists.
    pub(super) fn write(&self, formats: &[&str], out: &mut String) {
        let is_left_out = |payload_type: &str| {
            self.listed.contains(&payload_type) && !formats.contains(&payload_type)
        };
        for line in self.part.split_inclusive('\n') {
            match line.strip_prefix("m=") {
                Some(media) => {
                    let head = media.trim_end().split(' ').take(3);
                    let words: Vec<&str> = head.chain(formats.iter().copied()).collect();
                    out.push_str("m=");
                    out.push_str(&words.join(" "));
                    out.push_str("\r\n");
                }
                None if payload_type_of(line).is_some_and(is_left_out) => {}
                None => out.push_str(line),
            }
        }
    }
}

/// Adds `parameters` to those of Opus in a part, each of which begins with a semicolon. Where Opus has none, nothing is
/// added: no client of LiveKit's offers it so.
pub(super) fn add_to_opus(part: &str, parameters: &str) -> String {
    let formats = Formats::read(part);
    let is_opus = |line: &str| {
        let payload_type = payload_type_of(line).filter(|_| line.starts_with("a=fmtp:"));
        payload_type.is_some_and(|one| formats.codec(one) == Some(Codec::Opus))
    };
    let mut changed = String::with_capacity(part.len() + parameters.len());
    for line in part.split_inclusive('\n') {
        if !parameters.is_empty() && is_opus(line) {
            changed.push_str(line.trim_end());
            changed.push_str(parameters);
            changed.push_str("\r\n");
        } else {
            changed.push_str(line);
        }
    }
    changed
}

/// The payload type that an attribute is about.
fn payload_type_of(line: &str) -> Option<&str> {
    let about = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
    let rest = about.iter().find_map(|prefix| line.strip_prefix(prefix))?;
    rest.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0 8\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 minptime=10\r\na=rtcp-fb:111 transport-cc\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n";

    fn written(part: &str, formats: &[&str]) -> String {
        let mut out = String::new();
        Formats::read(part).write(formats, &mut out);
        out
    }

    #[test]
    fn formats_are_known_by_name_and_by_number_in_parts_of_their_kind() {
        let formats = Formats::read(AUDIO);
        assert_eq!(formats.listed(), ["111", "63", "0", "8"]);
        let codecs: Vec<_> = formats.listed().iter().map(|one| formats.codec(one)).collect();
        let expected = [Codec::Opus, Codec::Red, Codec::Pcmu, Codec::Pcma].map(Some);
        assert_eq!(codecs, expected);
        let video = "m=video 9 X 96 97 116\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
            a=fmtp:97 apt=96;rtx-time=3000\r\na=rtpmap:116 red/90000\r\n";
        let formats = Formats::read(video);
        let codecs: Vec<_> = formats.listed().iter().map(|one| formats.codec(one)).collect();
        assert_eq!(codecs, [Some(Codec::Vp8), Some(Codec::Vp8), None], "red is for sound");
    }

    #[test]
    fn what_is_left_out_is_gone_with_all_that_is_said_of_it() {
        let left = written(AUDIO, &["0", "111"]);
        assert!(left.starts_with("m=audio 9 UDP/TLS/RTP/SAVPF 0 111\r\na=mid:0\r\n"), "{left}");
        assert!(!left.contains(":63"), "{left}");
        assert_eq!(written(AUDIO, &["111", "63", "0", "8"]), AUDIO);
    }

    #[test]
    fn parameters_are_added_to_opus_alone() {
        let changed = add_to_opus(AUDIO, ";stereo=1");
        assert_eq!(changed, AUDIO.replace("minptime=10", "minptime=10;stereo=1"));
    }

    #[test]
    fn parts_put_together_are_the_whole() {
        let sdp = ["v=0\r\n", AUDIO, "m=video 9\r\n"].concat();
        assert_eq!(parts(&sdp).collect::<Vec<_>>(), ["v=0\r\n", AUDIO, "m=video 9\r\n"]);
        assert_eq!(parts("").collect::<String>(), "");
        assert_eq!(written("v=0\r\ns=-\r\n", &[]), "v=0\r\ns=-\r\n");
    }
}
