//! The chain where machines own ranges of hashes: lanes, their zombies, machines that work alone, and lanes of two numbers at once.
//!
//! All of them number the parts of an hour in one chain. A machine passes what cannot hold a record of its own, and reads what can; that
//! is all that keeps a record out of a second part, whoever believes to own it.

use super::*;

/// Two lanes of two, and one machine that works alone: a record each, and both.
const THREE_KINDS: Chain = Chain { machines: 3, lanes: &[(0, 2), (1, 2)], ..TWO };

#[test]
fn probe() {
    let go = |name: &str, chain: Chain| {
        let at = std::time::Instant::now();
        print!("{name}: ");
        holds(chain, 1);
        println!("   {:?}", at.elapsed());
    };
    const K: &[(u32, u32)] = &[(0, 2), (1, 2)];
    go("two lanes, 4 records", Chain { lanes: K, records: 4, ..TWO });
    go("two lanes, 4 records, 1", Chain { lanes: K, records: 4, faults: 1, kinds: ALL, ..TWO });
    go("lane, alone, 2", Chain { lanes: &[(0, 2)], faults: 2, kinds: ALL, ..TWO });
    go("lane, alone 3 records", Chain { lanes: &[(0, 2)], records: 3, ..TWO });
    go("lane, alone 4 records cut 2", Chain { lanes: &[(0, 2)], records: 4, cut: 2, ..TWO });
    go("three kinds 1", Chain { faults: 1, kinds: ALL, ..THREE_KINDS });
    go("epochs 2/3 1", Chain { lanes: &[(0, 2), (1, 3)], records: 4, faults: 1, kinds: ALL, ..TWO });
    go("epochs 1/2/3 3r", Chain { machines: 3, lanes: &[(1, 2), (1, 3)], records: 3, ..TWO });
    go("epochs 2/3 3m", Chain { machines: 3, lanes: &[(0, 2), (1, 2), (1, 3)], records: 4, ..TWO });
    go("lane, lane, zombie 3", Chain { machines: 3, lanes: &[(0, 2), (1, 2), (1, 2)], records: 3, ..TWO });
    go(
        "lane, lane, zombie 2, 1",
        Chain { machines: 3, lanes: &[(0, 2), (1, 2), (1, 2)], records: 2, faults: 1, kinds: ALL, ..TWO },
    );
    go(
        "lane, zombie, lane, zombie",
        Chain { machines: 4, lanes: &[(0, 2), (0, 2), (1, 2), (1, 2)], records: 2, ..TWO },
    );
    go("lanes, list 1", Chain { lanes: &[(0, 2), (0, 1)], lists: true, faults: 1, kinds: ALL, ..TWO });
}
