//! The little of STUN that is read before a transport sees a datagram (RFC 8489).

/// Kind and value of each attribute of a binding request; `None` if it is none. Ends early where it is cut.
pub(crate) fn binding_request_attributes(
    payload: &[u8],
) -> Option<impl Iterator<Item = (u16, &[u8])>> {
    const HEADER: usize = 20;
    const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    if payload.get(..2)? != BINDING_REQUEST || payload.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    let mut rest = payload.get(HEADER..)?;
    Some(std::iter::from_fn(move || {
        let kind = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?));
        let value = rest.get(4..4 + length)?;
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }))
}
