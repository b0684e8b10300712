//! Reads big-endian fields from the front of a slice; what is not there is `None`.

use crate::Ssrc;

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Everything not read yet.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*front)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(front)
    }

    /// `count` records of `N` bytes each.
    pub(super) fn records<const N: usize>(&mut self, count: usize) -> Option<&'a [[u8; N]]> {
        let (records, _) = self.bytes(count.checked_mul(N)?)?.as_chunks::<N>();
        Some(records)
    }

    /// Everything left as records of `N` bytes; `None` if there is none or a rest.
    pub(super) fn all_records<const N: usize>(&mut self) -> Option<&'a [[u8; N]]> {
        let (records, odd) = self.rest.as_chunks::<N>();
        self.rest = &[];
        if odd.is_empty() && !records.is_empty() { Some(records) } else { None }
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn ssrc(&mut self) -> Option<Ssrc> {
        self.u32().map(Ssrc)
    }
}
