//! Places outside of the store that statements name: `nodelocal://1/exports/t.csv`.
//!
//! Built: files below the external directory, read only. `nodelocal://1/p`, `nodelocal://self/p` and
//! `nodelocal:///p` are the same file `p` in it. The last segment of the path may be a glob with
//! `*`, `?` and `[a-z]`; `%2a` is a literal star.
//!
//! # Confinement
//!
//! A path is resolved by the operating system, with all symbolic links, and must then lie below
//! the external directory; the resolved path is what is opened. `..` is refused before anything
//! is asked of the disk. A link that is changed between the two steps is not defended against:
//! whoever can do that can write into the external directory, and needs no import to read it.
//!
//! Left out until BACKUP needs them: writing, and `s3://` and its relatives. They answer 0A000.
//! Files are plain [`std::fs::File`]s behind [`Source`], so that another kind of place can follow.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::{Result, SqlError, code};

/// Schemes that are known and not built.
const NOT_BUILT: [&str; 11] = [
    "s3",
    "gs",
    "gcs",
    "azure",
    "azure-blob",
    "azure-storage",
    "http",
    "https",
    "userfile",
    "file",
    "external",
];

const FORMS: &str = "Files are named as nodelocal://1/path, below the external directory.";

/// Bytes of a file as they were when a statement was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path below the external directory, for messages: `exports/t.csv`.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// When it was last changed, in nanoseconds since 1970; 0 if the file system does not say.
    pub(crate) modified_ns: u64,
}

/// The external directory: what `nodelocal://` names.
#[derive(Debug, Clone)]
pub(crate) struct External {
    root: PathBuf,
}

impl External {
    /// The directory at `root`. It need not exist yet.
    #[must_use]
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The files that a URI names, sorted by name: one, or all that match its glob. Blocks.
    ///
    /// # Errors
    /// 22023 for a malformed URI, 0A000 for a scheme that is not built, 42501 for a path that leaves
    /// the external directory, 58P01 if there is no such file.
    pub(crate) fn resolve(&self, uri: &str) -> Result<Vec<Source>> {
        let path = parse(uri)?;
        let Some(pattern) = path.pattern else {
            return Ok(vec![self.source(&path.text(), uri)?]);
        };
        let folder = path.parents.join("/");
        let names = self.names(&folder, uri)?;
        let mut found = Vec::new();
        for name in names {
            // As a shell does: a leading dot is matched by a dot only.
            let hidden = name.starts_with('.') && !matches!(pattern.first(), Some(Part::Is('.')));
            let characters: Vec<char> = name.chars().collect();
            if hidden || !matches(&pattern, &characters) {
                continue;
            }
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if self.confine(&name, uri)?.is_file() {
                found.push(self.source(&name, uri)?);
            }
        }
        if found.is_empty() {
            return Err(missing(uri, "no file matches"));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Opens a file for reading. Blocks.
    ///
    /// # Errors
    /// 55000 if it is not the file that was planned with: other length or time of change. Else as
    /// [`External::resolve`].
    pub(crate) fn open(&self, planned: &Source) -> Result<File> {
        let found = self.source(&planned.name, &planned.name)?;
        if found != *planned {
            return Err(changed(planned));
        }
        let path = self.confine(&planned.name, &planned.name)?;
        File::open(path).map_err(|error| unreadable(&planned.name, &error))
    }

    fn source(&self, name: &str, uri: &str) -> Result<Source> {
        let path = self.confine(name, uri)?;
        let meta = path.metadata().map_err(|error| unreadable(uri, &error))?;
        if meta.is_dir() {
            return Err(SqlError::invalid_value(format!("\"{uri}\" is a folder"))
                .with_hint("Name its files, or all of them with a glob: nodelocal://1/folder/*"));
        }
        if !meta.is_file() {
            return Err(SqlError::invalid_value(format!("\"{uri}\" is not a regular file")));
        }
        let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
        Ok(Source { name: name.to_owned(), bytes: meta.len(), modified_ns })
    }

    /// The real path of `name`, which lies below the external directory.
    fn confine(&self, name: &str, uri: &str) -> Result<PathBuf> {
        let outside = || {
            SqlError::forbidden(format!("\"{uri}\" leads out of the external directory"))
                .with_hint("Copy the file into the external directory of the server.")
        };
        if name.split('/').any(|segment| segment == "..") || Path::new(name).is_absolute() {
            return Err(outside());
        }
        let root = self.root.canonicalize().map_err(|error| unreadable(uri, &error))?;
        let path = root.join(name).canonicalize().map_err(|error| unreadable(uri, &error))?;
        if path.starts_with(&root) { Ok(path) } else { Err(outside()) }
    }

    /// The entries of a folder; those whose names are not UTF-8 cannot be named, so they are not
    /// listed.
    fn names(&self, folder: &str, uri: &str) -> Result<Vec<String>> {
        let path = self.confine(folder, uri)?;
        let entries = path.read_dir().map_err(|error| unreadable(uri, &error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(uri, &error))?;
            names.extend(entry.file_name().into_string().ok());
        }
        Ok(names)
    }
}

/// The file is not the one that a job was planned with.
pub(crate) fn changed(planned: &Source) -> SqlError {
    let name = &planned.name;
    SqlError::wrong_state(format!("{name}: the file has changed since the statement was planned"))
        .with_detail(format!("It had {} bytes then.", planned.bytes))
        .with_hint("Run the statement again, and leave its files alone while it runs.")
}

fn missing(uri: &str, what: &str) -> SqlError {
    SqlError::new(code::UNDEFINED_FILE, format!("{what} \"{uri}\"")).with_hint(FORMS)
}

/// Why the operating system does not give us a file.
pub(crate) fn unreadable(uri: &str, error: &io::Error) -> SqlError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(uri, "there is no file"),
        io::ErrorKind::PermissionDenied => {
            SqlError::forbidden(format!("the server may not read \"{uri}\""))
                .with_hint("Give the server's user the right to read it.")
        }
        _ => SqlError::new(code::IO_ERROR, format!("cannot read \"{uri}\": {error}")),
    }
}

/// A path of a URI.
struct Parsed {
    parents: Vec<String>,
    last: String,
    /// The last segment, if it is a glob.
    pattern: Option<Vec<Part>>,
}

impl Parsed {
    fn text(&self) -> String {
        let mut text = self.parents.join("/");
        if !text.is_empty() {
            text.push('/');
        }
        text + &self.last
    }
}

fn parse(uri: &str) -> Result<Parsed> {
    let malformed = |message: String| SqlError::invalid_value(message).with_hint(FORMS);
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err(malformed(format!("\"{uri}\" is not a URI")));
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "nodelocal" {
        return Err(if NOT_BUILT.contains(&scheme.as_str()) {
            SqlError::not_built(format!("{scheme}://"), FORMS)
        } else {
            malformed(format!("\"{scheme}\" is not a kind of place in \"{uri}\""))
        });
    }
    let (node, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(node, "1" | "self" | "") {
        return Err(malformed(format!("there is no node \"{node}\" in \"{uri}\"")));
    }
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        let text = unescape(segment).ok_or_else(|| {
            malformed(format!("\"{segment}\" is not a name of a file in \"{uri}\""))
        })?;
        if text == ".." {
            return Err(SqlError::forbidden(format!(
                "\"{uri}\" leads out of the external directory"
            ))
            .with_hint("Paths begin at the external directory and cannot leave it."));
        }
        segments.push((segment, text));
    }
    let Some((raw, last)) = segments.pop() else {
        return Err(malformed(format!("\"{uri}\" names no file")));
    };
    if segments.iter().any(|(raw, _)| is_glob(raw)) {
        return Err(malformed(format!("\"{uri}\" has a glob before its last segment")));
    }
    let pattern = is_glob(raw).then(|| glob(raw)).transpose();
    let pattern = pattern.map_err(|what| malformed(format!("{what} in \"{uri}\"")))?;
    Ok(Parsed { parents: segments.into_iter().map(|(_, text)| text).collect(), last, pattern })
}

/// A segment without its `%xx`; `None` if it could not be the name of a file.
fn unescape(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!text.contains(['/', '\0'])).then_some(text)
}

fn is_glob(segment: &str) -> bool {
    segment.contains(['*', '?', '['])
}

/// A part of a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Is(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[a-z_]`, `[!a]`
    Among {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

fn glob(segment: &str) -> Result<Vec<Part>, &'static str> {
    let characters: Vec<char> = segment.chars().collect();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        at += 1;
        parts.push(match character {
            '*' => Part::Many,
            '?' => Part::One,
            '[' => {
                let rest = characters.get(at..).unwrap_or_default();
                let length = rest.iter().position(|c| *c == ']').ok_or("a [ without its ]")?;
                at += length + 1;
                among(rest.get(..length).unwrap_or_default())?
            }
            '%' => {
                // Decoded before, so it is well formed; several bytes may make one character.
                let run = characters.get(at - 1..).unwrap_or_default();
                let end = run
                    .chunks(3)
                    .take_while(|chunk| chunk.first() == Some(&'%'))
                    .map(<[char]>::len)
                    .sum::<usize>();
                let escaped: String = run.iter().take(end).collect();
                at += end - 1;
                let text = unescape(&escaped).ok_or("a character cut in two")?;
                parts.extend(text.chars().map(Part::Is));
                continue;
            }
            other => Part::Is(other),
        });
    }
    Ok(parts)
}

fn among(inside: &[char]) -> Result<Part, &'static str> {
    let (not, mut inside) = match inside {
        ['!' | '^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut ranges = Vec::new();
    while let [first, rest @ ..] = inside {
        let (range, rest) = match rest {
            ['-', last, rest @ ..] => ((*first, *last), rest),
            _ => ((*first, *first), rest),
        };
        ranges.push(range);
        inside = rest;
    }
    if ranges.is_empty() { Err("an empty []") } else { Ok(Part::Among { not, ranges }) }
}

/// Whether `name` matches. Goes back to the last `*` only, so the cost is the product of lengths.
fn matches(pattern: &[Part], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let one = match (pattern.get(p), name.get(n)) {
            (Some(Part::Many), _) => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            (Some(Part::Is(wanted)), Some(found)) => wanted == found,
            (Some(Part::One), Some(_)) => true,
            (Some(Part::Among { not, ranges }), Some(found)) => {
                ranges.iter().any(|(first, last)| (first..=last).contains(&found)) != *not
            }
            _ => false,
        };
        if one {
            p += 1;
            n += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            p = after;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|part| *part == Part::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (tempfile::TempDir, External) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("extern");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for (name, text) in [
            ("t.csv", "1"),
            ("t2.csv", "22"),
            ("a/b/x y.csv", "3"),
            (".hidden.csv", ""),
            ("s*.csv", "4"),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        let external = External::new(root);
        (folder, external)
    }

    fn names(external: &External, uri: &str) -> Vec<String> {
        external.resolve(uri).unwrap().into_iter().map(|source| source.name).collect()
    }

    #[test]
    fn the_three_forms_name_the_same_file() {
        let (_folder, external) = setup();
        for uri in [
            "nodelocal://1/t.csv",
            "nodelocal://self/t.csv",
            "nodelocal:///t.csv",
            "NODELOCAL://1//./t.csv",
        ] {
            assert_eq!(names(&external, uri), ["t.csv"], "{uri}");
        }
        assert_eq!(names(&external, "nodelocal://1/a/b/x%20y.csv"), ["a/b/x y.csv"]);
        assert_eq!(names(&external, "nodelocal://1/a/b/x y.csv"), ["a/b/x y.csv"]);
    }

    #[test]
    fn a_glob_in_the_last_segment_lists_files_sorted_and_without_hidden_ones() {
        let (_folder, external) = setup();
        assert_eq!(names(&external, "nodelocal://1/*.csv"), ["s*.csv", "t.csv", "t2.csv"]);
        assert_eq!(names(&external, "nodelocal://1/t?.csv"), ["t2.csv"]);
        assert_eq!(names(&external, "nodelocal://1/[r-t].csv"), ["t.csv"]);
        assert_eq!(names(&external, "nodelocal://1/t[!3]*"), ["t.csv", "t2.csv"]);
        assert_eq!(names(&external, "nodelocal://1/.h*"), [".hidden.csv"]);
        assert_eq!(names(&external, "nodelocal://1/a/b/*"), ["a/b/x y.csv"]);
        assert_eq!(names(&external, "nodelocal://1/s%2a.csv"), ["s*.csv"]);
        assert_eq!(names(&external, "nodelocal://1/?%2A.csv"), ["s*.csv"]);
    }

    #[test]
    fn what_cannot_be_named_says_why() {
        let (_folder, external) = setup();
        for (uri, code) in [
            ("t.csv", "22023"),
            ("nodelocal://2/t.csv", "22023"),
            ("nodelocal://1/", "22023"),
            ("nodelocal://1/%zz", "22023"),
            ("nodelocal://1/a%2fb", "22023"),
            ("nodelocal://1/a%00", "22023"),
            ("nodelocal://1/*/x.csv", "22023"),
            ("nodelocal://1/[a", "22023"),
            ("nodelocal://1/a", "22023"),
            ("ftp://x/y", "22023"),
            ("s3://bucket/t.csv", "0A000"),
            ("https://host/t.csv", "0A000"),
            ("nodelocal://1/none.csv", "58P01"),
            ("nodelocal://1/none*", "58P01"),
            ("nodelocal://1/t.csv/x", "58P01"),
            ("nodelocal://1/../secret", "42501"),
            ("nodelocal://1/a/%2e%2e/%2E./secret", "42501"),
        ] {
            let error = external.resolve(uri).unwrap_err();
            assert_eq!(error.code, code, "{uri}: {error}");
            assert!(error.hint.is_some(), "{uri} has no hint");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_directory_is_refused_and_one_within_it_is_followed() {
        let (folder, external) = setup();
        let root = folder.path().join("extern");
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("out.csv")).unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("up")).unwrap();
        std::os::unix::fs::symlink("t.csv", root.join("in.csv")).unwrap();
        for uri in ["nodelocal://1/out.csv", "nodelocal://1/up/secret", "nodelocal://1/up/*"] {
            assert_eq!(external.resolve(uri).unwrap_err().code, "42501", "{uri}");
        }
        assert_eq!(names(&external, "nodelocal://1/in.csv"), ["in.csv"]);
    }

    #[test]
    fn a_file_that_changed_since_is_refused() {
        let (folder, external) = setup();
        let source = external.resolve("nodelocal://1/t.csv").unwrap().remove(0);
        assert!(external.open(&source).is_ok());
        std::fs::write(folder.path().join("extern/t.csv"), "other").unwrap();
        let error = external.open(&source).unwrap_err();
        assert_eq!(error.code, "55000");
        assert!(error.message.starts_with("t.csv: "), "{error}");
    }
}
