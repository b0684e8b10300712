//! Reading what a server describes.

use std::net::{IpAddr, SocketAddr};

use super::extension;
use crate::dtls::Role;
use crate::ice::Credentials;

/// What a participant needs to know of the server's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) credentials: Credentials,
    /// SHA-256 of its certificate (RFC 8122).
    pub(crate) fingerprint: String,
    /// What the DTLS role of this side is.
    pub(crate) role: Role,
    /// Where it can be reached over UDP, the most preferred first.
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) sections: Vec<RemoteSection>,
    /// It wants packets numbered across streams (transport-wide congestion control).
    pub(crate) wants_transport_sequence: bool,
}

/// One m-line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RemoteSection {
    pub(crate) mid: String,
    pub(crate) payload_types: Vec<u8>,
    /// Refused, or of the past.
    pub(crate) is_rejected: bool,
    /// The server sends here.
    pub(crate) is_sending: bool,
}

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    #[error("the server's description has no {0}")]
    Missing(&'static str),
}

impl Remote {
    /// Reads a description, skipping what is not needed.
    pub(crate) fn parse(sdp: &str) -> Result<Self, SdpError> {
        let attribute = |name: &str| {
            sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name))
        };
        let ufrag = attribute("ice-ufrag:").ok_or(SdpError::Missing("ice-ufrag"))?;
        let password = attribute("ice-pwd:").ok_or(SdpError::Missing("ice-pwd"))?;
        let fingerprint = attribute("fingerprint:sha-256 ")
            .or_else(|| attribute("fingerprint:SHA-256 "))
            .ok_or(SdpError::Missing("SHA-256 fingerprint"))?;
        let role = match attribute("setup:") {
            Some("active") => Role::Server,
            _ => Role::Client,
        };
        let mut candidates: Vec<(u32, SocketAddr)> =
            sdp.lines().filter_map(|line| candidate(line.trim_end().strip_prefix("a=")?)).collect();
        candidates.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let mut candidates: Vec<SocketAddr> =
            candidates.into_iter().map(|(_, address)| address).collect();
        candidates.dedup();
        Ok(Self {
            credentials: Credentials { ufrag: ufrag.to_owned(), password: password.to_owned() },
            fingerprint: fingerprint.trim().to_owned(),
            role,
            candidates,
            wants_transport_sequence: sdp.contains(extension::TRANSPORT_SEQUENCE_URI),
            sections: sdp.split("\nm=").skip(1).map(section).collect(),
        })
    }
}

/// Priority and address of a candidate attribute (RFC 8839 §5.1), if it is one over UDP that is given as
/// an address.
pub(crate) fn candidate(attribute: &str) -> Option<(u32, SocketAddr)> {
    let mut words = attribute.strip_prefix("candidate:")?.split_ascii_whitespace();
    let (_foundation, component) = (words.next()?, words.next()?);
    let transport = words.next()?;
    if component != "1" || !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    let priority = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    Some((priority, SocketAddr::new(ip, words.next()?.parse().ok()?)))
}

fn section(text: &str) -> RemoteSection {
    let mut section = RemoteSection::default();
    for (index, line) in text.lines().map(str::trim_end).enumerate() {
        if index == 0 {
            let mut words = line.split(' ').skip(1);
            section.is_rejected = words.next() == Some("0");
            section.payload_types = words.skip(1).filter_map(|word| word.parse().ok()).collect();
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            mid.clone_into(&mut section.mid);
        } else if matches!(line, "a=sendonly" | "a=sendrecv") {
            section.is_sending = true;
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\n\
        a=fingerprint:sha-256 AB:CD\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n\
        a=ice-ufrag:abc\r\na=ice-pwd:secret\r\na=setup:passive\r\n\
        a=candidate:1 1 udp 100 192.0.2.1 7882 typ host\r\n\
        a=candidate:2 1 UDP 200 192.0.2.2 7882 typ host\r\n\
        a=candidate:3 1 tcp 300 192.0.2.3 7881 typ host tcptype passive\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=inactive\r\n";

    #[test]
    fn an_answer_says_who_where_and_how() {
        let remote = Remote::parse(ANSWER).unwrap();
        assert_eq!(remote.credentials.ufrag, "abc");
        assert_eq!(remote.credentials.password, "secret");
        assert_eq!(remote.fingerprint, "AB:CD");
        assert_eq!(remote.role, Role::Client);
        let addresses = ["192.0.2.2:7882", "192.0.2.1:7882"].map(|text| text.parse().unwrap());
        assert_eq!(remote.candidates, addresses, "only UDP, the preferred first");
        let [audio, video] = &remote.sections[..] else { panic!("two sections") };
        assert_eq!((audio.mid.as_str(), audio.is_sending, audio.is_rejected), ("0", true, false));
        assert_eq!(audio.payload_types, [111]);
        assert_eq!((video.mid.as_str(), video.is_sending, video.is_rejected), ("1", false, true));
        assert_eq!(video.payload_types, [96, 97]);
    }

    #[test]
    fn a_server_that_is_active_makes_this_side_the_dtls_server() {
        let active = ANSWER.replace("setup:passive", "setup:active");
        assert_eq!(Remote::parse(&active).unwrap().role, Role::Server);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (name, what) in [
            ("ice-ufrag", "ice-ufrag"),
            ("ice-pwd", "ice-pwd"),
            ("fingerprint", "SHA-256 fingerprint"),
        ] {
            let broken = ANSWER.replace(&format!("a={name}:"), "a=x:");
            assert_eq!(Remote::parse(&broken), Err(SdpError::Missing(what)));
        }
    }

    #[test]
    fn candidates_that_are_no_addresses_are_skipped() {
        assert_eq!(candidate("candidate:1 1 udp 100 4af1.local 7882 typ host"), None);
        assert_eq!(candidate("candidate:1 2 udp 100 192.0.2.1 7882 typ host"), None);
        assert_eq!(candidate("candidate:1 1 udp"), None);
        assert!(candidate("candidate:1 1 udp 100 2001:db8::1 7882 typ host").is_some());
    }
}
