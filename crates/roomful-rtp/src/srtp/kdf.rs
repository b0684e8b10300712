//! Session keys from a master key (RFC 3711 §4.3; RFC 6188 §2 for AES-256; RFC 7714 §11 for Galois/Counter mode).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

use super::{KeyError, MAX_KEY_LEN, MAX_SALT_LEN, MasterKey, SrtpProfile};

/// What a session key is for; the numbers are those of RFC 3711 §4.3.2.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Rtp,
    Rtcp,
}

/// The keys for the packets of one purpose. What the profile has no use for stays zero.
pub(super) struct SessionKeys {
    pub(super) cipher: [u8; MAX_KEY_LEN],
    pub(super) cipher_len: usize,
    /// For HMAC-SHA1, whose key is as long as its output.
    pub(super) authentication: [u8; 20],
    pub(super) salt: [u8; MAX_SALT_LEN],
}

impl SessionKeys {
    pub(super) fn derive(master: &MasterKey, purpose: Purpose) -> Result<Self, KeyError> {
        let (cipher_label, authentication_label, salt_label) = match purpose {
            Purpose::Rtp => (0, 1, 2),
            Purpose::Rtcp => (3, 4, 5),
        };
        let prf = counter_mode(master.key())?;
        let mut keys = Self {
            cipher: [0; MAX_KEY_LEN],
            cipher_len: master.profile.key_len(),
            authentication: [0; 20],
            salt: [0; MAX_SALT_LEN],
        };
        generate(&prf, master, cipher_label, &mut keys.cipher)?;
        if master.profile == SrtpProfile::Aes128CmHmacSha1_80 {
            generate(&prf, master, authentication_label, &mut keys.authentication)?;
        }
        generate(&prf, master, salt_label, &mut keys.salt)?;
        Ok(keys)
    }

    pub(super) fn cipher(&self) -> &[u8] {
        self.cipher.get(..self.cipher_len).unwrap_or_default()
    }
}

/// AES in counter mode, with 128 or 256 bits as the length of `key` says.
pub(super) fn counter_mode(key: &[u8]) -> Result<EncryptingKey, KeyError> {
    let algorithm = if key.len() == MAX_KEY_LEN { &AES_256 } else { &AES_128 };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::ctr)
        .map_err(|_| KeyError::NotAccepted)
}

/// Fills `out`, which is all zeros, with key stream from the master salt and `label` (RFC 3711 §4.3.1 with a key
/// derivation rate of 0). A salt of 96 bits counts as one of 112 that ends in zeros. The bytes of a shorter
/// key are the first of a longer one.
fn generate(
    prf: &EncryptingKey,
    master: &MasterKey,
    label: u8,
    out: &mut [u8],
) -> Result<(), KeyError> {
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13] = master.salt;
    let start = [s0, s1, s2, s3, s4, s5, s6, s7 ^ label, s8, s9, s10, s11, s12, s13, 0, 0];
    prf.less_safe_encrypt(out, EncryptionContext::Iv128(start.into()))
        .map(|_| ())
        .map_err(|_| KeyError::NotAccepted)
}

#[cfg(test)]
mod tests;
