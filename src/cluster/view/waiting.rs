//! Pages that wait because they cannot be read now: how many, and when they were received.

use jiff::Timestamp;

use super::{Look, between};
use crate::cluster::chunks::ChunkHead;
use crate::cluster::feed::{Feed, Flow};
use crate::cluster::kafka::Reader;
use crate::cluster::waiting::Why;
use crate::error::Result;
use crate::stop::Stop;

/// So many messages are looked at: each can have half a megabyte.
const LOOKED_AT: u64 = 256;

/// The pages that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// How many.
    pub(crate) pages: u64,
    /// When they were received, and whether they are no pages: those that were looked at.
    pub(crate) received: Vec<(Timestamp, bool)>,
    /// Whether there are more of them.
    pub(crate) has_more: bool,
}

pub(super) fn read(look: &Look<'_>) -> Result<Waiting> {
    let (topic, mut waiting) = (look.names.waiting(), Waiting::default());
    let ends = look.admin.ends(&topic)?;
    if ends.values().all(|(low, end)| low == end) {
        return Ok(waiting);
    }
    let committed = look.admin.committed(&look.names.waiting_group(), &topic)?;
    let (mut reader, stop, mut looked) = (Reader::new(look.connection)?, Stop::new(), 0);
    for (partition, (low, end)) in ends {
        let from = committed.get(&partition).map_or(low, |at| low.max(*at));
        let first_looked = looked;
        if from >= end {
            continue;
        }
        Feed::open(&mut reader, &topic, partition, Some(from), &stop)?.each(&mut |message| {
            let is_page = !matches!(Why::read(|name| message.header(name)), Why::NotAPage);
            let head = ChunkHead::read(|name| message.header(name)).filter(ChunkHead::is_first);
            if let Some(head) = head {
                waiting.pages += 1;
                waiting.received.push((head.received, !is_page));
            }
            looked += 1;
            Ok(if looked < LOOKED_AT { Flow::On } else { Flow::Pause })
        })?;
        let left = between(from, end).saturating_sub(looked - first_looked);
        if looked >= LOOKED_AT && left > 0 {
            waiting.has_more = true;
            waiting.pages += left;
        }
    }
    Ok(waiting)
}
