//! Solving a filter: peel off ids that alone own a cell until none is left, then fill their cells in reverse order.
//!
//! The working memory is some 30 bytes an id, which is why runs have a filter for each slice and not one for all.

use super::{Filter, PADDING, Shape};

/// Nearly every set of ids is solved by the first seed; that all of these fail does not happen.
const SEEDS: u64 = 32;

/// The segment is as long as its sixteen bits of hash allow at most.
const SEGMENT_LOG2_MAX: u64 = 15;

pub(super) fn build(mut ids: Vec<u64>, bits: u8) -> Filter {
    for seed in 0..SEEDS {
        let shape = Shape {
            seed,
            ..shape_for(ids.len(), bits)
        };
        if let Some(cells) = solve(shape, &ids) {
            return Filter { shape, cells };
        }
        if seed == 0 {
            // Two ids with the same low half can never be told apart.
            ids.sort_unstable();
            ids.dedup();
        }
    }
    let shape = Shape {
        seed: 0,
        segment: 1,
        firsts: 0,
        bits: 0,
    };
    Filter {
        shape,
        cells: vec![0; PADDING].into(),
    }
}

/// The sizes at which 4-wise binary fuse filters are solved with near certainty (Graf and Lemire, 2022):
/// segments of 2.91^-0.5 × n^0.649 cells, and 0.77 + 5.855 / log2(n) cells an id, never below 1.075.
fn shape_for(ids: usize, bits: u8) -> Shape {
    let ids = ids.max(2) as u64;
    // In quarters.
    let log2 = u64::from(u128::from(ids).saturating_pow(4).ilog2());
    let segment_log2 = ((log2 * 649 / 4).saturating_sub(500) / 1000).min(SEGMENT_LOG2_MAX);
    let segment = 1u64 << segment_log2;
    let permille = (770 + 5_855 * 4 / log2).max(1_075);
    // A handful of cells more lets even the smallest sets be solved.
    let cells = ids * permille / 1000 + 8;
    let segments = cells.div_ceil(segment).saturating_sub(3).max(1);
    let within = |cells: u64| u32::try_from(cells).expect("a slice holds far fewer than 2^32 ids");
    Shape {
        seed: 0,
        segment: within(segment),
        firsts: within(segments * segment),
        bits,
    }
}

fn solve(shape: Shape, ids: &[u64]) -> Option<Box<[u8]>> {
    let peeled = peel(shape, ids)?;
    let mut cells = vec![0; shape.bytes()].into_boxed_slice();
    for (hash, own) in peeled.into_iter().rev() {
        // The own cell is still zero, so that the xor of all four is that of the others.
        let others = shape
            .cells_of(hash)
            .map(|cell| shape.read(&cells, cell))
            .into_iter()
            .fold(0, |xor, cell| xor ^ cell);
        write(
            shape,
            &mut cells,
            own as usize,
            others ^ shape.value_of(hash),
        );
    }
    Some(cells)
}

/// The ids' hashes, each with a cell that no id behind it owns; none when some always share all of their cells.
fn peel(shape: Shape, ids: &[u64]) -> Option<Vec<(u64, u32)>> {
    let mut owners = vec![0u8; shape.len()];
    let mut xors = vec![0u64; shape.len()];
    for id in ids {
        let hash = shape.hash(*id);
        for cell in shape.cells_of(hash) {
            owners[cell] = owners[cell].checked_add(1)?;
            xors[cell] ^= hash;
        }
    }
    let cells = 0..u32::try_from(shape.len()).ok()?;
    let mut alone: Vec<u32> = cells.filter(|cell| owners[*cell as usize] == 1).collect();
    let mut peeled = Vec::with_capacity(ids.len());
    while let Some(own) = alone.pop() {
        if owners[own as usize] == 0 {
            continue;
        }
        let hash = xors[own as usize];
        peeled.push((hash, own));
        for cell in shape.cells_of(hash) {
            owners[cell] -= 1;
            xors[cell] ^= hash;
            if owners[cell] == 1 {
                alone.push(u32::try_from(cell).ok()?);
            }
        }
    }
    (peeled.len() == ids.len()).then_some(peeled)
}

/// Writes a cell that is zero.
fn write(shape: Shape, cells: &mut [u8], cell: usize, value: u32) {
    let bit = cell * usize::from(shape.bits);
    if let Some(word) = cells
        .get_mut(bit / 8..)
        .and_then(<[u8]>::first_chunk_mut::<4>)
    {
        *word = (u32::from_le_bytes(*word) | (value << (bit % 8))).to_le_bytes();
    }
}
