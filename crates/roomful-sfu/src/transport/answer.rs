//! Finishing an answer: which section forwards which publication.
//!
//! `str0m` answers every receiving section of an offer as sending. Most of them are spare: those are
//! made inactive, so that the browser raises a track only where a publication begins, and the others get
//! the stream label by which LiveKit clients find the publication.

use std::collections::BTreeMap;

/// The media stream and track a section is labelled with (RFC 8830).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamLabel {
    /// `participant sid|track sid`: how LiveKit clients learn whose track it is.
    pub(crate) stream: String,
    /// The track sid.
    pub(crate) track: String,
}

/// Rewrites `sdp`: each mid in `receiving` is labelled, or made inactive where it has no label.
pub(crate) fn label_sections(
    sdp: &str,
    receiving: &BTreeMap<String, Option<StreamLabel>>,
) -> String {
    let mut answer = String::with_capacity(sdp.len());
    let (session, sections) = split_sections(sdp);
    answer.push_str(session);
    for section in sections {
        match mid_of(section).and_then(|mid| receiving.get(mid)) {
            Some(Some(label)) => relabel(section, label, &mut answer),
            Some(None) => silence(section, &mut answer),
            None => answer.push_str(section),
        }
    }
    answer
}

/// Session part and m-line parts, each with its line ends.
fn split_sections(sdp: &str) -> (&str, Vec<&str>) {
    let mut starts: Vec<usize> = sdp.match_indices("\nm=").map(|(at, _)| at + 1).collect();
    let session = &sdp[..starts.first().copied().unwrap_or(sdp.len())];
    starts.push(sdp.len());
    (session, starts.windows(2).map(|pair| &sdp[pair[0]..pair[1]]).collect())
}

fn mid_of(section: &str) -> Option<&str> {
    section.lines().find_map(|line| line.trim_end().strip_prefix("a=mid:"))
}

fn relabel(section: &str, label: &StreamLabel, answer: &mut String) {
    for line in section.split_inclusive('\n') {
        let text = line.trim_end();
        if text.starts_with("a=msid:") {
            push_line(answer, &format!("a=msid:{} {}", label.stream, label.track));
        } else if let Some((head, _)) = text.split_once(" msid:")
            && head.starts_with("a=ssrc:")
        {
            push_line(answer, &format!("{head} msid:{} {}", label.stream, label.track));
        } else {
            answer.push_str(line);
        }
    }
}

fn silence(section: &str, answer: &mut String) {
    for line in section.split_inclusive('\n') {
        match line.trim_end() {
            "a=sendonly" => push_line(answer, "a=inactive"),
            "a=sendrecv" => push_line(answer, "a=recvonly"),
            text if text.starts_with("a=msid:") || text.starts_with("a=ssrc") => {}
            _ => answer.push_str(line),
        }
    }
}

fn push_line(answer: &mut String, text: &str) {
    answer.push_str(text);
    answer.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=msid:x y\r\n\
        a=ssrc:1 cname:c\r\na=ssrc:1 msid:x y\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=msid:x y\r\n";

    #[test]
    fn a_section_with_a_publication_is_labelled_with_it() {
        let label = StreamLabel { stream: "PA_a|TR_b".into(), track: "TR_b".into() };
        let answer = label_sections(ANSWER, &BTreeMap::from([("0".into(), Some(label))]));
        assert!(answer.contains("a=msid:PA_a|TR_b TR_b\r\n"));
        assert!(answer.contains("a=ssrc:1 msid:PA_a|TR_b TR_b\r\n"));
        assert!(answer.contains("a=sendonly"));
    }

    #[test]
    fn a_spare_section_is_inactive_and_announces_nothing() {
        let answer = label_sections(ANSWER, &BTreeMap::from([("0".into(), None)]));
        let audio = &answer[..answer.find("m=video").unwrap()];
        assert!(audio.contains("a=inactive\r\n"));
        assert!(!audio.contains("msid:") && !audio.contains("a=ssrc"));
    }

    #[test]
    fn sections_that_are_not_named_stay_as_they_are() {
        assert_eq!(label_sections(ANSWER, &BTreeMap::new()), ANSWER);
    }
}
