//! Which transport a datagram is for.
//!
//! A STUN binding request names its transport (USERNAME, RFC 8445 §7.3), and the transport itself checks the
//! password. Anything else is for whoever was answered at its address before, or for nobody.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;

use crate::ids::ParticipantId;
use crate::route::Protocol;
use crate::stun::binding_request_attributes;
use crate::transports::TransportId;

/// Addresses and ICE user names of all transports of one worker.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    by_address: HashMap<FarEnd, TransportId, BuildHasherDefault<AddressHasher>>,
    by_ufrag: BTreeMap<String, TransportId>,
    addresses: BTreeMap<TransportId, Vec<FarEnd>>,
    ufrags: BTreeMap<TransportId, Vec<String>>,
}

/// What came of [`Demux::learn_ufrag`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// It was not known before.
    pub(crate) is_new: bool,
    /// The oldest of the transport's, which was too many.
    pub(crate) forgotten: Option<String>,
}

/// Where a transport is reached.
type FarEnd = (Protocol, SocketAddr);

/// Addresses kept per transport. Browsers use one or two at a time and change them when the network does:
/// fewer would forget a path still in use, more would let one participant fill the table.
const MAX_ADDRESSES: usize = 16;

/// User names kept per transport: the current one and those before recent ICE restarts, whose checks may
/// still be on their way.
const MAX_UFRAGS: usize = 4;

/// Whether a datagram is RTP or RTCP by its first byte (RFC 7983 §7).
pub(crate) fn is_media(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| (128..=191).contains(first))
}

impl Demux {
    /// The transport a datagram is for.
    pub(crate) fn route(&self, source: FarEnd, payload: &[u8]) -> Option<TransportId> {
        match binding_request_ufrag(payload) {
            Some(ufrag) => self.by_ufrag.get(ufrag),
            None => self.by_address.get(&source),
        }
        .copied()
    }

    /// `transport` answers at this ICE user name.
    pub(crate) fn learn_ufrag(&mut self, transport: TransportId, ufrag: &str) -> Learned {
        let known = self.ufrags.entry(transport).or_default();
        if known.iter().any(|former| former == ufrag) {
            return Learned { is_new: false, forgotten: None };
        }
        let forgotten = (known.len() == MAX_UFRAGS).then(|| known.remove(0));
        if let Some(oldest) = &forgotten {
            self.by_ufrag.remove(oldest);
        }
        known.push(ufrag.to_owned());
        self.by_ufrag.insert(ufrag.to_owned(), transport);
        Learned { is_new: true, forgotten }
    }

    /// `transport` sends to `address`: it authenticated what came from there.
    pub(crate) fn learn_address(&mut self, transport: TransportId, address: FarEnd) {
        if self.by_address.get(&address) == Some(&transport) {
            return;
        }
        let known = self.addresses.entry(transport).or_default();
        if known.len() == MAX_ADDRESSES {
            let oldest = known.remove(0);
            self.by_address.remove(&oldest);
        }
        known.push(address);
        if let Some(former) = self.by_address.insert(address, transport)
            && let Some(addresses) = self.addresses.get_mut(&former)
            && former != transport
        {
            addresses.retain(|kept| *kept != address);
        }
    }

    /// `participant` is gone. Returns the user names that nobody answers at any more.
    pub(crate) fn forget(&mut self, participant: ParticipantId) -> Vec<String> {
        let mut forgotten = Vec::new();
        for transport in TransportId::all(participant) {
            for address in self.addresses.remove(&transport).unwrap_or_default() {
                self.by_address.remove(&address);
            }
            forgotten.extend(self.ufrags.remove(&transport).unwrap_or_default());
        }
        for ufrag in &forgotten {
            self.by_ufrag.remove(ufrag);
        }
        forgotten
    }
}

/// The receiver's half of the USERNAME of a STUN binding request (RFC 8489 §14.3), if it is one: the ICE user name of the
/// transport that is asked (RFC 8445 §7.2.2). Nothing is authenticated yet.
pub fn binding_request_ufrag(payload: &[u8]) -> Option<&str> {
    const USERNAME: u16 = 0x0006;
    let (_, name) = binding_request_attributes(payload)?.find(|(kind, _)| *kind == USERNAME)?;
    std::str::from_utf8(name).ok()?.split_once(':').map(|(receiver, _)| receiver)
}

/// FNV-1a (Fowler, Noll, Vo): quick on the few bytes of an address. Colliding addresses can be had only by
/// authenticated participants, [`MAX_ADDRESSES`] each.
#[derive(Debug)]
pub(crate) struct AddressHasher(u64);

impl Default for AddressHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transports::Role;

    const ANN: TransportId = publishing(1);
    const BOB: TransportId = publishing(2);

    const fn publishing(participant: u64) -> TransportId {
        TransportId { participant: ParticipantId(participant), role: Role::Publishing }
    }

    fn address(port: u16) -> FarEnd {
        (Protocol::Udp, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn binding_request(username: &str) -> Vec<u8> {
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        request.extend([0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
        request.extend([0, 6]);
        request.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
        request.extend(username.as_bytes());
        request
    }

    #[test]
    fn a_first_binding_request_is_routed_by_its_user_name() {
        let mut demux = Demux::default();
        demux.learn_ufrag(ANN, "annfrag");
        assert_eq!(demux.route(address(1), &binding_request("annfrag:theirs")), Some(ANN));
        assert_eq!(demux.route(address(1), &binding_request("other:theirs")), None);
    }

    #[test]
    fn media_from_an_address_never_answered_is_for_nobody() {
        let mut demux = Demux::default();
        demux.learn_ufrag(ANN, "annfrag");
        assert_eq!(demux.route(address(1), &[0x80; 100]), None);
        demux.learn_address(ANN, address(1));
        assert_eq!(demux.route(address(1), &[0x80; 100]), Some(ANN));
    }

    #[test]
    fn whoever_comes_to_an_address_somebody_had_before_is_told_apart_by_name() {
        let mut demux = Demux::default();
        demux.learn_address(ANN, address(1));
        demux.learn_ufrag(BOB, "bobfrag");
        assert_eq!(demux.route(address(1), &binding_request("bobfrag:theirs")), Some(BOB));
        assert_eq!(demux.route(address(1), &binding_request("nobody:theirs")), None);
    }

    #[test]
    fn an_address_moves_to_whoever_was_answered_there_last() {
        let mut demux = Demux::default();
        demux.learn_address(ANN, address(1));
        demux.learn_address(BOB, address(1));
        demux.forget(ANN.participant);
        assert_eq!(demux.route(address(1), &[]), Some(BOB));
        demux.forget(BOB.participant);
        assert_eq!(demux.route(address(1), &[]), None);
    }

    #[test]
    fn one_participant_cannot_fill_the_table() {
        let mut demux = Demux::default();
        for port in 1..=1_000 {
            demux.learn_address(ANN, address(port));
        }
        assert_eq!(demux.by_address.len(), MAX_ADDRESSES);
        assert_eq!(demux.route(address(1_000), &[]), Some(ANN));
        assert_eq!(demux.route(address(1), &[]), None);
    }

    #[test]
    fn cut_and_lying_requests_name_nobody() {
        let whole = binding_request("annfrag:theirs");
        for length in 0..whole.len() {
            assert_eq!(binding_request_ufrag(&whole[..length]), None);
        }
        let mut lying = whole;
        lying[30] = 0xff;
        assert_eq!(binding_request_ufrag(&lying), None);
    }

    #[test]
    fn the_same_address_is_another_one_in_the_other_protocol() {
        let mut demux = Demux::default();
        let (_, there) = address(1);
        demux.learn_address(ANN, (Protocol::Udp, there));
        demux.learn_address(BOB, (Protocol::Tcp, there));
        assert_eq!(demux.route((Protocol::Udp, there), &[]), Some(ANN));
        assert_eq!(demux.route((Protocol::Tcp, there), &[]), Some(BOB));
    }

    #[test]
    fn user_names_are_told_once_and_forgotten_when_they_are_too_many_or_unused() {
        let mut demux = Demux::default();
        assert!(demux.learn_ufrag(ANN, "0").is_new);
        assert!(!demux.learn_ufrag(ANN, "0").is_new);
        for restart in 1..MAX_UFRAGS {
            assert_eq!(demux.learn_ufrag(ANN, &restart.to_string()).forgotten, None);
        }
        assert_eq!(demux.learn_ufrag(ANN, "new").forgotten.as_deref(), Some("0"));
        assert_eq!(demux.forget(ANN.participant).len(), MAX_UFRAGS);
        assert!(demux.forget(ANN.participant).is_empty());
    }

    #[test]
    fn two_transports_of_one_participant_are_told_apart_and_forgotten_together() {
        let mut demux = Demux::default();
        let receiving = TransportId { role: Role::Receiving, ..ANN };
        demux.learn_ufrag(ANN, "up");
        demux.learn_ufrag(receiving, "down");
        demux.learn_address(ANN, address(1));
        demux.learn_address(receiving, address(2));
        assert_eq!(demux.route(address(3), &binding_request("down:theirs")), Some(receiving));
        assert_eq!(demux.route(address(1), &[0x80; 100]), Some(ANN));
        assert_eq!(demux.route(address(2), &[0x80; 100]), Some(receiving));
        assert_eq!(demux.forget(ANN.participant), ["up", "down"]);
        assert_eq!(demux.route(address(2), &[0x80; 100]), None);
    }
}
