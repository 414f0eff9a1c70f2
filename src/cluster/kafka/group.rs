//! Who is in a group. Reads only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::{Admin, PATIENCE};
use crate::error::Result;

/// Between two tries.
const MOMENT: Duration = Duration::from_millis(200);

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// What its client calls itself: `etl-<name>-<instance>`.
    pub client: String,
    /// Where it is.
    pub host: String,
    /// What it owns of each topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

impl Admin {
    /// Who is in a group, and what each owns.
    pub fn members(&self, group: &str) -> Result<Vec<GroupMember>> {
        let what = format!("cannot look at the group {group}");
        let began = Instant::now();
        let list = loop {
            match self.reader.fetch_group_list(Some(group), PATIENCE) {
                // A broker that has just begun to look after groups, or no longer does.
                Err(cause) if is_of_a_change(&cause) && began.elapsed() < PATIENCE => std::thread::sleep(MOMENT),
                list => break list.map_err(|cause| self.failure(&what, &cause))?,
            }
        };
        let groups = list.groups().iter().filter(|found| found.name() == group);
        let members = groups.flat_map(rdkafka::groups::GroupInfo::members).map(|member| GroupMember {
            client: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: member.assignment().and_then(assignment).unwrap_or_default(),
        });
        Ok(members.collect())
    }
}

/// Whether the groups are on their way to a broker.
fn is_of_a_change(cause: &KafkaError) -> bool {
    let code = cause.rdkafka_error_code();
    matches!(code, Some(Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable | Code::NotCoordinator))
}

/// What Kafka's consumer protocol says of a member: a version, then topics with their partitions.
fn assignment(mut bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let _version = take::<2>(&mut bytes)?;
    let mut topics = BTreeMap::new();
    for _ in 0..i32::from_be_bytes(take::<4>(&mut bytes)?) {
        let length = usize::try_from(i16::from_be_bytes(take::<2>(&mut bytes)?)).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let mut partitions = Vec::new();
        for _ in 0..i32::from_be_bytes(take::<4>(&mut bytes)?) {
            partitions.push(i32::from_be_bytes(take::<4>(&mut bytes)?));
        }
        partitions.sort_unstable();
        topics.insert(String::from_utf8(name.to_vec()).ok()?, partitions);
    }
    Some(topics)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_is_read_as_kafka_writes_it() {
        let mut bytes = vec![0, 3, 0, 0, 0, 1, 0, 4];
        bytes.extend(b"a.bc");
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(assignment(&bytes), Some(BTreeMap::from([("a.bc".to_owned(), vec![1, 5])])));
        for cut in 0..bytes.len() - 4 {
            assert_eq!(assignment(&bytes[..cut]), None, "{cut}");
        }
    }
}
