//! A segment of the journal, decoded: its pages in parallel, the results in their order. Pure, so a crash leaves nothing.

use crate::page::decode::{Decoded, Decoder};
use crate::page::parse::NotAPage;
use crate::process::parallel::{parallel_map, threads};
use crate::state::files::crash_point;
use crate::state::pages::journal::Segment;
use crate::stop::Stop;

/// Fewer pages than these are decoded on one thread.
const WORTH_A_THREAD: usize = 4;

/// Decodes a segment's pages, in parallel where there are several.
pub(crate) fn decode(decoder: &Decoder, segment: &Segment, stop: &Stop) -> Vec<Result<Decoded, NotAPage>> {
    let pages: Vec<&[u8]> = segment.pages().collect();
    let threads = if pages.len() < WORTH_A_THREAD { 1 } else { threads() };
    parallel_map(&pages, threads, |body| {
        crash_point::reading(body);
        decoder.page_until(body, segment.received, &|| stop.is_requested())
    })
}
