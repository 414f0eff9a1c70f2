//! Whole runs, measured as the processes that they are: processor time in all threads, elapsed time, peak memory.
//!
//! ```text
//! cargo bench --bench whole                  files in, lake out, against the floor: 1 000, 100 000 and 1 000 000 records
//! cargo bench --bench whole -- 200000        the same for so many
//! cargo bench --bench whole -- tick          what cron pays for every few minutes, with and without 30 days in the state
//! cargo bench --bench whole -- months        600 hours of cron: directory, open, tick
//! cargo bench --bench whole -- months 1500   the same for so many
//! cargo bench --bench whole -- lookups       hashes looked up in arrays of 1 000 to 10 M
//! cargo bench --bench whole -- hours         1 M records of up to 100 000 hours, in order and in none, and again; an hour of 3 M
//! cargo bench --bench whole -- growth        5 M records against 100 k
//! cargo bench --bench whole -- network       HTTP to a real S3 server against files; an hour of 1 M records
//! cargo bench --features kafka --bench whole -- cluster          1, 2, 3 machines that share their work through Kafka: 300 000 records
//! cargo bench --features kafka --bench whole -- cluster 1000000  the same for so many
//! ```
//! What is compared runs in turns, so that whatever else the machine does falls on both, and medians count. Each target is
//! printed with what was measured. `benches/README.md` has the figures.
#![expect(clippy::indexing_slicing, reason = "a bench that prints wrong figures may stop instead")]
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a bench that cannot run should say so at once")]

#[cfg(feature = "kafka")]
#[path = "whole/cluster.rs"]
mod cluster;
#[path = "whole/floor.rs"]
mod floor;
#[cfg(feature = "kafka")]
#[path = "../tests/support/gate.rs"]
#[expect(dead_code, reason = "a bench cuts nobody off")]
mod gate;
#[path = "whole/growth.rs"]
mod growth;
#[path = "whole/hours.rs"]
mod hours;
#[cfg(feature = "kafka")]
#[path = "../tests/support/java.rs"]
mod java;
#[cfg(feature = "kafka")]
#[path = "../tests/support/kafka.rs"]
#[expect(dead_code, reason = "a bench kills no broker")]
mod kafka;
#[path = "whole/lookups.rs"]
mod lookups;
#[path = "whole/months.rs"]
mod months;
#[path = "whole/network.rs"]
mod network;
#[cfg(feature = "kafka")]
#[path = "../tests/support/origin.rs"]
#[expect(dead_code, reason = "a bench needs its door only")]
mod origin;
#[path = "../tests/support/python.rs"]
#[expect(dead_code, reason = "a bench needs the server's packages only")]
mod python;
#[path = "whole/server.rs"]
mod server;
#[path = "../tests/support/setup.rs"]
mod setup;
#[path = "whole/support.rs"]
mod support;
#[path = "whole/tick.rs"]
mod tick;
#[cfg(feature = "kafka")]
#[path = "../tests/support/tls.rs"]
#[expect(dead_code, reason = "a bench needs the authority of the brokers only")]
mod tls;
#[cfg(feature = "kafka")]
#[path = "whole/usage.rs"]
mod usage;
#[path = "../tests/support/weed.rs"]
#[expect(dead_code, reason = "a bench only starts the server")]
mod weed;

fn main() {
    let args = support::args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["floor", pages] => floor::floor(pages.as_ref()),
        ["tick"] => tick::tick(),
        ["one-tick", now, url] => months::one_tick(now, url),
        ["months"] => months::months(600),
        ["months", hours] => months::months(hours.parse().expect("a number of hours")),
        ["lookups"] => lookups::lookups(),
        ["hours"] => hours::hours(),
        ["growth"] => growth::grow(),
        ["network"] => network::network(),
        #[cfg(feature = "kafka")]
        ["with-brokers", program, ref args @ ..] => cluster::with_brokers(program, args),
        #[cfg(feature = "kafka")]
        ["cluster"] => cluster::cluster(300_000),
        #[cfg(feature = "kafka")]
        ["cluster", records] => cluster::cluster(records.parse().expect("a number of records")),
        [] => floor::compare(&[1_000, 100_000, 1_000_000]),
        _ => floor::compare(&args.iter().map(|arg| arg.parse().expect("a number of records")).collect::<Vec<_>>()),
    }
}
