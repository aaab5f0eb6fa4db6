//! Says "surely not here" about a closed generation from memory alone: a binary fuse filter, nine bits an id.
//!
//! One id in 256 that is not there is taken for one that may be; it costs a read of the disk, never a wrong answer.

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter as _, FilterRef as _};

use super::{Entry, Fingerprint};

const DESCRIPTOR_BYTES: usize = BinaryFuse8::DESCRIPTOR_LEN;

/// A filter over one generation.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Fuse {
        descriptor: [u8; DESCRIPTOR_BYTES],
        fingerprints: Box<[u8]>,
    },
    /// Could not be built: everything may be here, and the disk decides.
    All,
}

impl Filter {
    /// Builds the filter of these ids.
    pub(crate) fn build(entries: &[Entry]) -> Self {
        let mut keys: Vec<u64> = entries
            .iter()
            .map(|entry| entry.fingerprint.low())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let Ok(fuse) = BinaryFuse8::try_from(&keys) else {
            return Self(Kind::All);
        };
        let mut descriptor = [0; DESCRIPTOR_BYTES];
        fuse.dma_copy_descriptor_to(&mut descriptor);
        Self(Kind::Fuse {
            descriptor,
            fingerprints: fuse.dma_fingerprints().into(),
        })
    }

    /// False only when the id is surely not in the generation.
    pub(crate) fn may_contain(&self, fingerprint: Fingerprint) -> bool {
        match &self.0 {
            Kind::Fuse {
                descriptor,
                fingerprints,
            } => BinaryFuse8Ref::from_dma(descriptor, fingerprints).contains(&fingerprint.low()),
            Kind::All => true,
        }
    }

    /// The stored form; empty for a filter that could not be built.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Fuse {
                descriptor,
                fingerprints,
            } => [&descriptor[..], fingerprints].concat(),
            Kind::All => Vec::new(),
        }
    }

    /// Reads the stored form; none when its lengths contradict each other.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (descriptor, fingerprints) = bytes.split_first_chunk::<DESCRIPTOR_BYTES>()?;
        // seed u64, then segment length, its mask, and the length of all but the last two segments.
        let word = |at: usize| {
            let bytes = descriptor.get(at..at + 4)?;
            usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
        };
        let (segment, mask, all) = (word(8)?, word(12)?, word(16)?);
        let sound = segment.is_power_of_two()
            && mask == segment - 1
            && all.checked_add(2 * segment) == Some(fingerprints.len());
        sound.then(|| {
            Self(Kind::Fuse {
                descriptor: *descriptor,
                fingerprints: fingerprints.into(),
            })
        })
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        match &self.0 {
            Kind::Fuse { fingerprints, .. } => DESCRIPTOR_BYTES + fingerprints.len(),
            Kind::All => 0,
        }
    }
}
