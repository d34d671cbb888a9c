//! A server process as a user would start it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::disk::Disk;

/// Longest time until a server says that it is ready; only a hang reaches it.
const READY: Duration = Duration::from_secs(60);

/// A running `cairn start`. Killed when dropped; its store outlives it for a restart, and its log lies beside the
/// store.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    folder: Folder,
    environment: Vec<(String, String)>,
}

/// Where everything of a server is.
#[derive(Debug)]
struct Folder {
    // Unmounted before the folder goes: fields are dropped in this order.
    disk: Option<Disk>,
    /// Of the store: none unless a test asks for it.
    ballast_mib: u32,
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { disk: None, ballast_mib: 0, dir }
    }

    /// With a disk for the store.
    fn with_disk(ballast_mib: u32) -> Result<Self, String> {
        let mut folder = Self { ballast_mib, ..Self::new() };
        let at = folder.dir.path().join("disk");
        std::fs::create_dir(&at).expect("the folder is empty");
        folder.disk = Some(Disk::mount(&at)?);
        Ok(folder)
    }

    fn store(&self) -> PathBuf {
        self.disk.as_ref().map_or(self.dir.path(), Disk::path).join("store")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }
}

impl Server {
    /// Starts on a new store.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts on a new store with additional environment variables (a crash point, say).
    pub async fn start_with(environment: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let environment: Vec<(String, String)> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (child, address) = ready(&folder, &environment).await.expect("the server gets ready");
        Self { child, address, folder, environment }
    }

    /// Starts on a store that `fill` puts into an empty folder.
    pub async fn start_on_store(fill: impl FnOnce(&Path)) -> Self {
        let folder = Folder::new();
        std::fs::create_dir(folder.store()).expect("the folder is empty");
        fill(&folder.store());
        let (child, address) = ready(&folder, &[]).await.expect("the server gets ready");
        Self { child, address, folder, environment: Vec::new() }
    }

    /// Starts on a store that `fill` puts into an empty folder, and aborts itself where `crash` says (`CAIRN_CRASH`). Answers
    /// whether it got ready before that.
    pub async fn start_mortal_on_store(fill: impl FnOnce(&Path), crash: &str) -> (Self, bool) {
        let folder = Folder::new();
        std::fs::create_dir(folder.store()).expect("the folder is empty");
        fill(&folder.store());
        let child = spawn(&folder, &mortal(crash));
        let mut server = Self { child, address: String::new(), folder, environment: Vec::new() };
        let is_ready = server.gets_ready().await.is_ok();
        (server, is_ready)
    }

    /// Starts a process again on the same store that aborts itself there. Answers whether it got ready before that.
    pub async fn restart_mortal(&mut self, crash: &str) -> bool {
        self.child = spawn(&self.folder, &mortal(crash));
        self.gets_ready().await.is_ok()
    }

    async fn gets_ready(&mut self) -> Result<(), String> {
        self.address = until_ready(&mut self.child).await?;
        Ok(())
    }

    /// Waits so long for the process to end by itself, and kills it then.
    pub async fn dies_or_is_killed(&mut self, after: Duration) {
        if tokio::time::timeout(after, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Starts on a new store on a disk that forgets what was not synced.
    ///
    /// # Errors
    /// There cannot be such a disk here; why.
    pub async fn start_on_disk() -> Result<Self, String> {
        Self::start_on_disk_with_ballast(0).await
    }

    /// As [`Server::start_on_disk`], with a file of so many MiB that holds some of the disk back.
    ///
    /// # Errors
    /// As there.
    pub async fn start_on_disk_with_ballast(mib: u32) -> Result<Self, String> {
        let folder = Folder::with_disk(mib)?;
        let (child, address) = ready(&folder, &[]).await.expect("the server gets ready");
        Ok(Self { child, address, folder, environment: Vec::new() })
    }

    /// The disk that the store is on, if it was started on one.
    pub fn disk(&mut self) -> Option<&mut Disk> {
        self.folder.disk.as_mut()
    }

    /// Kills the process without warning and starts another on the same store.
    pub async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.restart().await;
    }

    /// Kills the process without warning.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the server can be killed");
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(READY, self.child.wait())
            .await
            .expect("the server ends")
            .expect("its exit status can be read")
    }

    /// Starts a process again on the same store, without the environment of the first one.
    pub async fn restart(&mut self) {
        self.try_restart().await.expect("the server gets ready");
    }

    /// As [`Server::restart`], for a suite that has more to say about a server that does not start.
    ///
    /// # Errors
    /// Why it did not get ready.
    pub async fn try_restart(&mut self) -> Result<(), String> {
        self.environment.clear();
        (self.child, self.address) = ready(&self.folder, &self.environment).await?;
        Ok(())
    }

    /// Starts a process on the store of a server that has ended, and kills it after a while, ready or not.
    ///
    /// # Errors
    /// It ended by itself before.
    pub async fn start_and_kill(&mut self, after: Duration) -> Result<(), String> {
        self.child = spawn(&self.folder, &[]);
        match tokio::time::timeout(after, self.child.wait()).await {
            Ok(status) => Err(format!("the server ended by itself: {status:?}")),
            Err(_) => {
                self.kill().await;
                Ok(())
            }
        }
    }

    /// How the process has ended, if it has without being asked to.
    pub fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("its exit status can be read")
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What all processes on this store have logged.
    pub fn log(&self) -> PathBuf {
        self.folder.log()
    }

    /// Leaves the store when the server is dropped, for people to look at: where it is, or a copy beside the disk.
    pub fn keep_store(&mut self) -> PathBuf {
        self.folder.dir.disable_cleanup(true);
        let store = self.store();
        if self.folder.disk.is_none() {
            return store;
        }
        let kept = self.folder.dir.path().join("store");
        // As much as can be had: this only helps to find out more.
        let _ = copy_folder(&store, &kept);
        kept
    }

    /// Asks the server to end, as an operator would, and waits for it.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().expect("the server runs").to_string();
        Command::new("kill").arg(pid).status().await.expect("`kill` can be run");
        self.ended().await
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.folder.store()
    }

    /// The folder behind `nodelocal://`.
    pub fn external(&self) -> PathBuf {
        self.store().join("extern")
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URL for `user`.
    pub fn url(&self, user: &str) -> String {
        format!("postgresql://{user}@{}/defaultdb", self.address)
    }

    /// What it says to Prometheus.
    ///
    /// # Panics
    /// It does not say where, or does not answer.
    pub async fn metrics(&self) -> String {
        let log = std::fs::read_to_string(self.log()).expect("its log can be read");
        let said = log.lines().rev().find(|line| line.contains("serving /metrics"));
        let (_, after) =
            said.and_then(|line| line.rsplit_once("127.0.0.1:")).expect("it says where");
        let port: String = after.chars().take_while(char::is_ascii_digit).collect();
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await;
        let mut stream = stream.expect("it listens");
        let question = b"GET /metrics HTTP/1.1\r\nHost: cairn\r\nConnection: close\r\n\r\n";
        stream.write_all(question).await.expect("it hears");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    /// One of its metrics without labels; `None` before anything was recorded for it.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.metrics().await;
        let mut lines = metrics.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix("{} ")?.parse().ok())
    }

    /// A connection of `root`.
    pub async fn root(&self) -> Client {
        self.connect("root").await.expect("root may log in")
    }

    /// A connection of `user`.
    ///
    /// # Errors
    /// The server refused it.
    pub async fn connect(&self, user: &str) -> Result<Client, crate::Refused> {
        Client::connect(&self.url(user)).await
    }

    /// Runs the binary with arguments; returns its exit status and output.
    pub async fn cairn(arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(binary())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the binary can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Stops the server and asks the doctor: the end of every test.
    ///
    /// # Panics
    /// If the doctor finds anything.
    pub async fn assert_healthy(mut self) {
        let status = self.terminate().await;
        assert!(status.success(), "the server ended with {status}");
        self.assert_doctor().await;
    }

    /// Asks the doctor about the store of a server that has ended.
    ///
    /// # Panics
    /// If the doctor finds anything.
    pub async fn assert_doctor(&self) {
        let store = self.store();
        let (code, out, err) =
            Self::cairn(&["doctor", "--store", store.to_str().expect("a UTF-8 path")]).await;
        assert_eq!(code, 0, "the doctor found something:\n{out}\n{err}");
    }
}

/// The binary beside the test's own executable: `<target>/<profile>/cairn`.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let binary = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("cairn");
    assert!(binary.exists(), "{} is missing: run `make build` first", binary.display());
    binary
}

fn spawn(folder: &Folder, environment: &[(String, String)]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.log());
    Command::new(binary())
        .args([
            "start",
            "--insecure",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--store",
        ])
        .arg(folder.store())
        .args(["--ballast-mib", &folder.ballast_mib.to_string()])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.expect("the log can be opened"))
        .kill_on_drop(true)
        .spawn()
        .expect("the server can be started")
}

/// Starts a process and waits until it accepts connections.
async fn ready(
    folder: &Folder,
    environment: &[(String, String)],
) -> Result<(Child, String), String> {
    let mut child = spawn(folder, environment);
    let address = until_ready(&mut child).await?;
    Ok((child, address))
}

fn mortal(crash: &str) -> [(String, String); 1] {
    [("CAIRN_CRASH".to_owned(), crash.to_owned())]
}

/// Waits until it accepts connections. Answers where.
async fn until_ready(child: &mut Child) -> Result<String, String> {
    let stdout = child.stdout.take().expect("its output is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("its output can be read") {
            if let Some(url) = line.strip_prefix("ready ") {
                return Ok(address_of(url));
            }
        }
        Err(format!("the server ended before it was ready: {:?}", child.wait().await))
    };
    let address = tokio::time::timeout(READY, ready).await;
    address.map_err(|_| "the server did not get ready in a minute".to_owned())?
}

fn address_of(url: &str) -> String {
    let after = url.split_once('@').map_or(url, |(_, rest)| rest);
    after.split('/').next().unwrap_or(after).to_owned()
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
