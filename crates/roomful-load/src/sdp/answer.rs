//! Answering an offer: yes to everything, receiving only.

use std::net::SocketAddr;

use crate::ice::Credentials;

/// The text of an answer that receives everything `offer` sends. `own` is where this side can be reached.
pub(crate) fn write_answer(
    offer: &str,
    local: &Credentials,
    fingerprint: &str,
    own: SocketAddr,
) -> String {
    let mut sections = offer.split("\nm=");
    let session = sections.next().unwrap_or_default();
    let mut answer = String::with_capacity(offer.len());
    let mut line = |text: &str| {
        answer.push_str(text);
        answer.push_str("\r\n");
    };
    line("v=0");
    line("o=- 4611731400430051337 1 IN IP4 127.0.0.1");
    line("s=-");
    line("t=0 0");
    for text in session.lines().map(str::trim_end).filter(|text| text.starts_with("a=group:")) {
        line(text);
    }
    for section in sections {
        let mut lines = section.lines().map(str::trim_end);
        line(&format!("m={}", lines.next().unwrap_or_default()));
        line("c=IN IP4 0.0.0.0");
        line(&format!("a=ice-ufrag:{}", local.ufrag));
        line(&format!("a=ice-pwd:{}", local.password));
        line(&format!("a=fingerprint:sha-256 {fingerprint}"));
        line("a=setup:active");
        line(&format!("a={}", host_candidate(own)));
        line("a=end-of-candidates");
        for text in lines {
            if KEPT.iter().any(|kept| text.starts_with(kept)) {
                line(text);
            } else if matches!(text, "a=sendonly" | "a=sendrecv") {
                line("a=recvonly");
            } else if matches!(text, "a=recvonly" | "a=inactive") {
                line("a=inactive");
            }
        }
    }
    answer
}

/// What is agreed to as it stands.
const KEPT: [&str; 7] =
    ["a=mid:", "a=rtcp-mux", "a=rtcp-rsize", "a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:"];

/// A host candidate over UDP (RFC 8839 §5.1).
pub(crate) fn host_candidate(address: SocketAddr) -> String {
    format!("candidate:1 1 udp 2130706431 {} {} typ host", address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_received_and_nothing_else_is_said() {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\na=group:BUNDLE 0 1\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n\
            a=ice-ufrag:theirs\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=ssrc:1 cname:x\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=inactive\r\na=mid:1\r\n";
        let local = Credentials { ufrag: "ours".into(), password: "p".into() };
        let own = "192.0.2.9:5000".parse().unwrap();
        let answer = write_answer(offer, &local, "AA", own);
        assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"));
        assert!(answer.contains("a=recvonly\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n"));
        assert!(answer.contains("a=inactive\r\na=mid:1\r\n"));
        assert!(answer.contains("192.0.2.9 5000 typ host"));
        assert!(!answer.contains("theirs") && !answer.contains("a=ssrc"));
        assert!(!answer.contains("192.0.2.1 1 typ"));
    }
}
