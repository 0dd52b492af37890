//! Places values in buffers.
//!
//! wgpu tracks a buffer as a whole: a dispatch may not read a buffer that it writes, whatever the ranges. Values are
//! therefore placed in several buffers. Two values never share a buffer if a dispatch reads one and writes the other.
//! Two values never share bytes if they live at the same time. Placement is greedy: the largest value first, in the gap
//! that grows the total least. Pisarchyk and Lee 2020, and OIDN's planner, do the same within one buffer.

use std::ops::RangeInclusive;

/// A value to place.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) bytes: u64,
    /// First and last dispatch that use it.
    pub(crate) life: RangeInclusive<usize>,
}

/// A buffer and a range of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) buffer: usize,
    pub(crate) offset: u64,
}

/// Places every tenant. `dispatches` lists the tenants that each dispatch reads and writes. Returns the places, and the
/// sizes of the buffers.
pub(crate) fn place(
    tenants: &[Tenant],
    dispatches: &[(Vec<usize>, Vec<usize>)],
    max_buffer: u64,
) -> (Vec<Place>, Vec<u64>) {
    let mut opposed = vec![Vec::new(); tenants.len()];
    for (reads, writes) in dispatches {
        for &read in reads {
            for &write in writes {
                opposed[read].push(write);
                opposed[write].push(read);
            }
        }
    }
    let mut by_size: Vec<usize> = (0..tenants.len()).collect();
    by_size.sort_by_key(|&t| (std::cmp::Reverse(tenants[t].bytes), *tenants[t].life.start()));
    let mut by_area = by_size.clone();
    let area =
        |t: usize| tenants[t].bytes as u128 * (tenants[t].life.end() - tenants[t].life.start() + 1) as u128;
    by_area.sort_by_key(|&t| std::cmp::Reverse(area(t)));
    let by_time: Vec<usize> = (0..tenants.len()).collect();
    [by_size, by_area, by_time]
        .iter()
        .map(|order| place_in_order(tenants, &opposed, order, max_buffer))
        .min_by_key(|(_, sizes)| sizes.iter().sum::<u64>())
        .unwrap_or_default()
}

fn place_in_order(
    tenants: &[Tenant],
    opposed: &[Vec<usize>],
    order: &[usize],
    max_buffer: u64,
) -> (Vec<Place>, Vec<u64>) {
    let mut places: Vec<Option<Place>> = vec![None; tenants.len()];
    let mut sizes: Vec<u64> = Vec::new();
    for &tenant in order {
        let Tenant { bytes, life } = &tenants[tenant];
        let mut best = (*bytes, Place { buffer: sizes.len(), offset: 0 });
        for (buffer, &size) in sizes.iter().enumerate() {
            if opposed[tenant].iter().any(|&other| places[other].is_some_and(|p| p.buffer == buffer)) {
                continue;
            }
            let mut taken: Vec<(u64, u64)> = (0..tenants.len())
                .filter(|&other| {
                    life.start() <= tenants[other].life.end() && tenants[other].life.start() <= life.end()
                })
                .filter_map(|other| {
                    places[other].filter(|p| p.buffer == buffer).map(|p| (p.offset, tenants[other].bytes))
                })
                .collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (start, len) in taken {
                if start >= offset + bytes {
                    break;
                }
                offset = offset.max(start + len);
            }
            let growth = (offset + bytes).saturating_sub(size);
            if growth < best.0 && offset + bytes <= max_buffer {
                best = (growth, Place { buffer, offset });
            }
        }
        let Place { buffer, offset } = best.1;
        if buffer == sizes.len() {
            sizes.push(0);
        }
        sizes[buffer] = sizes[buffer].max(offset + bytes);
        places[tenant] = Some(best.1);
    }
    (places.into_iter().map(|p| p.expect("every tenant was placed")).collect(), sizes)
}
