//! A part's manifest: its certificate as a small object outside `data/`, for those who read the store and not the state.
//!
//! It is created, and only created, after its part and before the receipt: a receipt says that the manifest is there too. A
//! crash in between repeats both, with the same bytes, which a look finds to be there. A manifest that somebody else wrote is
//! left alone, with a warning. Before the receipt it is also listed for the digest of its day.

use std::path::PathBuf;

use super::spooled_part::Upload;
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartRow, PartStage};
use crate::job::Run;
use crate::process::parallel::parallel_map;
use crate::state::Undigested;
use crate::state::files::durable;
use crate::state::status::certificate::Manifest;
use crate::stop::Stop;
use crate::store::once::{self, CreateOnly, Outcome, Sealed};
use crate::store::{ObjectStore, PartMeta};

/// A manifest in the spool.
struct Spooled {
    hour: Hour,
    part: u32,
    key: String,
    body: PathBuf,
    bytes: Vec<u8>,
    meta: PartMeta,
}

/// Publishes the manifests of the parts of a round that are in the store now. The answer of a part whose manifest is not
/// becomes that failure, so that it gets no receipt yet.
pub(super) fn publish_manifests(
    run: &mut Run<'_>,
    round: &[Upload],
    answers: Vec<Result<Outcome>>,
    create_only: CreateOnly,
) -> Result<Vec<Result<Outcome>>> {
    if !run.setup.manifest {
        return Ok(answers);
    }
    let mut spooled = Vec::with_capacity(round.len());
    for (upload, answer) in round.iter().zip(&answers) {
        spooled.push(match answer {
            Ok(Outcome::Uploaded { sha256, size, .. }) => {
                let row = run.state.hours.row(upload.hour)?;
                spool_manifest(run, &row, upload, sha256, *size)?
            }
            _ => None,
        });
    }
    let (store, stop) = (&*run.setup.store, run.setup.stop);
    let published = parallel_map(&spooled, run.setup.uploads, |one| match one {
        Some(manifest) => manifest.publish(store, create_only, stop).map(Some),
        None => Ok(None),
    });
    for manifest in spooled.iter().flatten() {
        durable::remove(&manifest.body)?;
    }
    // A lane makes no digests.
    if !run.setup.is_lane() {
        let undigested: Vec<Undigested> = published.iter().flatten().copied().flatten().collect();
        run.state.hours.digests.note(&undigested)?;
    }
    Ok(answers.into_iter().zip(published).map(|(answer, published)| published.and(answer)).collect())
}

/// Publishes the manifests of parts that were taken over without one: whoever made them died in between. What has a manifest is taken for
/// ever, even where a part is deleted later. `row` has them already, the ledger not yet.
pub(crate) fn publish_for(run: &mut Run<'_>, row: &HourRow, parts: &[u32]) -> Result<()> {
    let is_bare = |part: &&PartRow| part.stage == PartStage::Uploaded && parts.contains(&part.part);
    for part in row.parts.iter().filter(is_bare) {
        let (hour, body) = (row.hour, run.state.hours.spool_path(row.hour, part.part));
        let upload = Upload { hour, row: part.clone(), body };
        let spooled = spool_manifest(run, row, &upload, &part.identity.sha256, part.identity.bytes)?;
        let Some(manifest) = spooled else { continue };
        let published = manifest.publish(&*run.setup.store, run.create_only(), run.setup.stop);
        durable::remove(&manifest.body)?;
        published?;
    }
    Ok(())
}

fn spool_manifest(run: &Run<'_>, row: &HourRow, upload: &Upload, sha256: &str, size: u64) -> Result<Option<Spooled>> {
    let Some(manifest) = Manifest::of(row, &upload.row, sha256, size) else { return Ok(None) };
    let mut bytes = serde_json::to_vec(&manifest)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a manifest").caused_by(e))?;
    bytes.push(b'\n');
    let key = run.setup.layout.manifest_key(&run.setup.prefix, upload.hour, upload.row.part);
    // No intent names it: what a crash leaves of it goes with the next clearing of the spool.
    let body = upload.body.with_added_extension("manifest");
    durable::replace_unsynced(&body, &bytes)?;
    let meta = PartMeta::of_document(&bytes, &upload.hour.to_string(), &upload.row.dict);
    Ok(Some(Spooled { hour: upload.hour, part: upload.row.part, key, body, bytes, meta }))
}

impl Spooled {
    /// Publishes it. Gives what a digest says of the manifest that is there now.
    fn publish(&self, store: &dyn ObjectStore, create_only: CreateOnly, stop: &Stop) -> Result<Undigested> {
        let sealed = Sealed { key: &self.key, body: &self.body, meta: &self.meta };
        let mut sha256 = Sha256::of(&self.bytes);
        // A lake keeps no metadata: there the bytes say whether it is ours.
        if let Outcome::Foreign { .. } = once::upload(store, &sealed, create_only, stop)? {
            let there = store.get(&self.key)?;
            if there != self.bytes {
                tracing::warn!("{}: another manifest is there already: left alone", self.key);
            }
            sha256 = Sha256::of(there);
        }
        Ok(Undigested { hour: self.hour, part: self.part, sha256 })
    }
}
