//! This machine as one of a cluster: what `etl run` and `etl replay` do where the configuration has a section `[cluster]`.
//!
//! The membership outlives a tick of `etl run --every`: who leaves and joins again would move lanes about. Another configuration of the
//! cluster ends it.

use crate::config::Config;
use crate::error::Result;
use crate::job::{Outcome, RunRequest};
use crate::stop::Stop;

#[cfg(feature = "kafka")]
pub(super) use with_kafka::Machine;
#[cfg(not(feature = "kafka"))]
pub(super) use without_kafka::Machine;

#[cfg(feature = "kafka")]
mod with_kafka {
    use super::{Config, Outcome, Result, RunRequest, Stop};
    use crate::cli::progress::RunDisplay;
    use crate::cli::setup;
    use crate::cluster::{Tick, Worker};
    use crate::config::{ClusterConfig, SourceLocation};
    use crate::error::{Error, ErrorKind};
    use crate::hour::{Clock, SystemClock};

    /// What of a cluster lives from tick to tick.
    #[derive(Default)]
    pub(in crate::cli) struct Machine(Option<(ClusterConfig, Worker)>);

    /// The address that is fetched, as the cluster records it.
    fn source_name(config: &Config) -> Result<Option<String>> {
        match config.source.location()? {
            SourceLocation::Http(_) => Ok(Some(setup::template(config)?.to_string())),
            SourceLocation::Files(_) => Ok(None),
        }
    }

    /// Only asks the source, if this machine is the one that did: what comes waits for the brokers.
    fn without_brokers(cluster: &ClusterConfig, tick: &mut Tick<'_, '_, '_>, error: Error) -> Result<Outcome> {
        let Some(mut outcome) = Worker::fetch_alone(cluster, tick) else { return Err(error) };
        outcome.problems.push(error);
        outcome.problems.sort_by_key(Error::kind);
        Ok(outcome)
    }

    impl Machine {
        /// One tick, if the configuration has a cluster. `fetches`: whether the source is asked.
        pub(in crate::cli) fn tick(
            &mut self,
            config: &Config,
            request: RunRequest,
            fetches: bool,
            stop: &Stop,
        ) -> Option<Result<Outcome>> {
            config.cluster.as_ref().map(|cluster| self.tick_in(cluster, config, request, fetches, stop))
        }

        fn tick_in(
            &mut self,
            cluster: &ClusterConfig,
            config: &Config,
            request: RunRequest,
            fetches: bool,
            stop: &Stop,
        ) -> Result<Outcome> {
            let display = RunDisplay::new();
            let progress = |progress| display.show(progress);
            // One for all lanes of the tick: each would have to connect and to log in by itself.
            let place = setup::place_until(config, config.load.destination()?, stop)?;
            let make = || setup::setup_at(config, &place, &SystemClock, stop, &progress);
            let is_of_now = |known: &ClusterConfig| known == cluster;
            let mut client = setup::client(config, &stop.at_half_time())?;
            let source = fetches.then(|| setup::source(config, client.as_mut())).transpose()?;
            let mut tick = Tick { setup: &make, source, drain: request.drain, stop };
            if !self.0.as_ref().is_some_and(|(known, worker)| is_of_now(known) && !worker.has_failed()) {
                self.leave();
                match Worker::join(cluster, &make()?, source_name(config)?) {
                    Ok(worker) => self.0 = Some((cluster.clone(), worker)),
                    // The source forgets, and the brokers do not.
                    Err(error) if error.kind() == ErrorKind::Unavailable => {
                        return without_brokers(cluster, &mut tick, error);
                    }
                    Err(error) => return Err(error),
                }
            }
            let recovered = if request.quarantine {
                let decoder = setup::decoder(config)?;
                crate::cluster::retry_quarantine(cluster, &decoder, SystemClock.now(), stop)?
            } else {
                0
            };
            let outcome = self.0.as_mut().map(|(_, worker)| worker.tick(tick));
            let outcome = outcome.map(|mut outcome| {
                outcome.summary.recovered += recovered;
                outcome
            });
            display.end();
            outcome.ok_or_else(|| Error::new(ErrorKind::Bug, "this machine is not in its cluster"))
        }

        /// Whether the next tick should not wait, as far as this machine is in a cluster.
        pub(in crate::cli) fn has_news(&self) -> Option<bool> {
            self.0.as_ref().map(|(_, worker)| worker.has_news())
        }

        /// Leaves the cluster, if it is in one.
        pub(in crate::cli) fn leave(&mut self) {
            if let Some((_, worker)) = self.0.take() {
                worker.leave();
            }
        }
    }
}

#[cfg(not(feature = "kafka"))]
mod without_kafka {
    use super::{Config, Outcome, Result, RunRequest, Stop};

    /// Nothing: a configuration with a cluster is refused.
    #[derive(Default)]
    pub(in crate::cli) struct Machine(());

    impl Machine {
        #[expect(clippy::unused_self, reason = "the same as with a cluster")]
        pub(in crate::cli) const fn tick(
            &mut self,
            _: &Config,
            _: RunRequest,
            _: bool,
            _: &Stop,
        ) -> Option<Result<Outcome>> {
            None
        }

        #[expect(clippy::unused_self, reason = "the same as with a cluster")]
        pub(in crate::cli) const fn has_news(&self) -> Option<bool> {
            None
        }

        #[expect(clippy::unused_self, reason = "the same as with a cluster")]
        pub(in crate::cli) const fn leave(&mut self) {}
    }
}
