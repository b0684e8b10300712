use super::*;
use crate::testing::hex;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The key and salt of all examples of RFC 7714.
fn rfc_7714(profile: SrtpProfile, purpose: Purpose) -> Cipher {
    cipher(profile, purpose, KEY, "517569642070726f2071756f")
}

fn cipher(profile: SrtpProfile, purpose: Purpose, key: &str, salt: &str) -> Cipher {
    let mut keys = SessionKeys {
        cipher: [0; 32],
        cipher_len: profile.key_len(),
        authentication: [0; 20],
        salt: [0; 14],
    };
    let key = hex(key);
    keys.cipher[..key.len()].copy_from_slice(&key);
    let salt = hex(salt);
    keys.salt[..salt.len()].copy_from_slice(&salt);
    Cipher::expand(&keys, profile, purpose).unwrap()
}

/// Seals and opens one packet, which has to become `sealed`: head, body and tag one after the other.
fn check(cipher: &Cipher, at: Position, clear: InTheClear<'_>, body: &[u8], sealed: &str) {
    let sealed = hex(sealed);
    let mut work = body.to_vec();
    let mut tag = vec![0; sealed.len() - clear.head.len() - body.len()];
    cipher.seal(at, clear, &mut work, &mut tag).unwrap();
    assert_eq!([clear.head, &work, &tag].concat(), sealed);
    cipher.open(at, clear, &mut work, &tag).unwrap();
    assert_eq!(work, body);
}

#[test]
fn rtp_is_sealed_as_in_rfc_7714_section_16() {
    let head = hex("8040f17b 8041f8d3 5501a0b2");
    let clear = InTheClear { head: &head, trailer: [0; 4] };
    let at = Position { ssrc: 0x5501_a0b2, index: 0xf17b };
    let body = b"Gallia est omnis divisa in partes tres";
    let short = rfc_7714(SrtpProfile::AeadAes128Gcm, Purpose::Rtp);
    let sealed = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
                  0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce";
    check(&short, at, clear, body, sealed);
    let long = rfc_7714(SrtpProfile::AeadAes256Gcm, Purpose::Rtp);
    let sealed = "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
                  9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
    check(&long, at, clear, body, sealed);
}

#[test]
fn rtcp_is_sealed_as_in_rfc_7714_section_17() {
    let head = hex("81c8000d 4d617273");
    let trailer = [0x80, 0, 0x05, 0xd4];
    let clear = InTheClear { head: &head, trailer };
    let at = Position { ssrc: 0x4d61_7273, index: 0x5d4 };
    let body = hex("4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                    deadbeef deadbeef deadbeef deadbeef deadbeef");
    let short = rfc_7714(SrtpProfile::AeadAes128Gcm, Purpose::Rtcp);
    let sealed = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
                  c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade";
    check(&short, at, clear, &body, sealed);
    let long = rfc_7714(SrtpProfile::AeadAes256Gcm, Purpose::Rtcp);
    let sealed = "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
                  a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be";
    check(&long, at, clear, &body, sealed);
}

#[test]
fn the_key_stream_is_that_of_rfc_3711_appendix_b_2() {
    let cipher = cipher(
        SrtpProfile::Aes128CmHmacSha1_80,
        Purpose::Rtp,
        "2B7E151628AED2A6ABF7158809CF4F3C",
        "F0F1F2F3F4F5F6F7F8F9FAFBFCFD",
    );
    let mut stream = vec![0; 1_044_512];
    let clear = InTheClear { head: &[], trailer: [0; 4] };
    let at = Position { ssrc: 0, index: 0 };
    cipher.seal(at, clear, &mut stream, &mut [0; HMAC_TAG_LEN]).unwrap();
    let first = hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                     41E95B3BB0A2E8DD477901E4FCA894C0");
    assert_eq!(stream[..48], first);
    let last = hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
                    6A2CC3787889374FBEB4C81B17BA6C44");
    assert_eq!(stream[0xfeff * 16..][..48], last);
}

#[test]
fn a_tag_of_another_length_vouches_for_nothing() {
    let at = Position { ssrc: 1, index: 1 };
    let clear = InTheClear { head: &[0; 8], trailer: [0; 4] };
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        for purpose in [Purpose::Rtp, Purpose::Rtcp] {
            let cipher = rfc_7714(profile, purpose);
            let mut tag = vec![0; profile.tag_len()];
            cipher.seal(at, clear, &mut [], &mut tag).unwrap();
            cipher.open(at, clear, &mut [], &tag).unwrap();
            for len in 0..tag.len() {
                assert!(cipher.open(at, clear, &mut [], &tag[..len]).is_err());
            }
        }
    }
}
