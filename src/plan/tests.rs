//! Property tests of the placement: no GPU, no pictures.

use super::arena::{Tenant, place};
use crate::tensor::Random;

#[test]
fn live_values_never_overlap_and_no_buffer_is_read_and_written_by_one_dispatch() {
    for seed in 0..10_000 {
        let mut random = Random::new(seed);
        let count = 1 + random.below(24);
        // Dispatch i makes tenant i (and sometimes two) from earlier ones.
        let mut dispatches: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        let mut made = 0;
        while made < count {
            let reads = (0..random.below(4)).filter(|_| made > 0).map(|_| random.below(made)).collect();
            let writes: Vec<usize> = (made..(made + 1 + random.below(2)).min(count)).collect();
            made += writes.len();
            dispatches.push((reads, writes));
        }
        let tenants: Vec<Tenant> = (0..count)
            .map(|t| {
                let touched = |(r, w): &(Vec<usize>, Vec<usize>)| r.contains(&t) || w.contains(&t);
                let first = dispatches.iter().position(touched).expect("made");
                let last = dispatches.iter().rposition(touched).expect("made");
                Tenant { bytes: 256 * (1 + random.below(64) as u64), life: first..=last }
            })
            .collect();
        let (places, sizes) = place(&tenants, &dispatches, u64::MAX);
        assert_eq!(place(&tenants, &dispatches, u64::MAX).0, places, "the same input gives the same plan");
        assert!(
            sizes.iter().sum::<u64>() <= tenants.iter().map(|t| t.bytes).sum(),
            "seed {seed}: no worse than naive"
        );
        for a in 0..count {
            assert_eq!(places[a].offset % 256, 0);
            assert!(places[a].offset + tenants[a].bytes <= sizes[places[a].buffer]);
            for b in 0..a {
                let alive = tenants[a].life.start() <= tenants[b].life.end()
                    && tenants[b].life.start() <= tenants[a].life.end();
                let apart = places[a].buffer != places[b].buffer
                    || places[a].offset >= places[b].offset + tenants[b].bytes
                    || places[b].offset >= places[a].offset + tenants[a].bytes;
                assert!(!alive || apart, "seed {seed}: {a} and {b} overlap");
            }
        }
        for (reads, writes) in &dispatches {
            for (r, w) in reads.iter().flat_map(|r| writes.iter().map(move |w| (r, w))) {
                assert_ne!(places[*r].buffer, places[*w].buffer, "seed {seed}: read and written together");
            }
        }
    }
}
