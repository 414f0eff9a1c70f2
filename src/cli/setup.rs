//! What the stages are told, from the configuration. The only place that knows configuration and stages.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::config::{
    ClientAuth, CodecConfig, Config, Destination, PemText, SourceAuth, SourceLocation, TokenEncryption,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Clock;
use crate::hour::closing::ClosingRules;
use crate::hour::key::Layout;
use crate::job::output::archive::Archive;
use crate::job::{Progress, Setup, Source};
use crate::net::backoff::Backoff;
use crate::net::tls::{Pem, Tls};
use crate::page::decode::Decoder;
use crate::page::decrypt::KeyRing;
use crate::part::codec::Columns;
use crate::part::cut::{CutRules, PART_BYTES};
use crate::record::row::{Codec, Codecs, Compactor};
use crate::record::schema::place_name;
use crate::record::{Dating, Edits, MaskKey, Profile, Schema};
use crate::source::{Auth, Headers, HttpSettings, HttpSource, OAuth2, PageShape, Request, Template};
use crate::state::Settings;
use crate::state::status::StatusFile;
use crate::state::status::evidence::Rules;
use crate::stop::Stop;
use crate::store::ObjectStore;
use crate::store::lake::FileStore;
use crate::store::s3::{S3Settings, S3Store};
use crate::store::settings::StoredSettings;

/// Parts that go to S3 at once: four hide its latency; more only use memory.
const S3_UPLOADS: usize = 4;
/// Parts that go to a directory at once.
const FILE_UPLOADS: usize = 2;

/// Where the parts go, and under which keys.
pub(super) struct Place {
    /// The store.
    pub(super) store: Arc<dyn ObjectStore>,
    /// What all keys start with.
    pub(super) prefix: String,
    /// How the hours' folders are spelled.
    pub(super) layout: Layout,
    /// Parts that go there at once.
    pub(super) uploads: usize,
}

/// The configured destination.
pub(super) fn place(config: &Config) -> Result<Place> {
    place_at(config, config.load.destination()?)
}

/// Another destination than the configured one, with its layout and credentials.
pub(super) fn place_at(config: &Config, destination: &Destination) -> Result<Place> {
    place_until(config, destination, &Stop::new())
}

/// The same; after a stop, its requests are not waited for.
pub(super) fn place_until(config: &Config, destination: &Destination, stop: &Stop) -> Result<Place> {
    let layout = config.load.layout.clone();
    Ok(match destination {
        Destination::Files(root) => {
            Place { store: Arc::new(FileStore::new(root)), prefix: String::new(), layout, uploads: FILE_UPLOADS }
        }
        Destination::S3 { bucket, prefix } => {
            let access = config.load.s3()?;
            let settings = S3Settings {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                endpoint: access.endpoint,
                region: access.region,
                credentials: access.credentials,
                variables: access.variables,
                options: access.options,
            };
            let store = Arc::new(S3Store::new(settings)?.until(stop));
            Place { store, prefix: prefix.clone(), layout, uploads: S3_UPLOADS }
        }
    })
}

/// The named place, else the configured destination.
pub(super) fn place_named(config: &Config, named: Option<&str>) -> Result<Destination> {
    let Some(text) = named else {
        return config.load.destination().cloned();
    };
    let cwd = std::env::current_dir()
        .map_err(|e| Error::new(ErrorKind::State, "cannot tell the current directory").caused_by(e))
        .map_err(|e| e.hint("start etl in a folder that is there"))?;
    Destination::from_argument(text, &cwd)
}

/// The configured compaction.
pub(super) fn compactor(config: &Config) -> Result<Compactor> {
    Ok(Compactor::new(&codecs(config)?))
}

/// The configured codecs.
pub(super) fn codecs(config: &Config) -> Result<Codecs> {
    let codec = |codec: &CodecConfig| match codec {
        CodecConfig::None => None,
        CodecConfig::UuidPair => Some(Codec::UuidPair),
        CodecConfig::Digits => Some(Codec::Digits),
        CodecConfig::Hex => Some(Codec::Hex),
        CodecConfig::Dictionary(dictionary) => Some(Codec::Dictionary(dictionary.clone())),
    };
    let fields = config.compact.fields();
    Codecs::new(fields.filter_map(|(field, of)| Some((field.to_owned(), codec(of)?))).collect())
}

/// How records are dated.
pub(super) fn dating(config: &Config) -> Dating {
    let record = &config.record;
    Dating::new(record.time.clone(), record.time_format.clone(), config.hours.timezone.clone())
}

/// What a record is.
fn schema(config: &Config) -> Result<Schema> {
    let (record, key) = (&config.record, mask_key(config)?);
    let edits = Edits::new(record.drop.clone(), record.mask.clone(), key.unwrap_or_default());
    let schema = Schema::new(dating(config)).with_id(record.id().cloned());
    Ok(schema.with_odd_as_text(record.odd_as_text).with_edits(edits))
}

fn mask_key(config: &Config) -> Result<Option<MaskKey>> {
    Ok(config.record.mask_key()?.map(|secret| MaskKey::of(secret.expose())))
}

/// What a run is told.
pub(super) fn setup<'a>(
    config: &Config,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    progress: &'a (dyn Fn(Progress) + Sync),
) -> Result<Setup<'a>> {
    let place = place_until(config, config.load.destination()?, stop)?;
    setup_at(config, &place, clock, stop, progress)
}

/// The same, with a place that may be shared.
pub(super) fn setup_at<'a>(
    config: &Config,
    place: &Place,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    progress: &'a (dyn Fn(Progress) + Sync),
) -> Result<Setup<'a>> {
    let hours = &config.hours;
    Ok(Setup {
        state_dir: config.state.dir.clone(),
        status_file: status_file(config),
        settings: settings(config)?,
        min_free: config.state.min_free,
        quarantine_max_bytes: config.quarantine.max_bytes,
        decoder: decoder(config)?,
        closing: closing(config),
        cut: CutRules { part_max_records: config.load.part_max_records, part_bytes: PART_BYTES },
        dedup_window: signed(hours.dedup_window),
        columns: Columns::of_records(&config.load.columns, &dating(config))?,
        layout: place.layout.clone(),
        prefix: place.prefix.clone(),
        store: Arc::clone(&place.store),
        archive: archive(config),
        expire_after: config.load.expire_after.map(signed),
        manifest: config.load.manifest,
        signing: config.load.signing.clone(),
        uploads: place.uploads,
        clock,
        stop,
        progress,
    })
}

/// The copy of the status for others, if there is one.
pub(super) fn status_file(config: &Config) -> Option<StatusFile> {
    config.run.status_file.clone().map(|path| StatusFile { path, mode: config.run.status_mode })
}

/// The local originals, if they are kept.
pub(super) fn archive(config: &Config) -> Option<Archive> {
    config.archive.dir.clone().map(|dir| Archive { dir, keep: config.archive.keep })
}

/// When hours close.
pub(super) fn closing(config: &Config) -> ClosingRules {
    let hours = &config.hours;
    ClosingRules { zone: hours.timezone.clone(), grace: signed(hours.grace), late_hold: signed(hours.late_hold) }
}

/// How hours are judged.
pub(super) fn judging(config: &Config) -> Rules {
    Rules {
        closing: closing(config),
        zone: config.hours.timezone_name().to_owned(),
        sequence: config.record.id().map_or_else(String::new, place_name),
    }
}

/// What decodes pages.
pub(super) fn decoder(config: &Config) -> Result<Decoder> {
    Ok(Decoder {
        shape: shape(config),
        ring: ring(config)?,
        schema: schema(config)?,
        compactor: compactor(config)?,
        dictionaries: codecs(config)?.fingerprint(),
        max_future: signed(config.hours.max_future),
    })
}

/// What the source's pages look like.
pub(super) fn shape(config: &Config) -> PageShape {
    let source = &config.source;
    let is_encrypted = source.encryption == TokenEncryption::Fernet;
    PageShape { items: source.items.clone(), token: source.token.clone(), is_encrypted }
}

/// The keys; none where nothing is encrypted.
pub(super) fn ring(config: &Config) -> Result<KeyRing> {
    match config.source.encryption {
        TokenEncryption::Fernet => KeyRing::new(&config.source.keys()?),
        TokenEncryption::None => Ok(KeyRing::of_plain()),
    }
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// What is recorded in the state.
pub(super) fn settings(config: &Config) -> Result<Settings> {
    let destination = match config.load.destination()? {
        // Relative to the state, so that both can be moved together.
        Destination::Files(root) => format!("file:{}", from_to(&config.state.dir, root).display()),
        s3 => s3.to_string(),
    };
    Ok(Settings {
        timezone: config.hours.timezone_name().to_owned(),
        layout: config.load.layout.template().to_owned(),
        format: config.load.layout.format(),
        columns: config
            .load
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.kind.name().to_owned()))
            .collect(),
        destination,
        record: profile(config)?,
        codecs: codecs(config)?,
        range: crate::hour::range::HashRange::ALL,
        lane: String::new(),
    })
}

fn profile(config: &Config) -> Result<Profile> {
    Ok(Profile::new(&dating(config), &config.record.drop, &config.record.mask, mask_key(config)?))
}

/// What a place says whose parts have this `layout`.
pub(super) fn stored_settings(config: &Config, layout: &Layout) -> Result<StoredSettings> {
    Ok(StoredSettings::new(config.hours.timezone_name(), layout).of_records(&profile(config)?, &codecs(config)?))
}

/// The way from one absolute path to another.
fn from_to(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component>, Vec<Component>) = (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.into_iter().skip(shared)).collect()
}

/// The client of an HTTP source; `None` where the source is files.
pub(super) fn client(config: &Config, stop: &Stop) -> Result<Option<HttpSource>> {
    let SourceLocation::Http(_) = config.source.location()? else {
        return Ok(None);
    };
    let sent = config.source.auth()?;
    let headers = Headers::new(sent.headers.iter().map(|(name, value)| (name.as_str(), value.expose())))?;
    let settings = HttpSettings {
        headers,
        timeout: config.source.timeout,
        retries: config.source.retries,
        max_page_bytes: config.source.max_page_bytes,
        backoff: Backoff::SOURCE,
        shape: shape(config),
    };
    Ok(Some(HttpSource::new(settings, stop.clone()).with(auth(sent)?)))
}

/// What lets requests in beside their headers.
pub(super) fn auth(sent: SourceAuth) -> Result<Auth> {
    let oauth2 = sent.oauth2.map(|client| {
        let in_body = client.auth == ClientAuth::Post;
        let request = Request { scope: &client.scope, audience: &client.audience, in_body };
        OAuth2::new(&client.token_url, client.id, client.secret, request)
    });
    let oauth2 = oauth2.transpose()?;
    let mut tls = Tls::default();
    if let Some(ca) = &sent.ca {
        tls = tls.trusting(pem(ca))?;
    }
    if let Some((cert, key)) = &sent.identity {
        tls = tls.showing(pem(cert), pem(key))?;
    }
    Ok(Auth { oauth2, tls, disguised: sent.disguised })
}

fn pem(text: &PemText) -> Pem<'_> {
    Pem { place: &text.place, text: text.text.expose() }
}

/// What an HTTP source is asked for, and how one page leads to the next.
pub(super) fn template(config: &Config) -> Result<Template> {
    let SourceLocation::Http(url) = config.source.location()? else {
        return Err(Error::new(ErrorKind::Config, "source.url is files, and no API")
            .hint("name an http: or https: address; files are read whole by `etl run`"));
    };
    Template::new(url.expose(), config.source.asking(), config.source.paging.clone(), config.source.items.clone())
}

/// Where the pages come from; `client` is that of [`client`].
pub(super) fn source<'a>(config: &Config, client: Option<&'a mut HttpSource>) -> Result<Source<'a>> {
    Ok(match (config.source.location()?, client) {
        (SourceLocation::Http(_), Some(client)) => Source::Http { client, template: template(config)? },
        (SourceLocation::Http(_), None) => {
            return Err(Error::new(ErrorKind::Bug, "an HTTP source without a client"));
        }
        (SourceLocation::Files(pattern), _) => {
            Source::Files { pattern: pattern.clone(), max_page_bytes: config.source.max_page_bytes }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_lake_can_be_moved_together() {
        let way = |from: &str, to: &str| from_to(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(way("/a/etl-state", "/a/lake"), "../lake");
        assert_eq!(way("/b/c/etl-state", "/b/c/lake"), "../lake");
        assert_eq!(way("/a/state", "/x/y"), "../../x/y");
    }
}
