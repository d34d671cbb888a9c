//! Metrics for Prometheus: what the crates record through the `metrics` facade, served over HTTP.
//!
//! `GET /metrics` answers in the OpenMetrics text format, `GET /health` answers 200 while the server runs. Names are
//! those of the crates' own lists; a histogram's buckets follow from the unit its name ends with.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as PromCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge as PromGauge;
use prometheus_client::metrics::histogram::{Histogram as PromHistogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type Labels = Vec<(String, String)>;
type Histograms = Family<Labels, PromHistogram, fn() -> PromHistogram>;
type FloatGauge = PromGauge<f64, AtomicU64>;

/// Collects what the process records. Clones share one registry.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    // Guards registration and encoding; recording itself takes no lock.
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    registry: Registry,
    help: HashMap<String, String>,
    counters: HashMap<String, Family<Labels, PromCounter>>,
    gauges: HashMap<String, Family<Labels, FloatGauge>>,
    histograms: HashMap<String, Histograms>,
}

impl Recorder {
    /// A recorder that the whole process records to; without effect when there is one already.
    pub(crate) fn install() -> Recorder {
        let recorder = Recorder::default();
        if metrics::set_global_recorder(recorder.clone()).is_err() {
            tracing::warn!("metrics are recorded elsewhere already");
        }
        recorder
    }

    /// Everything recorded so far, in the OpenMetrics text format.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.lock().registry)?;
        Ok(text)
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        // The encoder adds the full stop.
        let help = help.trim_end_matches('.').to_owned();
        self.lock().help.insert(name.as_str().to_owned(), help);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, &description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, &description);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut known = self.lock();
        let Known { registry, help, counters, .. } = &mut *known;
        let family = counters.entry(key.name().to_owned()).or_insert_with(|| {
            let family = Family::default();
            // The encoder adds `_total` by itself.
            let name = exported(key.name().strip_suffix("_total").unwrap_or(key.name()));
            registry.register(name, help_of(help, key), family.clone());
            family
        });
        Counter::from_arc(Arc::new(Recorded(family.get_or_create_owned(&labels(key)))))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut known = self.lock();
        let Known { registry, help, gauges, .. } = &mut *known;
        let family = gauges.entry(key.name().to_owned()).or_insert_with(|| {
            let family = Family::default();
            registry.register(exported(key.name()), help_of(help, key), family.clone());
            family
        });
        Gauge::from_arc(Arc::new(Recorded(family.get_or_create_owned(&labels(key)))))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut known = self.lock();
        let Known { registry, help, histograms, .. } = &mut *known;
        let family = histograms.entry(key.name().to_owned()).or_insert_with(|| {
            let make: fn() -> PromHistogram =
                if key.name().ends_with("bytes") { of_bytes } else { of_seconds };
            let family = Family::new_with_constructor(make);
            registry.register(exported(key.name()), help_of(help, key), family.clone());
            family
        });
        Histogram::from_arc(Arc::new(Recorded(family.get_or_create_owned(&labels(key)))))
    }
}

/// 100 microseconds to 52 seconds.
fn of_seconds() -> PromHistogram {
    PromHistogram::new(exponential_buckets(0.0001, 2.0, 20))
}

/// 1 KiB to 1 GiB.
fn of_bytes() -> PromHistogram {
    PromHistogram::new(exponential_buckets(1024.0, 4.0, 11))
}

/// Prometheus allows no dots in names.
fn exported(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}

fn help_of(help: &HashMap<String, String>, key: &Key) -> String {
    help.get(key.name()).cloned().unwrap_or_else(|| key.name().replace('_', " "))
}

fn labels(key: &Key) -> Labels {
    key.labels().map(|label| (exported(label.key()), label.value().to_owned())).collect()
}

/// A Prometheus metric behind the facade's trait.
struct Recorded<M>(M);

impl CounterFn for Recorded<PromCounter> {
    fn increment(&self, value: u64) {
        self.0.inc_by(value);
    }

    fn absolute(&self, value: u64) {
        self.0.inner().fetch_max(value, std::sync::atomic::Ordering::Relaxed);
    }
}

impl GaugeFn for Recorded<FloatGauge> {
    fn increment(&self, value: f64) {
        self.0.inc_by(value);
    }

    fn decrement(&self, value: f64) {
        self.0.dec_by(value);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
    }
}

impl HistogramFn for Recorded<PromHistogram> {
    fn record(&self, value: f64) {
        self.0.observe(value);
    }
}

/// Serves the recorder's metrics until `stop` fires.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    recorder: Recorder,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(exposition))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(recorder);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn exposition(State(recorder): State<Recorder>) -> impl IntoResponse {
    match recorder.encode() {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_exposed_under_its_name_and_labels() {
        let recorder = Recorder::default();
        metrics::with_local_recorder(&recorder, || {
            metrics::describe_counter!("cairn_jobs_done_total", "Jobs that ended.");
            metrics::counter!("cairn_jobs_done_total", "kind" => "IMPORT").increment(2);
            metrics::counter!("cairn_jobs_done_total", "kind" => "BACKUP").absolute(5);
            metrics::gauge!("cairn.jobs.running").set(1.5);
            metrics::histogram!("cairn_latch_seconds").record(0.01);
        });
        let text = recorder.encode().unwrap();
        for line in [
            "# HELP cairn_jobs_done Jobs that ended.\n",
            "cairn_jobs_done_total{kind=\"IMPORT\"} 2",
            "cairn_jobs_done_total{kind=\"BACKUP\"} 5",
            "cairn_jobs_running{} 1.5",
            "cairn_latch_seconds_count{} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
