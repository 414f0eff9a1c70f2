//! Odd tokens → quarantine, and the pages whose odd tokens find no room there: the quarantine is capped.
//!
//! The good records of such a page are committed once, as usual, and the page stays in the journal: its number is on the watch
//! list `held` before its commit, so that no crash lets it go. It is looked at again when there is room; a crash then finds its
//! tokens in the quarantine, or the page still held.

use super::decoding::decode;
use crate::error::{Error, ErrorKind, Result};
use crate::job::context::Run;
use crate::page::decode::{Decoded, Ended};
use crate::page::parse::NotAPage;
use crate::state::pages::journal::Segment;
use crate::state::pages::quarantine::{Added, OddToken, share_bits};

/// Keeps the odd tokens of a segment's pages. `None`: the run is to stop, and nothing was kept.
///
/// Where they are too many to be held in memory, they are found again in the pages, a share of them at a time: then which came
/// before is known in bounded memory.
pub(super) fn quarantine(
    run: &mut Run<'_>,
    segment: &Segment,
    bodies: &[&[u8]],
    pages: &[Decoded],
) -> Result<Option<Added>> {
    let (decoder, stop) = (&run.setup.decoder, || run.setup.stop.is_requested());
    let bits = share_bits(pages.iter().map(Decoded::distinct_odd).sum());
    let mut adding = run.state.pages.quarantine.begin(segment.id.number);
    for share in 0..1 << bits {
        for (body, page) in bodies.iter().zip(pages) {
            let mut each = |odd: &OddToken| if odd_share(odd, bits) == share { adding.push(odd) } else { Ok(()) };
            if !page.dropped_odd() {
                page.odd.iter().try_for_each(&mut each)?;
                continue;
            }
            match decoder.odd_again(body, segment.received, &stop, &mut |odd| each(&odd)) {
                Ok(()) => {}
                Err(Ended::Page(_)) => return Ok(None),
                Err(Ended::Taker(error)) => return Err(error),
            }
        }
        adding.forget();
    }
    let added = adding.finish()?;
    run.problems.extend(run.state.pages.quarantine.take_damaged());
    Ok(Some(added))
}

/// Which of 2^`bits` shares an odd token belongs to.
fn odd_share(odd: &OddToken, bits: u32) -> u64 {
    if bits == 0 { 0 } else { odd.identity().share(bits) }
}

/// Keeps a page in the journal whatever becomes of its records.
pub(super) fn hold(run: &mut Run<'_>, segment: &Segment) -> Result<()> {
    run.state.pages.hold(segment.id)?;
    let what = format!(
        "page {}: its odd tokens find no room: the quarantine may have {} bytes (quarantine.max_bytes) and has {}",
        run.state.pages.journal().path(segment.id).display(),
        run.setup.quarantine_max_bytes,
        run.state.pages.quarantine.bytes()
    );
    let hint = "its records are kept, and the page waits in the journal: export and drop what nobody needs, or raise \
                the cap, and the next run takes them";
    run.record_or_fail(Error::new(ErrorKind::Quarantined, what).hint(hint))
}

/// Looks again at the pages whose odd tokens found no room, oldest first, until one finds none again.
pub(super) fn quarantine_held(run: &mut Run<'_>) -> Result<()> {
    for id in run.state.held()? {
        if run.is_stopped() || run.state.pages.quarantine.is_full() {
            break;
        }
        // A damaged one is reported where it is committed, or by the watch list.
        let Ok(segment) = run.state.pages.journal().read(id) else { continue };
        let decoded = decode(&run.setup.decoder, &segment, run.setup.stop);
        if decoded.iter().any(|page| matches!(page, Err(NotAPage::Interrupted))) {
            break;
        }
        let pages = segment.pages().zip(decoded).filter_map(|(body, page)| Some((body, page.ok()?)));
        let (bodies, pages): (Vec<&[u8]>, Vec<Decoded>) = pages.filter(|(_, page)| !page.key_is_wrong()).unzip();
        let Some(added) = quarantine(run, &segment, &bodies, &pages)? else { break };
        if added.is_full {
            break;
        }
        run.summary.quarantined(&added);
        run.state.pages.let_go(id)?;
    }
    Ok(())
}
