//! The layout of `src/`: which room may use which, where a foreign crate may be named, and how large a file may be.
//!
//! Reads the code as text: the paths that begin with `crate::`, outside of comments and tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms, each of which may use those before it. Rooms on one line do not use each other.
const ORDER: [&[&str]; 17] = [
    &["digest", "error", "net", "output", "pointer", "process", "secret", "stop"],
    &["hour"],
    &["record", "config"],
    &["source", "query"],
    &["state"],
    &["page"],
    &["part"],
    &["store"],
    &["job"],
    &["cluster"],
    &["view"],
    &["audit"],
    &["simulate"],
    &["docs"],
    &["cli"],
    &["lib"],
    &["main"],
];

/// The ground, each of which may use those before it.
const GROUND: [&str; 9] =
    ["process/limits", "digest", "pointer", "error", "secret", "process", "stop", "net", "output"];

/// The floors of the state directory, each of which may use those before it. Pages and hours do not use each other.
const STATE: [&[&str]; 4] = [&["files"], &["pages", "hours"], &["front", "open", "mod"], &["status"]];

/// Foreign crates that one room knows, and where that is.
const FOREIGN: [(&str, &[&str]); 13] = [
    ("sled", &["state/hours/log/sled"]),
    ("s3", &["store/s3"]),
    ("fernet", &["page/decrypt"]),
    ("reqwest", &["net", "source", "store/s3"]),
    ("flate2", &["part", "page", "source", "state", "store", "job/output", "audit", "simulate"]),
    ("zstd", &["part", "source"]),
    ("clap", &["cli", "main", "simulate/options"]),
    ("askama", &["view/html"]),
    ("minisign", &["store/minisign"]),
    // The codec names our own room of that name.
    ("parquet", &["part/parquet", "part/codec"]),
    ("arrow_array", &["part/parquet"]),
    ("arrow_schema", &["part/parquet"]),
    ("rdkafka", &["cluster/kafka"]),
];

/// Lines that a file may have; one that holds tests only may have more.
const LONGEST: usize = 400;

/// A file of `src/`: its module (`state/pages/journal`), and its code without comments and tests.
struct File {
    module: String,
    path: PathBuf,
    code: String,
    lines: usize,
    has_module_doc: bool,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(file(&root, path));
            }
        }
    }
    found.sort_by(|a, b| a.module.cmp(&b.module));
    found
}

fn file(root: &Path, path: PathBuf) -> File {
    let text = std::fs::read_to_string(&path).unwrap();
    let module = path.strip_prefix(root).unwrap().with_extension("").to_str().unwrap().to_owned();
    let module = module.strip_suffix("/mod").unwrap_or(&module).to_owned();
    let code = if is_tests(&module) { String::new() } else { code_of(&text) };
    File { code, lines: text.lines().count(), has_module_doc: text.starts_with("//!"), module, path }
}

/// A file without comments and without what only tests compile.
fn code_of(text: &str) -> String {
    let (mut code, mut skipped_to) = (String::new(), None);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match &skipped_to {
            Some(end) if line == end => skipped_to = None,
            Some(_) => {}
            None if line.trim() == "#[cfg(test)]" => {
                let item = lines.find(|line| !line.trim_start().starts_with("#[")).unwrap_or_default();
                skipped_to = (!item.ends_with(';')).then(|| format!("{indent}}}"));
            }
            None => code.push_str(&(line.split("//").next().unwrap_or_default().to_owned() + "\n")),
        }
    }
    code
}

/// The modules that `code` names below `crate`, the longest path of lower-case names each.
fn used(code: &str) -> Vec<String> {
    let is_path = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric()) && !before.ends_with("(in ");
    let paths = code.match_indices("crate::").filter(|(at, _)| is_path(&code[..*at]));
    let module = |at: usize| {
        let path = code[at + "crate::".len()..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
        let is_module = |name: &&str| name.starts_with(char::is_lowercase);
        path.unwrap_or_default().split("::").take_while(is_module).collect::<Vec<_>>().join("/")
    };
    paths.map(|(at, _)| module(at)).filter(|module| !module.is_empty()).collect()
}

/// Whether a module holds tests only.
fn is_tests(module: &str) -> bool {
    module.split('/').any(|name| name == "tests")
}

fn room(module: &str) -> &str {
    module.split('/').next().unwrap_or(module)
}

fn level<'a>(rooms: impl IntoIterator<Item = &'a [&'a str]>, room: &str) -> Option<usize> {
    rooms.into_iter().position(|level| level.contains(&room))
}

/// What is wrong with `user` using `used`, if anything is.
fn wrong(user: &str, used: &str) -> Option<String> {
    let (from, to) = (room(user), room(used));
    let refused = || Some(format!("{user} uses {used}"));
    if from == "state" && to == "state" {
        let floor = |module: &str| module.split('/').nth(1).unwrap_or("mod").to_owned();
        let (from, to) = (floor(user), floor(used));
        let (up, down) = (level(STATE, &from)?, level(STATE, &to)?);
        return if from == to || up > down { None } else { refused() };
    }
    if from == to {
        return None;
    }
    let (up, down) = (level(ORDER, from)?, level(ORDER, to)?);
    let within_ground = up == 0 && down == 0;
    let place = |module: &str| GROUND.iter().position(|name| module.starts_with(name));
    if up > down || (within_ground && place(user) > place(used)) { None } else { refused() }
}

#[test]
fn each_room_uses_only_those_below_it() {
    let circles: Vec<String> = files()
        .iter()
        .flat_map(|file| used(&file.code).into_iter().filter_map(|used| wrong(&file.module, &used)))
        .collect();
    assert!(circles.is_empty(), "against the direction of src/README.md:\n{}", circles.join("\n"));
    assert!(wrong("page/parse", "job").is_some() && wrong("state/pages/journal", "state/hours/ledger").is_some());
    assert!(wrong("error", "stop").is_some() && wrong("job", "page/parse").is_none());
}

#[test]
fn view_reads_shapes_and_never_the_state() {
    for file in files().iter().filter(|file| room(&file.module) == "view") {
        let others =
            used(&file.code).into_iter().find(|used| room(used) == "state" && !used.starts_with("state/status"));
        assert_eq!(others, None, "{} reads more than shapes", file.module);
    }
}

#[test]
fn each_room_has_its_place_in_the_order() {
    for file in files() {
        assert!(level(ORDER, room(&file.module)).is_some(), "{} has no place in ORDER", file.module);
    }
}

#[test]
fn foreign_crate_is_named_in_its_room_only() {
    for file in files() {
        for (foreign, rooms) in FOREIGN {
            let names_it = file.code.match_indices(&format!("{foreign}::")).any(|(at, _)| {
                !file.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    && !["self::", "super::", "crate::", "log::", "store::"]
                        .iter()
                        .any(|path| file.code[..at].ends_with(path))
            });
            let at_home = rooms.iter().any(|room| file.module == *room || file.module.starts_with(&format!("{room}/")));
            assert!(!names_it || at_home, "{} names the crate {foreign}", file.module);
        }
    }
}

#[test]
fn root_is_small_and_modules_have_one_style() {
    let by_folder = files().iter().fold(BTreeMap::<PathBuf, Vec<String>>::new(), |mut folders, file| {
        let name = file.path.file_name().unwrap().to_str().unwrap().to_owned();
        folders.entry(file.path.parent().unwrap().to_owned()).or_default().push(name);
        folders
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files_beside_folders =
        std::fs::read_dir(&root).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert!(files_beside_folders <= 8, "{files_beside_folders} files in src/");
    for (folder, names) in by_folder {
        for name in names {
            let beside = folder.join(name.trim_end_matches(".rs"));
            assert!(!beside.is_dir(), "{}/{name} beside a folder of its name: x/mod.rs is the style", folder.display());
        }
    }
}

#[test]
fn each_file_says_what_it_owns_and_is_not_too_long() {
    for file in files() {
        assert!(file.has_module_doc, "{} does not begin with //!", file.module);
        let is_too_long = file.lines > LONGEST && !is_tests(&file.module);
        assert!(!is_too_long, "{} has {} lines: split it by subject", file.module, file.lines);
    }
}

/// The names of the tests of `text` that only a build with crash points has.
fn need_crash_points(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if !line.starts_with("#[") {
            continue;
        }
        let mut attributes = vec![line];
        let item = lines.find(|line| {
            attributes.push(line);
            !line.starts_with("#[")
        });
        let is_one = ["#[test]", "#[cfg(feature = \"failpoints\")]"].iter().all(|wanted| attributes.contains(wanted));
        let name = item.and_then(|item| item.strip_prefix("fn ")?.split_once('('));
        names.extend(name.filter(|_| is_one).map(|(name, _)| name));
    }
    names
}

#[test]
fn test_that_needs_crash_points_is_named_after_the_crash_or_in_a_module_of_the_proof() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let proof = std::fs::read_to_string(root.join("proof.rs")).unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(root.join("suite")).unwrap() {
        let path = entry.unwrap().path();
        let (Some("rs"), Some(module)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) else {
            continue;
        };
        if proof.contains(&format!("\"{}::\"", module.to_string_lossy())) {
            continue;
        }
        for name in need_crash_points(&std::fs::read_to_string(&path).unwrap()) {
            found += 1;
            assert!(name.contains("crash"), "{}: {name} is run by nobody: name it after the crash", path.display());
        }
    }
    assert!(found >= 3, "only {found} found");
}
