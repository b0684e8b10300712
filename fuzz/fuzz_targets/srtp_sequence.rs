//! Streams of SRTP packets: late, repeated, forged, far ahead.

#![no_main]

#[path = "../../crates/roomful-rtp/tests/fuzz_bodies/rtp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&bodies::sequence_seeds()),
    |bytes: &[u8]| bodies::srtp_sequence(bytes)
);
