//! The server under the demo: this same binary, started as a user would start it, and killed as no user would.

use crate::terminal::complain;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a start may take before it counts as hanging.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a drain may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Lines of the log that are shown when the server fails.
const LOG_LINES: usize = 20;

/// A running `cairn start`.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    /// Where to connect.
    pub(super) url: String,
}

/// The store inside the demo's folder.
pub(super) fn store(folder: &Path) -> PathBuf {
    folder.join("store")
}

/// The folder behind `nodelocal://`.
pub(super) fn external(folder: &Path) -> PathBuf {
    folder.join("extern")
}

impl Server {
    /// Starts a server on the store in `folder` and waits until it is ready.
    pub(super) async fn start(folder: &Path) -> Result<Server, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program: {error}"))?;
        let log = OpenOptions::new().create(true).append(true).open(log(folder));
        let log = log.map_err(|error| format!("cannot write the server's log: {error}"))?;
        let mut child = Command::new(program)
            .args(["start", "--insecure", "--listen", "127.0.0.1:0", "--store"])
            .arg(store(folder))
            .arg("--external-dir")
            .arg(external(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let Some(stdout) = child.stdout.take() else {
            return Err("the server has no output".to_owned());
        };
        let mut lines = BufReader::new(stdout).lines();
        let line = match tokio::time::timeout(START_LIMIT, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => {
                show_log(folder);
                return Err("the server ended before it was ready".to_owned());
            }
            Err(_) => {
                show_log(folder);
                return Err(format!("the server was not ready within {} s", START_LIMIT.as_secs()));
            }
        };
        let Some(url) = line.strip_prefix("ready ") else {
            return Err(format!("the server said: {line}"));
        };
        Ok(Server { child, folder: folder.to_path_buf(), url: url.to_owned() })
    }

    /// The server's store.
    pub(super) fn store(&self) -> PathBuf {
        store(&self.folder)
    }

    /// SIGKILL: the process is gone, whatever it was doing.
    pub(super) async fn kill(mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|error| format!("cannot kill the server: {error}"))
    }

    /// SIGTERM; answers the exit status.
    pub(super) async fn terminate(mut self) -> Result<Option<i32>, String> {
        if let Some(id) = self.child.id() {
            let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {id}")).status().await;
            sent.map_err(|error| format!("cannot signal the server: {error}"))?;
        }
        match tokio::time::timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status.code()),
            Ok(Err(error)) => Err(format!("cannot wait for the server: {error}")),
            Err(_) => Err(format!("the server did not stop within {} s", STOP_LIMIT.as_secs())),
        }
    }
}

/// Runs `cairn doctor` on the store; answers its exit status and what it printed.
pub(super) async fn doctor(folder: &Path) -> Result<(Option<i32>, String), String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let output =
        Command::new(program).args(["doctor", "--store"]).arg(store(folder)).output().await;
    let output = output.map_err(|error| format!("cannot run the doctor: {error}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), text))
}

/// Prints the end of the server's log, after something went wrong.
pub(super) fn show_log(folder: &Path) {
    let text = std::fs::read_to_string(log(folder)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    complain(&format!("the end of {}:", log(folder).display()));
    for line in lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default() {
        complain(&format!("  {line}"));
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("server.log")
}
