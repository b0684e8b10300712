//! RTP headers, their extensions and padding.

#![no_main]

#[path = "../../crates/roomful-rtp/tests/fuzz_bodies/rtp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&bodies::rtp_seeds()),
    |bytes: &[u8]| bodies::rtp_parse(bytes)
);
