//! VP8 payload descriptor (RFC 7741 §4.2): where keyframes start, and the three counters that a
//! receiver expects to run on when the stream under them changes.

const EXTENDED: u8 = 0x80; // X
const START_OF_PARTITION: u8 = 0x10; // S
const PARTITION_ID: u8 = 0x07; // PID
const PICTURE_ID_PRESENT: u8 = 0x80; // I
const TL0_PIC_IDX_PRESENT: u8 = 0x40; // L
const TID_PRESENT: u8 = 0x20; // T
const KEY_IDX_PRESENT: u8 = 0x10; // K
const LONG_PICTURE_ID: u8 = 0x80; // M
const KEY_IDX: u8 = 0x1f;
const INTER_FRAME: u8 = 0x01; // P of the frame tag, RFC 6386 §9.1
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a]; // RFC 6386 §9.1

/// The first packet of a keyframe: partition 0 begins and its frame tag and start code say so. Both
/// stay readable under LiveKit's end-to-end encryption, which leaves them in clear.
pub(super) fn starts_keyframe(payload: &[u8]) -> bool {
    let Some(&required) = payload.first() else { return false };
    if required & START_OF_PARTITION == 0 || required & PARTITION_ID != 0 {
        return false;
    }
    let Some(descriptor) = Descriptor::parse(payload) else { return false };
    let frame = payload.get(descriptor.len..).unwrap_or_default();
    frame.first().is_some_and(|tag| tag & INTER_FRAME == 0)
        && frame.get(3..6).is_some_and(|code| code == START_CODE)
}

/// New values for the counters of one payload descriptor. They have the width the packet already
/// has, so the payload keeps its length.
///
/// Either call [`Vp8Rewrite::apply`] on a copy of the payload, or hand the values to a packetizer
/// that patches while it serializes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Rewrite {
    counters: Counters,
}

impl Vp8Rewrite {
    /// Writes the new values into the payload this was made for, or a copy of it. One without a descriptor
    /// is left as it is.
    pub fn apply(&self, payload: &mut [u8]) {
        let Some(descriptor) = Descriptor::parse(payload) else { return };
        let mut set = |at: usize, byte: u8| {
            if let Some(target) = payload.get_mut(at) {
                *target = byte;
            }
        };
        if let (Some(field), Some(id)) = (descriptor.picture_id, self.counters.picture_id) {
            let [high, low] = id.to_be_bytes();
            match field.long {
                true => {
                    set(field.at, LONG_PICTURE_ID | high);
                    set(field.at + 1, low);
                }
                false => set(field.at, low),
            }
        }
        if let (Some(field), Some(index)) = (descriptor.tl0_pic_idx, self.counters.tl0_pic_idx) {
            set(field.at, index);
        }
        if let (Some(field), Some(index)) = (descriptor.key_idx, self.counters.key_idx) {
            set(field.at, (field.octet & !KEY_IDX) | index);
        }
    }

    /// The new PictureID: 7 or 15 bits, as wide as the packet's own; `None` if it has none.
    pub fn picture_id(&self) -> Option<u16> {
        self.counters.picture_id
    }

    /// The new TL0PICIDX; `None` if the packet has none.
    pub fn tl0_pic_idx(&self) -> Option<u8> {
        self.counters.tl0_pic_idx
    }

    /// The new KEYIDX, 5 bits; `None` if the packet has none.
    pub fn key_idx(&self) -> Option<u8> {
        self.counters.key_idx
    }
}

/// Keeps the counters of an outgoing stream running on, whatever the stream behind it.
#[derive(Debug, Default)]
pub(in crate::egress) struct Continuity {
    shift: Shift,
    /// The counters of the newest packet that was sent.
    last: Counters,
}

impl Continuity {
    /// The outgoing stream goes on with another source, whose first packet is this one: a keyframe,
    /// so each counter is one more than the last that was sent. The very first source keeps its own.
    pub(in crate::egress) fn start(&mut self, payload: &[u8]) {
        let Some(first) = Descriptor::parse(payload) else { return };
        let next = |last: Option<u16>, first: Option<u16>| match (last, first) {
            (Some(last), Some(first)) => last.wrapping_add(1).wrapping_sub(first),
            _ => 0,
        };
        self.shift = Shift {
            picture_id: next(self.last.picture_id, first.picture_id.map(|field| field.value)),
            tl0_pic_idx: next(
                self.last.tl0_pic_idx.map(u16::from),
                first.tl0_pic_idx.map(|field| u16::from(field.octet)),
            ) as u8,
            key_idx: next(
                self.last.key_idx.map(u16::from),
                first.key_idx.map(|field| u16::from(field.octet)),
            ) as u8,
        };
    }

    /// What to change in this packet of the current source; `None` if nothing has to. `newest` says
    /// that no later packet of the outgoing stream has been sent.
    pub(in crate::egress) fn rewrite(
        &mut self,
        payload: &[u8],
        newest: bool,
    ) -> Option<Vp8Rewrite> {
        let descriptor = Descriptor::parse(payload)?;
        let counters = self.shift.apply(&descriptor);
        if newest {
            self.last.update(counters);
        }
        let rewrite = Vp8Rewrite { counters };
        (self.shift != Shift::default() && counters != Counters::default()).then_some(rewrite)
    }
}

/// The counters of one packet, as far as it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    picture_id: Option<u16>,
    tl0_pic_idx: Option<u8>,
    key_idx: Option<u8>,
}

impl Counters {
    fn update(&mut self, newer: Self) {
        self.picture_id = newer.picture_id.or(self.picture_id);
        self.tl0_pic_idx = newer.tl0_pic_idx.or(self.tl0_pic_idx);
        self.key_idx = newer.key_idx.or(self.key_idx);
    }
}

/// What to add to the counters of a source, each modulo its width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shift {
    picture_id: u16,
    tl0_pic_idx: u8,
    key_idx: u8,
}

impl Shift {
    fn apply(self, source: &Descriptor) -> Counters {
        Counters {
            picture_id: source.picture_id.map(|field| {
                let mask = if field.long { 0x7fff } else { 0x7f };
                field.value.wrapping_add(self.picture_id) & mask
            }),
            tl0_pic_idx: source.tl0_pic_idx.map(|field| field.octet.wrapping_add(self.tl0_pic_idx)),
            key_idx: source.key_idx.map(|field| field.octet.wrapping_add(self.key_idx) & KEY_IDX),
        }
    }
}

/// Where the counters of a payload stand, and how long the descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    len: usize,
    picture_id: Option<PictureId>,
    tl0_pic_idx: Option<Octet>,
    /// The whole octet that holds TID, Y and KEYIDX.
    key_idx: Option<Octet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PictureId {
    at: usize,
    value: u16,
    long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Octet {
    at: usize,
    octet: u8,
}

impl Descriptor {
    /// `None` if the payload ends within or right after its descriptor, or if TL0PICIDX comes
    /// without the TID it refers to, which §4.2 forbids.
    fn parse(payload: &[u8]) -> Option<Self> {
        let mut parsed = Self { len: 1, picture_id: None, tl0_pic_idx: None, key_idx: None };
        if payload.first()? & EXTENDED != 0 {
            parsed.len = 2;
            parsed.parse_extension(payload, *payload.get(1)?)?;
        }
        (parsed.len < payload.len()).then_some(parsed)
    }

    fn parse_extension(&mut self, payload: &[u8], present: u8) -> Option<()> {
        if present & TL0_PIC_IDX_PRESENT != 0 && present & TID_PRESENT == 0 {
            return None;
        }
        if present & PICTURE_ID_PRESENT != 0 {
            let Octet { at, octet } = self.octet(payload)?;
            let long = octet & LONG_PICTURE_ID != 0;
            let mut value = u16::from(octet & !LONG_PICTURE_ID);
            if long {
                value = value << 8 | u16::from(self.octet(payload)?.octet);
            }
            self.picture_id = Some(PictureId { at, value, long });
        }
        if present & TL0_PIC_IDX_PRESENT != 0 {
            self.tl0_pic_idx = Some(self.octet(payload)?);
        }
        if present & (TID_PRESENT | KEY_IDX_PRESENT) != 0 {
            let octet = self.octet(payload)?;
            self.key_idx = (present & KEY_IDX_PRESENT != 0).then_some(octet);
        }
        Some(())
    }

    fn octet(&mut self, payload: &[u8]) -> Option<Octet> {
        let at = self.len;
        self.len += 1;
        Some(Octet { at, octet: *payload.get(at)? })
    }
}
