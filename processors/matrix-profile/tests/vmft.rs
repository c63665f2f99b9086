//! The published detector against a slow transliteration of Python's `heapq` and a scan of a list.

use matrix_profile::{Vmft, VmftParams};
use proptest::prelude::*;

/// `heapq` of CPython, on (−hits, window).
mod heapq {
    pub type Item = (i64, Vec<i64>);

    fn less(a: &Item, b: &Item) -> bool {
        a.0 < b.0
    }

    pub fn heappush(heap: &mut Vec<Item>, item: Item) {
        heap.push(item);
        let last = heap.len() - 1;
        siftdown(heap, 0, last);
    }

    pub fn heapify(heap: &mut [Item]) {
        for i in (0..heap.len() / 2).rev() {
            siftup(heap, i);
        }
    }

    fn siftdown(heap: &mut [Item], startpos: usize, mut pos: usize) {
        let newitem = heap[pos].clone();
        while pos > startpos {
            let parentpos = (pos - 1) >> 1;
            let parent = heap[parentpos].clone();
            if less(&newitem, &parent) {
                heap[pos] = parent;
                pos = parentpos;
                continue;
            }
            break;
        }
        heap[pos] = newitem;
    }

    fn siftup(heap: &mut [Item], mut pos: usize) {
        let endpos = heap.len();
        let startpos = pos;
        let newitem = heap[pos].clone();
        let mut childpos = 2 * pos + 1;
        while childpos < endpos {
            let rightpos = childpos + 1;
            if rightpos < endpos && !less(&heap[childpos], &heap[rightpos]) {
                childpos = rightpos;
            }
            heap[pos] = heap[childpos].clone();
            pos = childpos;
            childpos = 2 * pos + 1;
        }
        heap[pos] = newitem;
        siftdown(heap, startpos, pos);
    }
}

fn distances(ids: &[i64], params: VmftParams) -> Vec<Option<f64>> {
    let VmftParams { m, training, eta, .. } = params;
    let mut heap: Vec<heapq::Item> = Vec::new();
    if ids.len() >= training {
        for i in 0..=training - m {
            let window = ids[i..i + m].to_vec();
            if !heap.iter().any(|(_, stored)| *stored == window) {
                heapq::heappush(&mut heap, (-1, window));
            }
        }
    }
    let mut all = Vec::new();
    for t in 0..ids.len() {
        if t < training {
            all.push(None);
            continue;
        }
        let current = &ids[t + 1 - m..=t];
        let mut best = 1.0f64;
        for index in 0..heap.len() {
            let stored = &heap[index].1;
            let divisor: i64 = stored.iter().map(|b| b.abs()).sum();
            let apart: i64 = current.iter().zip(stored).map(|(a, b)| (a - b).abs()).sum();
            let distance = if divisor == 0 { 1.0 } else { f64::min(1.0, apart as f64 / divisor as f64) };
            best = best.min(distance);
            if distance <= eta {
                heap[index].0 -= 1;
                heapq::heapify(&mut heap);
                break;
            }
        }
        all.push(Some(best));
    }
    all
}

proptest! {
    #[test]
    fn it_finds_what_a_scan_in_the_order_of_heapq_finds(
        ids in proptest::collection::vec(prop_oneof![3 => 0..6i64, 1 => 90..120i64], 0..120),
        m in 1..5usize,
        training in 5..40usize,
        tau in 0.0..0.6f64,
    ) {
        let params = VmftParams { m, training, tau, eta: tau.min(0.3) };
        let mut vmft = Vmft::new(params);
        let found: Vec<Option<f64>> = ids.iter().map(|id| vmft.distance(*id)).collect();
        prop_assert_eq!(found, distances(&ids, params));
    }
}

#[test]
fn another_numbering_is_another_detector() {
    // Why it is for comparison only: the same sequence under another numbering of its templates.
    let sequence: Vec<usize> = (0..60).map(|t| [0, 1, 2, 3, 0, 2, 1, 3, 4][t % 9]).chain([5, 0, 1, 2]).collect();
    let of = |numbers: [i64; 6]| {
        let mut vmft = Vmft::new(VmftParams { m: 4, training: 40, tau: 0.15, eta: 0.05 });
        sequence.iter().map(|template| vmft.distance(numbers[*template])).collect::<Vec<_>>()
    };
    assert_ne!(of([10, 20, 30, 40, 50, 60]), of([60, 20, 50, 10, 40, 30]));
}
