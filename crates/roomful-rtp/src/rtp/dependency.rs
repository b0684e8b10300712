//! The dependency descriptor: a header extension that says of each frame which layers it is of and which frames it is
//! predicted from (RTP Payload Format For AV1 v1.0.0, appendix A; its names are used here).
//!
//! A keyframe brings a [`DependencyStructure`], with templates that the descriptors of later frames refer to. What is read
//! is what forwarding needs; chains are read over, since whoever gets every frame up to some layers misses none of any chain.
//! Every loop ends with the bits of the element, and nothing here allocates.

/// The name by which SDP negotiates it.
pub const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// Spatial layers there can be (A.8.3: two bits number them).
pub const MAX_SPATIAL: usize = 4;

const MAX_TEMPORAL: u8 = 8; // A.8.3: three bits
const MAX_TEMPLATES: usize = 64; // six bits
const MAX_TARGETS: usize = 32; // five bits

/// Bytes of a descriptor without extended fields (A.8.2).
const MANDATORY_LEN: usize = 3;

/// Indications of one frame for a decode target (A.8.4): two bits each.
const NOT_PRESENT: u8 = 0;
const SWITCH: u8 = 2;

/// Why bytes are no descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DescriptorError {
    /// It ends before it says what it has to.
    #[error("the dependency descriptor is cut short")]
    CutShort,
    /// It refers to a structure that never came, or not to this one.
    #[error("the dependency descriptor refers to a template that is not known")]
    UnknownTemplate,
    /// More layers or templates than the format can number.
    #[error("the dependency structure has more layers or templates than there can be")]
    TooMuch,
}

/// What the descriptor of one packet says of the frame it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameDependencies {
    /// The packet is the first of its frame.
    pub begins: bool,
    /// The packet is the last of its frame.
    pub ends: bool,
    /// Counts frames of all layers; wraps.
    pub number: u16,
    /// Its spatial layer, the smallest first.
    pub spatial: u8,
    /// Its temporal layer.
    pub temporal: u8,
    /// How many frames back the nearest and the farthest lie that it is predicted from; `None` if it is predicted from none.
    pub references: Option<(u16, u16)>,
    /// Every decode target of this size and a higher frame rate can be entered with it.
    pub lets_up: bool,
    /// It brought a structure.
    pub has_structure: bool,
}

/// What the frames of a stream are like, until the next keyframe.
#[derive(Clone, Debug)]
pub struct DependencyStructure {
    offset: u8,
    targets: u8,
    templates: [Template; MAX_TEMPLATES],
    template_count: u8,
    chains: u8,
    /// The largest spatial and temporal layer in each decode target.
    target_layers: [(u8, u8); MAX_TARGETS],
    sizes: Option<[(u16, u16); MAX_SPATIAL]>,
    spatial_count: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Template {
    spatial: u8,
    temporal: u8,
    /// Two bits for each decode target, the first lowest.
    indications: u64,
    /// The nearest and the farthest reference; 0 for none.
    references: (u16, u16),
}

impl DependencyStructure {
    /// How many spatial layers there are.
    pub fn spatial_layers(&self) -> u8 {
        self.spatial_count
    }

    /// Width and height of each spatial layer, the smallest first, if the structure says them.
    pub fn sizes(&self) -> Option<&[(u16, u16)]> {
        self.sizes.as_ref()?.get(..usize::from(self.spatial_count))
    }

    /// Reads a `template_dependency_structure` (A.8.3).
    fn read(bits: &mut Bits<'_>) -> Result<Self, DescriptorError> {
        let offset = bits.take(6)? as u8;
        let targets = bits.take(5)? as u8 + 1;
        let mut structure = Self {
            offset,
            targets,
            templates: [Template::default(); MAX_TEMPLATES],
            template_count: 0,
            chains: 0,
            target_layers: [(0, 0); MAX_TARGETS],
            sizes: None,
            spatial_count: 0,
        };
        structure.read_layers(bits)?;
        for index in 0..usize::from(structure.template_count) {
            structure.templates[index].indications = read_indications(bits, targets)?;
        }
        for index in 0..usize::from(structure.template_count) {
            structure.templates[index].references = read_template_references(bits)?;
        }
        structure.read_chains(bits)?;
        structure.find_target_layers();
        if bits.flag()? {
            let mut sizes = [(0, 0); MAX_SPATIAL];
            for size in sizes.iter_mut().take(usize::from(structure.spatial_count)) {
                // Each side less 1, so that 65,536 fits; no such picture exists.
                let side = |less_one: u32| (less_one as u16).saturating_add(1);
                *size = (side(bits.take(16)?), side(bits.take(16)?));
            }
            structure.sizes = Some(sizes);
        }
        Ok(structure)
    }

    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Result<(), DescriptorError> {
        let (mut spatial, mut temporal) = (0, 0);
        for template in &mut self.templates {
            (template.spatial, template.temporal) = (spatial, temporal);
            self.template_count += 1;
            self.spatial_count = spatial + 1;
            match bits.take(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(()),
            }
            if usize::from(spatial) >= MAX_SPATIAL || temporal >= MAX_TEMPORAL {
                return Err(DescriptorError::TooMuch);
            }
        }
        Err(DescriptorError::TooMuch)
    }

    fn read_chains(&mut self, bits: &mut Bits<'_>) -> Result<(), DescriptorError> {
        self.chains = bits.take_below(u32::from(self.targets) + 1)? as u8;
        if self.chains == 0 {
            return Ok(());
        }
        for _ in 0..self.targets {
            bits.take_below(u32::from(self.chains))?;
        }
        for _ in 0..self.template_count {
            for _ in 0..self.chains {
                bits.take(4)?;
            }
        }
        Ok(())
    }

    fn find_target_layers(&mut self) {
        let templates = &self.templates[..usize::from(self.template_count)];
        for (target, layers) in (0..self.targets).zip(&mut self.target_layers) {
            let present =
                templates.iter().filter(|one| indication(one.indications, target) != NOT_PRESENT);
            for template in present {
                layers.0 = layers.0.max(template.spatial);
                layers.1 = layers.1.max(template.temporal);
            }
        }
    }

    fn template(&self, id: u8) -> Result<Template, DescriptorError> {
        let index = (id + MAX_TEMPLATES as u8 - self.offset) % MAX_TEMPLATES as u8;
        let known = self.templates.get(..usize::from(self.template_count)).unwrap_or_default();
        known.get(usize::from(index)).copied().ok_or(DescriptorError::UnknownTemplate)
    }

    fn lets_up(&self, frame: &Template) -> bool {
        (0..self.targets)
            .zip(&self.target_layers)
            .filter(|(_, (spatial, temporal))| {
                *spatial == frame.spatial && *temporal > frame.temporal
            })
            .all(|(target, _)| indication(frame.indications, target) == SWITCH)
    }
}

impl FrameDependencies {
    /// Reads the value of an element. `known` is the structure of the stream so far, which a keyframe replaces.
    ///
    /// # Errors
    /// Bytes that are no descriptor, or one that refers to a structure other than `known`, which then stays.
    pub fn parse(
        value: &[u8],
        known: &mut Option<DependencyStructure>,
    ) -> Result<Self, DescriptorError> {
        let mut bits = Bits { bytes: value, at: 0 };
        let (begins, ends) = (bits.flag()?, bits.flag()?);
        let (id, number) = (bits.take(6)? as u8, bits.take(16)? as u16);
        let extended = if value.len() > MANDATORY_LEN { bits.take(5)? } else { 0 };
        let has = |flag: u32| extended & flag != 0;
        let has_structure = has(0x10);
        let brought =
            if has_structure { Some(DependencyStructure::read(&mut bits)?) } else { None };
        let structure = brought.as_ref().or(known.as_ref());
        let structure = structure.ok_or(DescriptorError::UnknownTemplate)?;
        if has(0x08) {
            // Active decode targets: a bit for each.
            bits.skip(usize::from(structure.targets))?;
        }
        let mut frame = structure.template(id)?;
        if has(0x04) {
            frame.indications = read_indications(&mut bits, structure.targets)?;
        }
        if has(0x02) {
            frame.references = read_custom_references(&mut bits)?;
        }
        if has(0x01) {
            bits.skip(8 * usize::from(structure.chains))?;
        }
        let (nearest, farthest) = frame.references;
        let read = Self {
            begins,
            ends,
            number,
            spatial: frame.spatial,
            temporal: frame.temporal,
            references: (nearest > 0).then_some((nearest, farthest)),
            lets_up: structure.lets_up(&frame),
            has_structure,
        };
        if brought.is_some() {
            *known = brought;
        }
        Ok(read)
    }
}

/// Adds `shift`, modulo 2^16, to the frame number of a descriptor; what is too short for one stays as it is.
pub fn shift_frame_number(descriptor: &mut [u8], shift: u16) {
    if let Some([_, high, low]) = descriptor.first_chunk_mut::<MANDATORY_LEN>() {
        [*high, *low] = u16::from_be_bytes([*high, *low]).wrapping_add(shift).to_be_bytes();
    }
}

fn indication(indications: u64, target: u8) -> u8 {
    // Two bits are left.
    (indications >> (2 * u32::from(target)) & 3) as u8
}

fn read_indications(bits: &mut Bits<'_>, targets: u8) -> Result<u64, DescriptorError> {
    let mut indications = 0;
    for target in 0..u32::from(targets) {
        indications |= u64::from(bits.take(2)?) << (2 * target);
    }
    Ok(indications)
}

/// `template_fdiffs` of one template (A.8.3): a flag before each, four bits less 1.
fn read_template_references(bits: &mut Bits<'_>) -> Result<(u16, u16), DescriptorError> {
    let mut references = (0, 0);
    while bits.flag()? {
        add_reference(&mut references, bits.take(4)? as u16 + 1);
    }
    Ok(references)
}

/// `frame_fdiffs` (A.8.4): how many times four bits come before each, 0 after the last.
fn read_custom_references(bits: &mut Bits<'_>) -> Result<(u16, u16), DescriptorError> {
    let mut references = (0, 0);
    loop {
        match bits.take(2)? {
            0 => return Ok(references),
            size => add_reference(&mut references, bits.take(4 * size)? as u16 + 1),
        }
    }
}

fn add_reference((nearest, farthest): &mut (u16, u16), back: u16) {
    *nearest = if *nearest == 0 { back } else { back.min(*nearest) };
    *farthest = back.max(*farthest);
}

/// Bits of an element, the most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Result<bool, DescriptorError> {
        Ok(self.take(1)? == 1)
    }

    /// The next `count` bits, 16 at most, as a number.
    fn take(&mut self, count: u32) -> Result<u32, DescriptorError> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or(DescriptorError::CutShort)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    /// `ns(n)` (A.8.1): a number below `bound` in as few bits as that needs.
    fn take_below(&mut self, bound: u32) -> Result<u32, DescriptorError> {
        let width = u32::BITS - bound.leading_zeros();
        let short = (1 << width) - bound;
        let value = self.take(width.saturating_sub(1))?;
        if value < short {
            return Ok(value);
        }
        Ok((value << 1) - short + self.take(1)?)
    }

    fn skip(&mut self, count: usize) -> Result<(), DescriptorError> {
        self.at += count;
        if self.at > self.bytes.len() * 8 { Err(DescriptorError::CutShort) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
