//! A kind that keeps files of its own between checkpoints conforms if it syncs them and their folder, and only then.

use std::io::{Read as _, Write as _};

use cairn_engine::Engine;

use crate::testkit::{Conforms, conformance};
use crate::{Context, JobError, JobKind, NewJob, Result, ThreadContext};

/// Checkpoints, each with a file.
const FILES: u32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
struct Count {
    #[prost(uint32, tag = "1")]
    files: u32,
}

/// Syncs its files, and their folder, or forgets to.
struct Keeps<const FILE: bool, const FOLDER: bool>;

fn lost(error: &std::io::Error) -> JobError {
    JobError::failed("58030", error.to_string())
}

impl<const FILE: bool, const FOLDER: bool> Keeps<FILE, FOLDER> {
    fn work(cx: &ThreadContext<Self>) -> Result<()> {
        let claim = match cx.claims().first() {
            Some(claim) => *claim,
            None => cx.claim_scratch()?,
        };
        let folder = cx.make_staging_dir(&claim)?;
        let disk = cx.engine().disk();
        for number in cx.checkpoint().files..FILES {
            // Those before it are needed still.
            for earlier in 0..number {
                let mut found = String::new();
                let file = std::fs::File::open(folder.join(earlier.to_string()));
                file.and_then(|mut file| file.read_to_string(&mut found))
                    .map_err(|error| lost(&error))?;
                if found != "what was found so far" {
                    return Err(JobError::failed("XX001", format!("file {earlier} has {found:?}")));
                }
            }
            let written = disk.create(&folder.join(number.to_string())).and_then(|mut file| {
                file.write_all(b"what was found so far")?;
                if FILE {
                    file.sync()?;
                }
                if FOLDER {
                    disk.sync_folder(&folder)?;
                }
                Ok(())
            });
            written.map_err(|error| lost(&error))?;
            cx.save(&Count { files: number + 1 })?;
        }
        Ok(())
    }
}

impl<const FILE: bool, const FOLDER: bool> JobKind for Keeps<FILE, FOLDER> {
    const NAME: &'static str = "KEEPS";
    type Args = Count;
    type Checkpoint = Count;

    async fn run(&self, cx: Context<Self>) -> Result<()> {
        cx.on_thread(Self::work).await
    }
}

impl<const FILE: bool, const FOLDER: bool> Conforms for Keeps<FILE, FOLDER> {
    fn kind(_: &Engine) -> Self {
        Self
    }

    fn job(_: &Engine) -> NewJob<Count> {
        NewJob::new(Count::default(), "keep files")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_syncs_what_its_checkpoint_names_conforms() {
    let tried = conformance::<Keeps<true, true>>().await;
    assert_eq!(tried.checkpoints, u64::from(FILES));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_forgets_to_sync_its_files_or_their_folder_does_not_conform() {
    for tried in [
        tokio::spawn(async { conformance::<Keeps<false, true>>().await }),
        tokio::spawn(async { conformance::<Keeps<true, false>>().await }),
    ] {
        let panic = tried.await.unwrap_err().into_panic();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("lost the power at checkpoint 1"), "{text}");
    }
}
