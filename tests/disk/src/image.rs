//! Files and folders in memory, twice: as they are, and as far as they are safe.
//!
//! Changes of entries are kept in the order in which they were made, until the folder is synced. A cut that loses
//! at random applies a beginning of them, as a journal would, so that a rename is never half done. Data is not
//! ordered at all: each sector that was written since the last sync is there or not.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use fastrand::Rng;

/// The number of a file or folder.
pub(crate) type Ino = u64;

/// The root folder.
pub(crate) const ROOT: Ino = 1;

/// What a disk writes as a whole.
const SECTOR: u64 = 512;

/// What a cut takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lose {
    /// Everything that is not safe.
    All,
    /// Some of it, drawn from this seed.
    Some(u64),
}

/// Why an operation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    Exists,
    NotFolder,
    IsFolder,
    NotEmpty,
    Full,
}

type Result<T> = std::result::Result<T, Refusal>;

/// The contents of a file.
#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Sectors that were written since the last sync.
    dirty: BTreeSet<u64>,
    /// Whether its length was changed since.
    resized: bool,
}

#[derive(Debug, Default)]
struct Folder {
    now: BTreeMap<OsString, Ino>,
    safe: BTreeMap<OsString, Ino>,
}

#[derive(Debug)]
enum Contents {
    File(File),
    Folder(Folder),
}

#[derive(Debug)]
struct Node {
    contents: Contents,
    /// Entries that name it now.
    links: u32,
    /// Handles on it.
    open: u32,
}

/// What is to be known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) ino: Ino,
    pub(crate) is_folder: bool,
    pub(crate) bytes: u64,
    pub(crate) links: u32,
}

/// One entry of one folder, set or removed.
type Set = (Ino, OsString, Option<Ino>);

/// The whole.
#[derive(Debug)]
pub(crate) struct Image {
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
    /// Changes of entries that are not safe, oldest first. Those of one operation belong together.
    unsafe_sets: Vec<Vec<Set>>,
    /// Bytes of all files.
    used: u64,
    /// Bytes that there is room for.
    pub(crate) capacity: u64,
}

impl Image {
    /// An empty root folder.
    pub(crate) fn new(capacity: u64) -> Self {
        let root = Node { contents: Contents::Folder(Folder::default()), links: 2, open: 0 };
        let nodes = BTreeMap::from([(ROOT, root)]);
        Self { nodes, next: ROOT + 1, unsafe_sets: Vec::new(), used: 0, capacity }
    }

    fn node(&mut self, ino: Ino) -> Result<&mut Node> {
        self.nodes.get_mut(&ino).ok_or(Refusal::Missing)
    }

    fn file(&mut self, ino: Ino) -> Result<&mut File> {
        match &mut self.node(ino)?.contents {
            Contents::File(file) => Ok(file),
            Contents::Folder(_) => Err(Refusal::IsFolder),
        }
    }

    fn folder(&mut self, ino: Ino) -> Result<&mut Folder> {
        match &mut self.node(ino)?.contents {
            Contents::Folder(folder) => Ok(folder),
            Contents::File(_) => Err(Refusal::NotFolder),
        }
    }

    pub(crate) fn facts(&self, ino: Ino) -> Result<Facts> {
        let node = self.nodes.get(&ino).ok_or(Refusal::Missing)?;
        let (is_folder, bytes) = match &node.contents {
            Contents::File(file) => (false, file.now.len() as u64),
            Contents::Folder(_) => (true, 0),
        };
        Ok(Facts { ino, is_folder, bytes, links: node.links })
    }

    pub(crate) fn find(&mut self, folder: Ino, name: &OsStr) -> Result<Ino> {
        self.folder(folder)?.now.get(name).copied().ok_or(Refusal::Missing)
    }

    pub(crate) fn entries(&mut self, folder: Ino) -> Result<Vec<(OsString, Ino)>> {
        let entries = self.folder(folder)?.now.iter();
        Ok(entries.map(|(name, ino)| (name.clone(), *ino)).collect())
    }

    /// Changes entries as one operation.
    fn set(&mut self, sets: Vec<Set>) -> Result<()> {
        for (folder, name, ino) in &sets {
            let entries = &mut self.folder(*folder)?.now;
            match ino {
                Some(ino) => entries.insert(name.clone(), *ino),
                None => entries.remove(name),
            };
        }
        self.unsafe_sets.push(sets);
        Ok(())
    }

    /// Makes an empty file or folder.
    pub(crate) fn make(&mut self, folder: Ino, name: &OsStr, is_folder: bool) -> Result<Ino> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Refusal::Exists);
        }
        let contents = if is_folder {
            Contents::Folder(Folder::default())
        } else {
            Contents::File(File::default())
        };
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Node { contents, links: 1, open: 0 });
        self.set(vec![(folder, name.to_owned(), Some(ino))])?;
        Ok(ino)
    }

    /// Another name for a file.
    pub(crate) fn link(&mut self, ino: Ino, folder: Ino, name: &OsStr) -> Result<()> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Refusal::Exists);
        }
        self.file(ino)?;
        self.node(ino)?.links += 1;
        self.set(vec![(folder, name.to_owned(), Some(ino))])
    }

    /// Removes a name.
    pub(crate) fn remove(&mut self, folder: Ino, name: &OsStr, is_folder: bool) -> Result<()> {
        let ino = self.find(folder, name)?;
        match (&self.node(ino)?.contents, is_folder) {
            (Contents::Folder(found), true) if !found.now.is_empty() => {
                return Err(Refusal::NotEmpty);
            }
            (Contents::Folder(_), false) => return Err(Refusal::IsFolder),
            (Contents::File(_), true) => return Err(Refusal::NotFolder),
            (Contents::Folder(_), true) | (Contents::File(_), false) => {}
        }
        self.set(vec![(folder, name.to_owned(), None)])?;
        self.unlinked(ino)
    }

    /// Gives a file or folder another name, which may have been that of another file.
    pub(crate) fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr)) -> Result<()> {
        let ino = self.find(from.0, from.1)?;
        let replaced = self.folder(to.0)?.now.get(to.1).copied();
        if replaced == Some(ino) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            self.file(replaced)?;
        }
        self.set(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(ino))])?;
        replaced.map_or(Ok(()), |replaced| self.unlinked(replaced))
    }

    fn unlinked(&mut self, ino: Ino) -> Result<()> {
        let node = self.node(ino)?;
        node.links = node.links.saturating_sub(1);
        if node.links == 0 && node.open == 0 {
            self.forget_lost();
        }
        Ok(())
    }

    pub(crate) fn open(&mut self, ino: Ino) -> Result<()> {
        self.node(ino)?.open += 1;
        Ok(())
    }

    pub(crate) fn close(&mut self, ino: Ino) {
        if let Ok(node) = self.node(ino) {
            node.open = node.open.saturating_sub(1);
            if node.links == 0 && node.open == 0 {
                self.forget_lost();
            }
        }
    }

    /// Whether somebody has a file open.
    pub(crate) fn is_open(&self) -> bool {
        self.nodes.values().any(|node| node.open > 0)
    }

    pub(crate) fn read(&mut self, ino: Ino, from: u64, length: usize) -> Result<&[u8]> {
        let now = &self.file(ino)?.now;
        let from = index(from).min(now.len());
        Ok(&now[from..from.saturating_add(length).min(now.len())])
    }

    pub(crate) fn write(&mut self, ino: Ino, from: u64, data: &[u8]) -> Result<()> {
        let end = from + data.len() as u64;
        let length = self.file(ino)?.now.len() as u64;
        self.resize(ino, length.max(end))?;
        let file = self.file(ino)?;
        file.now[index(from)..index(end)].copy_from_slice(data);
        if !data.is_empty() {
            file.dirty.extend(from / SECTOR..=(end - 1) / SECTOR);
        }
        Ok(())
    }

    pub(crate) fn resize(&mut self, ino: Ino, length: u64) -> Result<()> {
        let free = self.free();
        let file = self.file(ino)?;
        let before = file.now.len() as u64;
        if length.saturating_sub(before) > free {
            return Err(Refusal::Full);
        }
        file.now.resize(index(length), 0);
        file.resized |= length != before;
        self.used = self.used + length - before;
        Ok(())
    }

    /// Bytes that there is room for.
    pub(crate) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    /// Makes a file's data safe.
    pub(crate) fn sync_file(&mut self, ino: Ino) -> Result<()> {
        let file = self.file(ino)?;
        file.safe.resize(file.now.len(), 0);
        for sector in std::mem::take(&mut file.dirty) {
            keep(file, sector);
        }
        file.resized = false;
        Ok(())
    }

    /// Makes a folder's entries safe.
    pub(crate) fn sync_folder(&mut self, ino: Ino) -> Result<()> {
        let folder = self.folder(ino)?;
        folder.safe.clone_from(&folder.now);
        for sets in &mut self.unsafe_sets {
            sets.retain(|(folder, _, _)| *folder != ino);
        }
        self.unsafe_sets.retain(|sets| !sets.is_empty());
        Ok(())
    }

    /// Makes everything safe.
    pub(crate) fn sync(&mut self) {
        for ino in self.nodes.keys().copied().collect::<Vec<_>>() {
            // One of the two fits.
            let _ = self.sync_file(ino);
            let _ = self.sync_folder(ino);
        }
    }

    /// The power goes, and comes back. Nobody has anything open afterwards.
    pub(crate) fn cut(&mut self, lose: Lose) {
        let mut random = match lose {
            Lose::All => None,
            Lose::Some(seed) => Some(Rng::with_seed(seed)),
        };
        let sets = std::mem::take(&mut self.unsafe_sets);
        let kept = random.as_mut().map_or(0, |random| random.usize(..=sets.len()));
        for (folder, name, ino) in sets.into_iter().take(kept).flatten() {
            let Ok(folder) = self.folder(folder) else { continue };
            match ino {
                Some(ino) => folder.safe.insert(name, ino),
                None => folder.safe.remove(&name),
            };
        }
        for node in self.nodes.values_mut() {
            node.open = 0;
            match &mut node.contents {
                Contents::Folder(folder) => folder.now.clone_from(&folder.safe),
                Contents::File(file) => file.cut(random.as_mut()),
            }
        }
        self.count_links();
        self.forget_lost();
    }

    fn count_links(&mut self) {
        let mut links: BTreeMap<Ino, u32> = BTreeMap::from([(ROOT, 2)]);
        for node in self.nodes.values() {
            if let Contents::Folder(folder) = &node.contents {
                folder.now.values().for_each(|ino| *links.entry(*ino).or_default() += 1);
            }
        }
        for (ino, node) in &mut self.nodes {
            node.links = links.get(ino).copied().unwrap_or(0);
        }
    }

    /// Removes what nothing names any more, now or after a cut.
    fn forget_lost(&mut self) {
        let sets = self.unsafe_sets.iter().flatten().filter_map(|(_, _, ino)| *ino);
        let mut named: BTreeSet<Ino> = sets.chain([ROOT]).collect();
        named.extend(self.nodes.iter().filter(|(_, node)| node.open > 0).map(|(ino, _)| *ino));
        let mut found: Vec<Ino> = named.iter().copied().collect();
        while let Some(ino) = found.pop() {
            if let Some(Node { contents: Contents::Folder(folder), .. }) = self.nodes.get(&ino) {
                let inside = folder.now.values().chain(folder.safe.values()).copied();
                found.extend(inside.filter(|ino| named.insert(*ino)));
            }
        }
        self.nodes.retain(|ino, _| named.contains(ino));
        let bytes = |node: &Node| match &node.contents {
            Contents::File(file) => file.now.len() as u64,
            Contents::Folder(_) => 0,
        };
        self.used = self.nodes.values().map(bytes).sum();
    }
}

impl File {
    /// What is left of it.
    fn cut(&mut self, random: Option<&mut Rng>) {
        if let Some(random) = random {
            for sector in std::mem::take(&mut self.dirty) {
                if random.bool() {
                    keep(self, sector);
                }
            }
            if self.resized && random.bool() {
                self.safe.resize(self.now.len(), 0);
            }
        }
        self.dirty.clear();
        self.resized = false;
        self.now.clone_from(&self.safe);
    }
}

/// Makes one sector safe; what was never written before it reads as zeros.
fn keep(file: &mut File, sector: u64) {
    let from = index(sector * SECTOR).min(file.now.len());
    let to = index((sector + 1) * SECTOR).min(file.now.len());
    if file.safe.len() < to {
        file.safe.resize(to, 0);
    }
    file.safe[from..to].copy_from_slice(&file.now[from..to]);
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("files are in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn text(image: &mut Image, path: &str) -> Option<String> {
        let mut at = ROOT;
        for part in path.split('/') {
            at = image.find(at, name(part)).ok()?;
        }
        Some(String::from_utf8_lossy(image.read(at, 0, 1 << 20).unwrap()).into_owned())
    }

    #[test]
    fn data_is_safe_once_the_file_is_synced_and_the_entry_once_the_folder_is() {
        let mut image = Image::new(1 << 20);
        let file = image.make(ROOT, name("a"), false).unwrap();
        image.write(file, 0, b"first").unwrap();
        image.sync_file(file).unwrap();
        let mut unsynced_folder = Image::new(1 << 20);
        let other = unsynced_folder.make(ROOT, name("a"), false).unwrap();
        unsynced_folder.write(other, 0, b"first").unwrap();
        unsynced_folder.sync_file(other).unwrap();
        unsynced_folder.cut(Lose::All);
        assert_eq!(text(&mut unsynced_folder, "a"), None);
        assert_eq!(unsynced_folder.used, 0);

        image.sync_folder(ROOT).unwrap();
        image.write(file, 5, b" second").unwrap();
        assert_eq!(text(&mut image, "a").unwrap(), "first second");
        image.cut(Lose::All);
        assert_eq!(text(&mut image, "a").unwrap(), "first");
    }

    #[test]
    fn a_removed_file_and_a_replaced_one_come_back_until_the_folder_is_synced() {
        let mut image = Image::new(1 << 20);
        for (entry, data) in [("CURRENT", "old"), ("tmp", "new"), ("gone", "here")] {
            let file = image.make(ROOT, name(entry), false).unwrap();
            image.write(file, 0, data.as_bytes()).unwrap();
        }
        image.sync();
        image.rename((ROOT, name("tmp")), (ROOT, name("CURRENT"))).unwrap();
        image.remove(ROOT, name("gone"), false).unwrap();
        assert_eq!(text(&mut image, "CURRENT").unwrap(), "new");
        image.cut(Lose::All);
        for (entry, data) in [("CURRENT", "old"), ("tmp", "new"), ("gone", "here")] {
            assert_eq!(text(&mut image, entry).unwrap(), data);
        }
        image.rename((ROOT, name("tmp")), (ROOT, name("CURRENT"))).unwrap();
        image.remove(ROOT, name("gone"), false).unwrap();
        image.sync_folder(ROOT).unwrap();
        image.cut(Lose::All);
        assert_eq!(text(&mut image, "CURRENT").unwrap(), "new");
        assert_eq!((text(&mut image, "tmp"), text(&mut image, "gone")), (None, None));
        assert_eq!(image.nodes.len(), 2);
    }

    #[test]
    fn a_file_lives_as_long_as_one_of_its_names_or_handles() {
        let mut image = Image::new(1 << 20);
        let folder = image.make(ROOT, name("staging"), true).unwrap();
        let file = image.make(folder, name("1.sst"), false).unwrap();
        image.write(file, 0, b"rows").unwrap();
        image.link(file, ROOT, name("7.sst")).unwrap();
        assert_eq!(image.facts(file).unwrap().links, 2);
        assert_eq!(image.remove(ROOT, name("staging"), true), Err(Refusal::NotEmpty));
        image.remove(folder, name("1.sst"), false).unwrap();
        image.remove(ROOT, name("staging"), true).unwrap();
        image.sync();
        assert_eq!(text(&mut image, "7.sst").unwrap(), "rows");
        image.open(file).unwrap();
        image.remove(ROOT, name("7.sst"), false).unwrap();
        image.sync();
        assert_eq!(image.read(file, 0, 10).unwrap(), b"rows");
        image.close(file);
        assert_eq!(image.read(file, 0, 10), Err(Refusal::Missing));
        assert_eq!(image.used, 0);
    }

    #[test]
    fn a_random_cut_tears_writes_and_keeps_the_order_of_entries() {
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let mut image = Image::new(1 << 20);
            let file = image.make(ROOT, name("a"), false).unwrap();
            image.write(file, 0, &[1; 2048]).unwrap();
            image.sync();
            image.write(file, 0, &[2; 2048]).unwrap();
            image.make(ROOT, name("b"), false).unwrap();
            image.rename((ROOT, name("b")), (ROOT, name("c"))).unwrap();
            image.cut(Lose::Some(seed));
            let data = image.read(file, 0, 4096).unwrap().to_vec();
            assert_eq!(data.len(), 2048);
            assert!(data.chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512]));
            let names = (text(&mut image, "b").is_some(), text(&mut image, "c").is_some());
            assert_ne!(names, (true, true));
            seen.insert((data[0], data[1024], names));
        }
        assert!(seen.len() >= 8, "{seen:?}");
    }

    #[test]
    fn a_full_disk_takes_no_more_and_everything_that_is_freed() {
        let mut image = Image::new(1000);
        let file = image.make(ROOT, name("a"), false).unwrap();
        image.write(file, 0, &[1; 900]).unwrap();
        let other = image.make(ROOT, name("b"), false).unwrap();
        assert_eq!(image.write(other, 0, &[1; 101]), Err(Refusal::Full));
        image.write(other, 0, &[1; 100]).unwrap();
        assert_eq!(image.free(), 0);
        image.resize(file, 0).unwrap();
        image.write(other, 100, &[1; 900]).unwrap();
    }
}
