//! SRTP and SRTCP packets, of all profiles.

#![no_main]

#[path = "../../crates/roomful-rtp/tests/fuzz_bodies/rtp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&bodies::srtp_seeds()),
    |bytes: &[u8]| bodies::srtp_open(bytes)
);
