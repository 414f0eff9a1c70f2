//! Which topics a cluster has, how they have to be set, and what is wrong with those that are there. Pure.
//!
//! Invariant: nothing is accepted with which Kafka would delete by itself what is still needed, or lose what it has acknowledged when one
//! broker is lost.

use serde::Serialize;

use super::kafka::{TopicSpec, TopicState};
use super::names::Names;
use crate::error::{Error, ErrorKind, Result};

/// On how many brokers each partition is, where there are as many.
const REPLICATION: u32 = 3;
/// The partitions of topics whose number of them is free.
const PARTITIONS: u32 = 3;
/// What a broker takes by default, and the least that a chunk of a page needs.
const LEAST_MESSAGE: u64 = 1_048_576;

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pages,
    Lanes,
    Quarantine,
    Waiting,
    Status,
}

/// A topic as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    kind: Kind,
    /// Its name.
    pub name: String,
    lanes: u32,
}

/// Something about a topic that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The topic; empty: the brokers.
    pub topic: String,
    /// A sentence.
    pub what: String,
    /// What mends it.
    pub fix: String,
    /// Whether nothing may be done before it is mended.
    pub is_refused: bool,
}

/// All topics of a cluster in this epoch.
#[must_use]
pub fn wanted(names: &Names, epoch: u32, lanes: u32) -> Vec<Wanted> {
    let of = |kind, name| Wanted { kind, name, lanes };
    vec![
        of(Kind::Pages, names.pages()),
        of(Kind::Lanes, names.lanes(epoch)),
        of(Kind::Quarantine, names.quarantine()),
        of(Kind::Waiting, names.waiting()),
        of(Kind::Status, names.status()),
    ]
}

impl Wanted {
    /// How it is made where there are so many brokers.
    #[must_use]
    pub fn spec(&self, brokers: usize) -> TopicSpec {
        let replication = u32::try_from(brokers).unwrap_or(REPLICATION).clamp(1, REPLICATION);
        let in_sync = if replication < REPLICATION { "1" } else { "2" };
        let mut settings = vec![
            ("cleanup.policy", self.policy()),
            ("min.insync.replicas", in_sync),
            ("unclean.leader.election.enable", "false"),
            ("compression.type", "producer"),
            ("max.message.bytes", "1048588"),
        ];
        settings.extend(match self.kind {
            Kind::Pages | Kind::Lanes | Kind::Waiting => {
                // What is deleted goes a file at a time.
                [("retention.ms", "-1"), ("retention.bytes", "-1"), ("segment.bytes", "134217728")]
            }
            // Only files that are finished are compacted.
            Kind::Quarantine | Kind::Status => {
                [("segment.bytes", "16777216"), ("segment.ms", "86400000"), ("min.cleanable.dirty.ratio", "0.1")]
            }
        });
        if self.kind == Kind::Pages {
            settings.push(("flush.messages", "1"));
        }
        TopicSpec { name: self.name.clone(), partitions: self.partitions(), replication, settings }
    }

    const fn partitions(&self) -> u32 {
        match self.kind {
            Kind::Lanes => self.lanes,
            Kind::Status => 1,
            Kind::Pages | Kind::Quarantine | Kind::Waiting => PARTITIONS,
        }
    }

    const fn policy(&self) -> &'static str {
        match self.kind {
            Kind::Quarantine | Kind::Status => "compact",
            Kind::Pages | Kind::Lanes | Kind::Waiting => "delete",
        }
    }

    /// What is wrong with the topic as it is; `brokers`: how many there are.
    #[must_use]
    pub fn findings(&self, found: Option<&TopicState>, brokers: usize) -> Vec<Finding> {
        match found {
            None => vec![self.refused("it is not there".to_owned(), "make it with `etl cluster init`".to_owned())],
            Some(state) => [self.settings(state), self.copies(state, brokers), self.shape(state)].concat(),
        }
    }

    /// Its settings.
    fn settings(&self, state: &TopicState) -> Vec<Finding> {
        let mut wanted = vec![("cleanup.policy", self.policy()), ("unclean.leader.election.enable", "false")];
        if self.policy() == "delete" {
            wanted.extend([("retention.ms", "-1"), ("retention.bytes", "-1")]);
        }
        if self.kind == Kind::Pages {
            wanted.push(("flush.messages", "1"));
        }
        let mut findings: Vec<Finding> = wanted
            .into_iter()
            .filter_map(|(key, value)| {
                let is = state.settings.get(key)?;
                let why = why(key, self.policy());
                (is != value).then(|| self.refused(format!("{key} is {is}: {why}"), self.set(key, value)))
            })
            .collect();
        let largest = state.settings.get("max.message.bytes").and_then(|text| text.parse::<u64>().ok());
        if let Some(largest) = largest.filter(|largest| *largest < LEAST_MESSAGE) {
            let what = format!("max.message.bytes is {largest}: a message of etl can be larger");
            findings.push(self.refused(what, self.set("max.message.bytes", "1048588")));
        }
        findings
    }

    /// On how many brokers it is, and has to be.
    fn copies(&self, state: &TopicState, brokers: usize) -> Vec<Finding> {
        let name = &self.name;
        let in_sync = state.settings.get("min.insync.replicas").and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
        if state.replication < REPLICATION {
            let what = format!("each partition is on {} of {brokers} brokers", state.replication);
            if brokers >= 3 {
                let fix = format!(
                    "put it on three with `kafka-reassign-partitions.sh`, or delete {name} while it is empty and run `etl cluster init`"
                );
                return vec![self.refused(format!("{what}: what it holds can be lost with one of them"), fix)];
            }
            let fix = "run three brokers, and move the topics onto them with `kafka-reassign-partitions.sh`".to_owned();
            return vec![self.warned(format!("{what}: what it holds is lost with that disk"), fix)];
        }
        if in_sync < 2 {
            let what =
                format!("min.insync.replicas is {in_sync}: what one broker alone has acknowledged can be lost with it");
            return vec![self.refused(what, self.set("min.insync.replicas", "2"))];
        }
        if in_sync >= state.replication {
            let what = format!(
                "min.insync.replicas is {in_sync} of {} replicas: with one broker down nothing is taken",
                state.replication
            );
            return vec![self.warned(what, self.set("min.insync.replicas", "2"))];
        }
        Vec::new()
    }

    /// Its partitions, and how they are.
    fn shape(&self, state: &TopicState) -> Vec<Finding> {
        let mut findings = Vec::new();
        let partitions = state.partitions;
        match self.kind {
            Kind::Lanes if partitions != self.lanes => findings.push(self.refused(
                format!(
                    "it has {partitions} partitions, and cluster.lanes is {}: records would change their lanes",
                    self.lanes
                ),
                format!("set cluster.lanes = {partitions}; another number is made with `etl cluster lanes`"),
            )),
            Kind::Status if partitions != 1 => findings.push(self.refused(
                format!("it has {partitions} partitions, and one is read"),
                format!("delete it with `kafka-topics.sh --delete --topic {}`, then `etl cluster init`", self.name),
            )),
            _ => {}
        }
        for (count, what, fix) in [
            (state.without_leader, "have no leader: nobody can read or write them", "start the brokers that have them"),
            (state.under_replicated, "lag behind on a broker", "look whether all brokers run"),
        ] {
            if count > 0 {
                findings.push(self.warned(format!("{count} of {partitions} partitions {what}"), fix.to_owned()));
            }
        }
        findings
    }

    fn refused(&self, what: String, fix: String) -> Finding {
        Finding { topic: self.name.clone(), what, fix, is_refused: true }
    }

    fn warned(&self, what: String, fix: String) -> Finding {
        Finding { is_refused: false, ..self.refused(what, fix) }
    }

    /// The command that changes a setting.
    fn set(&self, key: &str, value: &str) -> String {
        format!(
            "kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name {} --add-config {key}={value}",
            self.name
        )
    }
}

/// Why a setting has to be what it has to be.
fn why(key: &str, policy: &str) -> &'static str {
    match key {
        "retention.ms" | "retention.bytes" => "Kafka would delete by itself what is not in the store yet",
        "unclean.leader.election.enable" => {
            "a broker that lags behind could become the leader, and what it lacks would be lost"
        }
        "flush.messages" => "what Kafka has acknowledged would be lost if all brokers lose power at once",
        _ if policy == "delete" => "messages would replace each other",
        _ => "it would grow without end, or forget what is still needed",
    }
}

/// The first finding with which nothing may be done, as an error.
///
/// # Errors
/// `Config`, with what mends it.
pub fn refuse(findings: &[Finding]) -> Result<()> {
    match findings.iter().find(|finding| finding.is_refused) {
        None => Ok(()),
        Some(finding) => Err(Error::new(ErrorKind::Config, format!("the topic {}: {}", finding.topic, finding.what))
            .hint(finding.fix.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topic of this kind as `etl cluster init` makes it.
    fn made(kind: Kind, brokers: usize) -> (Wanted, TopicState) {
        let wanted = wanted(&Names::new("l"), 1, 4).into_iter().find(|wanted| wanted.kind == kind).unwrap();
        let spec = wanted.spec(brokers);
        let settings = spec.settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let state = TopicState {
            partitions: spec.partitions,
            replication: spec.replication,
            settings,
            ..TopicState::default()
        };
        (wanted, state)
    }

    const KINDS: [Kind; 5] = [Kind::Pages, Kind::Lanes, Kind::Quarantine, Kind::Waiting, Kind::Status];

    #[test]
    fn what_is_made_is_right_on_three_brokers_and_warned_of_on_one() {
        for kind in KINDS {
            let (wanted, state) = made(kind, 3);
            assert_eq!(wanted.findings(Some(&state), 3), [], "{kind:?}");
            let (wanted, state) = made(kind, 1);
            let findings = wanted.findings(Some(&state), 1);
            assert!(findings.len() == 1 && !findings[0].is_refused, "{findings:?}");
            assert!(refuse(&findings).is_ok());
        }
    }

    #[test]
    fn each_wrong_setting_is_refused_with_the_command_that_mends_it() {
        let cases = [
            (Kind::Pages, "retention.ms", "604800000"),
            (Kind::Lanes, "retention.bytes", "1000"),
            (Kind::Waiting, "cleanup.policy", "compact"),
            (Kind::Waiting, "cleanup.policy", "compact,delete"),
            (Kind::Status, "cleanup.policy", "delete"),
            (Kind::Quarantine, "cleanup.policy", "compact,delete"),
            (Kind::Pages, "flush.messages", "9223372036854775807"),
            (Kind::Lanes, "unclean.leader.election.enable", "true"),
            (Kind::Lanes, "min.insync.replicas", "1"),
            (Kind::Lanes, "max.message.bytes", "100000"),
        ];
        for (kind, key, value) in cases {
            let (wanted, mut state) = made(kind, 3);
            state.settings.insert(key.to_owned(), value.to_owned());
            let findings = wanted.findings(Some(&state), 3);
            assert!(findings.len() == 1 && findings[0].is_refused, "{key}: {findings:?}");
            assert!(
                findings[0].what.contains(key)
                    && findings[0].fix.contains(&format!("--entity-name {} --add-config {key}=", wanted.name))
            );
        }
    }

    #[test]
    fn topics_that_are_missing_cut_otherwise_or_on_too_few_brokers_are_refused() {
        let (wanted, state) = made(Kind::Lanes, 3);
        let error = refuse(&wanted.findings(None, 3)).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.next_step().unwrap().contains("etl cluster init"));
        let other = TopicState { partitions: 3, ..state.clone() };
        assert!(
            refuse(&wanted.findings(Some(&other), 3)).unwrap_err().next_step().unwrap().contains("cluster.lanes = 3")
        );
        let few = TopicState { replication: 1, ..state.clone() };
        assert!(refuse(&wanted.findings(Some(&few), 3)).unwrap_err().to_string().contains("1 of 3 brokers"));
        let lagging = TopicState { under_replicated: 2, without_leader: 1, ..state };
        let findings = wanted.findings(Some(&lagging), 3);
        assert!(findings.len() == 2 && findings.iter().all(|finding| !finding.is_refused));
    }
}
