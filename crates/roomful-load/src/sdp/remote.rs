//! Reading what a server describes.

use std::net::{IpAddr, SocketAddr};

use super::extension;
use crate::dtls::Role;
use crate::ice::{self, Credentials};

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
    /// Where packets are numbered across streams (transport-wide congestion control), if they are.
    pub(crate) transport_sequence: Option<u8>,
    /// It only answers checks (RFC 8445 §2.5).
    pub(crate) is_lite: bool,
    /// It made the offer.
    pub(crate) is_offer: bool,
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
    /// Reads the answer to an offer of ours.
    pub(crate) fn parse_answer(sdp: &str) -> Result<Self, SdpError> {
        Self::parse(sdp, false)
    }

    /// Reads an offer.
    pub(crate) fn parse_offer(sdp: &str) -> Result<Self, SdpError> {
        Self::parse(sdp, true)
    }

    /// What this side is to ICE.
    pub(crate) fn ice_role(&self) -> ice::Role {
        if self.is_offer && !self.is_lite { ice::Role::Controlled } else { ice::Role::Controlling }
    }

    /// Reads a description, skipping what is not needed.
    fn parse(sdp: &str, is_offer: bool) -> Result<Self, SdpError> {
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
            transport_sequence: sdp.lines().find_map(transport_sequence),
            is_lite: attribute("ice-lite").is_some(),
            is_offer,
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
    if matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        // Means nothing without the interface.
        return None;
    }
    Some((priority, SocketAddr::new(ip, words.next()?.parse().ok()?)))
}

/// The number an `extmap` line (RFC 8285 §5) gives to transport-wide sequence numbers.
fn transport_sequence(line: &str) -> Option<u8> {
    let mut words = line.strip_prefix("a=extmap:")?.split_ascii_whitespace();
    let number = words.next()?.split('/').next()?.parse().ok()?;
    (words.next()? == extension::TRANSPORT_SEQUENCE_URI).then_some(number)
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
        let remote = Remote::parse_answer(ANSWER).unwrap();
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
        assert_eq!(Remote::parse_answer(&active).unwrap().role, Role::Server);
    }

    #[test]
    fn whoever_offers_decides_unless_it_is_lite() {
        let full = ANSWER.replace("a=ice-lite\r\n", "");
        let role = |remote: Result<Remote, SdpError>| remote.unwrap().ice_role();
        assert_eq!(role(Remote::parse_offer(&full)), ice::Role::Controlled);
        assert_eq!(role(Remote::parse_answer(&full)), ice::Role::Controlling);
        assert_eq!(role(Remote::parse_offer(ANSWER)), ice::Role::Controlling);
    }

    #[test]
    fn the_number_of_an_extension_is_the_one_it_is_mapped_to() {
        let uri = extension::TRANSPORT_SEQUENCE_URI;
        assert_eq!(transport_sequence(&format!("a=extmap:5/recvonly {uri}")), Some(5));
        assert_eq!(transport_sequence("a=extmap:5 urn:other"), None);
        assert_eq!(Remote::parse_answer(ANSWER).unwrap().transport_sequence, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (name, what) in [
            ("ice-ufrag", "ice-ufrag"),
            ("ice-pwd", "ice-pwd"),
            ("fingerprint", "SHA-256 fingerprint"),
        ] {
            let broken = ANSWER.replace(&format!("a={name}:"), "a=x:");
            assert_eq!(Remote::parse_answer(&broken), Err(SdpError::Missing(what)));
        }
    }

    #[test]
    fn candidates_that_are_no_addresses_are_skipped() {
        assert_eq!(candidate("candidate:1 1 udp 100 4af1.local 7882 typ host"), None);
        assert_eq!(candidate("candidate:1 2 udp 100 192.0.2.1 7882 typ host"), None);
        assert_eq!(candidate("candidate:1 1 udp"), None);
        assert_eq!(candidate("candidate:1 1 udp 100 fe80::1 7882 typ host"), None);
        assert!(candidate("candidate:1 1 udp 100 2001:db8::1 7882 typ host").is_some());
    }
}
