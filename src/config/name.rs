//! What a pipeline is called. Pure.

use std::path::Path;

use super::Config;

impl Config {
    /// What the pipeline is called: `run.name`, else the name of its configuration file, or of the folder of an `etl.toml`.
    #[must_use]
    pub fn name(&self) -> String {
        if !self.run.name.is_empty() {
            return self.run.name.clone();
        }
        match self.file.as_deref() {
            Some(file) => name_of(file),
            None => {
                let folder = self.state.dir.parent().and_then(Path::file_name);
                folder.map_or_else(|| "etl".to_owned(), |name| name.to_string_lossy().into_owned())
            }
        }
    }

    /// The name that tells the pipeline from others of this machine: `None` where it has only that of its folder.
    #[must_use]
    pub fn own_name(&self) -> Option<String> {
        let has_own = !self.run.name.is_empty() || self.file.as_deref().is_some_and(|file| own_stem(file).is_some());
        has_own.then(|| self.name())
    }
}

/// What the pipeline of this configuration file is called, where it does not say: like the file, or like the folder of an `etl.toml`.
#[must_use]
pub fn name_of(file: &Path) -> String {
    let name = own_stem(file).or_else(|| file.parent().and_then(Path::file_name));
    name.map_or_else(|| "etl".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn own_stem(file: &Path) -> Option<&std::ffi::OsStr> {
    file.file_stem().filter(|stem| *stem != "etl")
}
