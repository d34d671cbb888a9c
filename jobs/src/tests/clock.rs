//! A clock that moves between the moment at which somebody looks at it and the one at which they begin to wait.

use std::sync::Arc;
use std::time::Duration;

use super::kinds::{Plain, Script, new};
use crate::clock::{Clock, Sleep, UnixMillis};
use crate::testkit::{ForgetfulDisk, ManualClock, open_free, soon};
use crate::{Jobs, JobsOptions};

const HOUR: Duration = Duration::from_hours(1);

/// When a wait of many hours begins, though of less than a day, they have just passed.
#[derive(Default)]
struct Moved(ManualClock);

impl Moved {
    fn before_a_wait(&self, duration: Duration) {
        if (10 * HOUR..24 * HOUR).contains(&duration) {
            self.0.advance(duration);
        }
    }
}

impl Clock for Moved {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn sleep_until(&self, moment: UnixMillis) -> Sleep {
        self.before_a_wait(moment.since(self.now()));
        self.0.sleep_until(moment)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.before_a_wait(duration);
        self.0.sleep(duration)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_removal_whose_time_comes_just_before_they_wait_for_it_do_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_free(folder.path(), &ForgetfulDisk::default()).await;
    let options = JobsOptions { clock: Arc::<Moved>::default(), seed: 42 };
    let jobs = Jobs::open(&engine, options).unwrap();
    jobs.register::<Plain>(Script(Arc::default()));
    jobs.settings().set("jobs.retry.initial_delay", "12h").unwrap();
    jobs.settings().set("jobs.retry.max_delay", "12h").unwrap();
    jobs.settings().set("jobs.retention_time", "20h").unwrap();
    jobs.start().unwrap();
    let began = jobs.clock().now();
    let id = jobs.submit::<Plain>(new("rows put:1 retry:1 publish")).await.unwrap();
    // It is tried again, ends, and is removed, or it would still be there.
    soon("the removal", async {
        while jobs.get(id).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let passed = jobs.clock().now().since(began);
    assert!(passed >= 30 * HOUR, "{passed:?}");
    soon("shutdown", jobs.shutdown()).await;
    engine.shutdown();
}
