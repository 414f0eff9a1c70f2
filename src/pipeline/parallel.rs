//! Work side by side: on a few threads, with the results in the order of the items.
//!
//! Invariant: what comes out never depends on how many threads there were, or on which was faster. Nothing here touches disk.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that can compute at once.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` on all items, on at most `threads` threads, and gives the results in the order of the items. Each thread
/// takes the next item when it is done with one: that others have less of the processor makes nobody wait.
pub(super) fn side_by_side<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 || threads < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(items.len())).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect::<Vec<_>>()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..1000).collect();
        let doubled = side_by_side(&items, 4, |n| n * 2);
        assert!(doubled.iter().zip(&items).all(|(d, n)| *d == n * 2));
        assert!(side_by_side(&[] as &[u64], 4, |n| *n).is_empty());
    }
}
