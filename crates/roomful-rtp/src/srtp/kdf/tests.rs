use super::*;
use crate::testing::hex;

fn master(profile: SrtpProfile, key: &str, salt: &str) -> MasterKey {
    let mut master = MasterKey { profile, key: [0; MAX_KEY_LEN], salt: [0; MAX_SALT_LEN] };
    master.key[..profile.key_len()].copy_from_slice(&hex(key));
    let salt = hex(salt);
    master.salt[..salt.len()].copy_from_slice(&salt);
    master
}

fn derived(master: &MasterKey, label: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    generate(&counter_mode(master.key()).unwrap(), master, label, &mut out).unwrap();
    out
}

fn rfc_3711() -> MasterKey {
    master(
        SrtpProfile::Aes128CmHmacSha1_80,
        "E1F97A0D3E018BE0D64FA32C06DE4139",
        "0EC675AD498AFEEBB6960B3AABE6",
    )
}

#[test]
fn keys_derive_as_in_rfc_3711_appendix_b_3() {
    let keys = SessionKeys::derive(&rfc_3711(), Purpose::Rtp).unwrap();
    assert_eq!(keys.cipher(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(keys.salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(keys.authentication[..], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    // The appendix prints as much as the longest key of any algorithm takes.
    let long = hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
                    E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
                    6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2");
    assert_eq!(derived(&rfc_3711(), 1, 94), long);
}

/// No RFC prints these: computed with another library (Python's `cryptography`) from RFC 3711 §4.3.
#[test]
fn rtcp_has_keys_of_its_own() {
    let keys = SessionKeys::derive(&rfc_3711(), Purpose::Rtcp).unwrap();
    assert_eq!(keys.cipher(), hex("4c1aa45a81f73d61c800bbb00fbb1eaa"));
    assert_eq!(keys.authentication[..], hex("8d54534feb49ae8e7993a6bd0b844fc323a93dfd"));
    assert_eq!(keys.salt[..], hex("9581c7ad87b3e530bf3e4454a8b3"));
}

#[test]
fn keys_derive_as_in_rfc_6188_section_7_2() {
    let master = master(
        SrtpProfile::AeadAes256Gcm,
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
        "3b04803de51ee7c96423ab5b78d2",
    );
    let cipher = hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4");
    assert_eq!(derived(&master, 0, 32), cipher);
    assert_eq!(derived(&master, 1, 20), hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    assert_eq!(derived(&master, 2, 14), hex("fa31791685ca444a9e07c6c64e93"));
}

/// No RFC prints these either: computed as above, from RFC 7714 §11.
#[test]
fn a_salt_of_twelve_bytes_counts_as_fourteen() {
    let salt = "a0a1a2a3a4a5a6a7a8a9aaab";
    let short = master(SrtpProfile::AeadAes128Gcm, "000102030405060708090a0b0c0d0e0f", salt);
    let rtp = SessionKeys::derive(&short, Purpose::Rtp).unwrap();
    assert_eq!(rtp.cipher(), hex("077c6143cb221bc355ff23d5f984a16e"));
    assert_eq!(rtp.salt[..12], hex("9af3e95364ebac9c99c5a7c4"));
    let long = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let long = master(SrtpProfile::AeadAes256Gcm, long, salt);
    let rtcp = SessionKeys::derive(&long, Purpose::Rtcp).unwrap();
    let cipher = hex("3c90f52a0a13ff8a853397cadc245b9eac76b36edb4a6062bf624aa1174eebf2");
    assert_eq!(rtcp.cipher(), cipher);
    assert_eq!(rtcp.salt[..12], hex("258c540cf38ddd40848ceaed"));
}
