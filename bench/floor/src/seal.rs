//! Sealing as SRTP does with AES-128-GCM: RFC 7714.

use anyhow::{Result, anyhow};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of an RTP header without extensions, RFC 3550 section 5.1: authenticated, not encrypted.
pub(crate) const HEADER_BYTES: usize = 12;

/// Bytes of the authentication tag, RFC 7714 section 14.2.
pub(crate) const TAG_BYTES: usize = 16;

/// The key of one destination, as each subscriber of a server has its own.
pub(crate) struct Sealer {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
    sealed: u64,
}

impl Sealer {
    /// A key that differs from destination to destination; nothing here is secret.
    ///
    /// # Errors
    /// If the library refuses the key, which has the length it asks for.
    pub(crate) fn for_destination(index: u16) -> Result<Self> {
        let mut secret = [0x5a; 16];
        let mut salt = [0xa5; NONCE_LEN];
        secret[..2].copy_from_slice(&index.to_be_bytes());
        salt[..2].copy_from_slice(&index.to_be_bytes());
        let key = UnboundKey::new(&AES_128_GCM, &secret).map_err(|_| anyhow!("no such key"))?;
        Ok(Self { key: LessSafeKey::new(key), salt, sealed: 0 })
    }

    /// Seals `packet` in place: a header, a payload, and room for the tag. Writes the next sequence number into the
    /// header first, as forwarding does.
    ///
    /// # Errors
    /// If the packet is shorter than header and tag together.
    pub(crate) fn seal(&mut self, packet: &mut [u8]) -> Result<()> {
        let (header, rest) = packet.split_at_mut_checked(HEADER_BYTES).ok_or_else(too_short)?;
        let payload = rest.len().checked_sub(TAG_BYTES).ok_or_else(too_short)?;
        let (payload, tag) = rest.split_at_mut(payload);
        header[0] = 0x80;
        header[2..4].copy_from_slice(&self.sealed.to_be_bytes()[6..]);
        let nonce = self.nonce();
        self.sealed += 1;
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), payload)
            .map_err(|_| anyhow!("sealing failed"))?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(())
    }

    /// RFC 7714 section 8.1: the salt with the packet's number mixed into its end.
    fn nonce(&self) -> Nonce {
        let mut nonce = self.salt;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sealed.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

fn too_short() -> anyhow::Error {
    anyhow!("a packet needs more than {} bytes", HEADER_BYTES + TAG_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_packet_opens_to_what_it_was() {
        let mut sealer = Sealer::for_destination(7).unwrap();
        let mut packet = vec![9; 64];
        sealer.seal(&mut packet).unwrap();
        assert_ne!(packet[HEADER_BYTES..48], [9; 36], "the payload is encrypted");

        let opener = Sealer::for_destination(7).unwrap();
        let (header, sealed) = packet.split_at_mut(HEADER_BYTES);
        let opened = opener.key.open_in_place(opener.nonce(), Aad::from(header), sealed).unwrap();
        assert_eq!(opened, [9; 36]);
    }

    #[test]
    fn no_two_packets_and_no_two_destinations_look_alike() {
        let mut first = Sealer::for_destination(1).unwrap();
        let mut second = Sealer::for_destination(2).unwrap();
        let mut packets = [[0_u8; 64]; 3];
        first.seal(&mut packets[0]).unwrap();
        first.seal(&mut packets[1]).unwrap();
        second.seal(&mut packets[2]).unwrap();
        assert_ne!(packets[0][HEADER_BYTES..], packets[1][HEADER_BYTES..]);
        assert_ne!(packets[0][HEADER_BYTES..], packets[2][HEADER_BYTES..]);
    }

    #[test]
    fn a_packet_without_room_for_the_tag_is_an_error() {
        let mut sealer = Sealer::for_destination(0).unwrap();
        assert!(sealer.seal(&mut [0; HEADER_BYTES + TAG_BYTES - 1]).is_err());
    }
}
