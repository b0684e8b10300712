//! Packets sealed rightly that say anything, through the media plane.

#![no_main]

use roomful_sfu::fuzzing::{media_packets, media_seeds};

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&media_seeds()),
    |bytes: &[u8]| media_packets(bytes)
);
