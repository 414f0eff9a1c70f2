//! Parallel work on a few threads, with the results in the order of the items.
//!
//! Invariant: the result never depends on the number of threads, or on their speed. Nothing here touches the disk.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Threads that can compute at the same time.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs `work` on a thread of its own. `None`: the system gives no thread, and `work` does not run.
pub(crate) fn aside<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().spawn_scoped(scope, work);
    started.inspect_err(|error| tracing::debug!("no further thread can be had: {error}")).ok()
}

/// The result of a thread; its panic goes on here.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Maps all items by `work`, on at most `threads` threads; the results are in the order of the items. Each thread takes the
/// next item when it has finished one, so no thread waits for a slower one. This thread is one of them, so the work gets done
/// even where the system gives no other.
pub(crate) fn parallel_map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
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
        let others: Vec<_> = (1..threads.min(items.len())).map_while(|_| aside(scope, worker)).collect();
        let mut results = worker();
        others.into_iter().for_each(|other| results.extend(joined(other)));
        results
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::parallel_map;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..1000).collect();
        let doubled = parallel_map(&items, 4, |n| n * 2);
        assert!(doubled.iter().zip(&items).all(|(d, n)| *d == n * 2));
        assert!(parallel_map(&[] as &[u64], 4, |n| *n).is_empty());
    }
}
