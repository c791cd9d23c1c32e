//! The variables of `monitor-host run`: one entry each, and everything else follows from it: the environment variable,
//! the flag, the field of [`Config`], its check, `--help`, and the reference in `docs/configuration.md`.
//! Never read anywhere but through [`Config`].

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderMap;

use super::access::{Headers, Hosts, Password, Proxy, Token, UserName};
use super::choices;
use super::kind::{
    Bytes, Count, HttpUrl, LabelValue, Labels, Listen, MetricName, OptionalBytes, OptionalDirectory, OptionalPath,
    OptionalSeconds, Positive, Seconds, Statuses, Switch,
};
use super::secret::Secret;
use super::url::TargetUrl;
use crate::log::{Format, Level};
use crate::metrics::SelfMetrics;
use crate::negotiate;
use crate::plugin::Isolation;
use crate::supervise::Restart;

/// A day: a longer interval is a mistake in the unit.
const DAY: f64 = 86_400.0;
/// Every waiting item costs memory: at some 100 bytes an item this is 100 MB.
const QUEUE_MAX: u64 = 1_000_000;

settings! {
    ["Sensor"]
    MONITOR_IMPL_PATH {
        field: monitor_impl_path: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "The plugin, a shared library. Unset, it is libmonitor_impl.so beside the binary.",
        why: "An image adds its plugin by adding that file. Where there is none, libmonitor_dummy.so beside the \
              binary shows that the rest works, with a warning that its readings are not real.",
    }
    SCRAPE_INTERVAL_S {
        field: scrape_interval: Duration,
        kind: Seconds { min: 0.001, max: DAY },
        default: "0.1",
        unit: "s",
        help: "The time between two readings, as it is given to the plugin.",
        why: "Short enough to see a burst of load. Timestamps are milliseconds: nothing shorter could be told apart.",
    }
    RAW_QUEUE_SIZE {
        field: raw_queue_size: NonZeroUsize,
        kind: Positive { max: QUEUE_MAX },
        default: "1000",
        unit: "items",
        help: "How many readings may wait between the plugin's get_power and its process_data.",
        why: "At the default interval 100 s of readings, which outlasts any pause of a busy machine.",
    }
    PROC_QUEUE_SIZE {
        field: proc_queue_size: NonZeroUsize,
        kind: Positive { max: QUEUE_MAX },
        default: "1000",
        unit: "items",
        help: "How many items (a record, a list, or many samples) may wait to be batched.",
        why: "It is emptied at each push and when half full, so that this is room for bursts, not for an outage.",
    }
    METRIC_DEFAULT {
        field: metric_default: String,
        kind: MetricName,
        default: "pyjoules_remote_write_energy_uj",
        unit: "",
        help: "The metric of records that name none.",
        why: "The original's, so that queries written for it go on working.",
    }
    SERVICE_LABEL {
        field: service_label: String,
        kind: LabelValue,
        default: "monitor",
        unit: "",
        help: "The value of the label source on expanded pyJoules-like records.",
        why: "The original's.",
    }
    EXTERNAL_LABELS {
        field: external_labels: Vec<(String, String)>,
        kind: Labels,
        default: "",
        unit: "",
        help: "Labels for every series, name=value, separated by commas; ${NAME} stands for a variable.",
        why: "None by default: records are sent as they are. A series' own label of the same name stays.",
    }
    MAX_LABEL_VALUE_BYTES {
        field: max_label_value_bytes: NonZeroUsize,
        kind: Positive { max: 1 << 20 },
        default: "65536",
        unit: "bytes",
        help: "The longest label value; a record with a longer one is dropped and counted.",
        why: "Longer than any receiver takes by default, short enough that one label can't fill a request.",
    }
    MAX_SERIES {
        field: max_series: NonZeroUsize,
        kind: Positive { max: 10_000_000 },
        default: "1000000",
        unit: "series",
        help: "How many series are known at once. At the bound idle ones make room, else new ones are refused and counted.",
        why: "A series costs its labels and some 150 bytes; a label that never repeats must not fill the memory.",
    }
    SERIES_IDLE_S {
        field: series_idle: Option<Duration>,
        kind: OptionalSeconds { min: 1.0, max: 30.0 * DAY },
        default: "",
        unit: "s",
        help: "After this long without a sample a series ends: a stale marker is sent. Unset, only its plugin ends it.",
        why: "Only the operator knows how seldom a sensor may speak.",
    }

    ["Plugin"]
    PLUGIN_ISOLATION {
        field: plugin_isolation: Isolation,
        kind: choices::ISOLATION,
        default: "off",
        unit: "",
        help: "process: the plugin runs in a process of its own, whose death costs only what is still inside.",
        why: "A plugin that is trusted needs no second process, some 3 MB of memory. One that calls foreign code is \
              safer in its own.",
    }
    PLUGIN_MEMORY_MAX {
        field: plugin_memory_max: Option<usize>,
        kind: OptionalBytes { min: 32 << 20, max: 1 << 50 },
        default: "",
        unit: "",
        help: "How much memory the plugin's process may ask for; beyond it allocations fail, which ends the process.",
        why: "Only its author knows what a sensor needs. It bounds what is private and writable (RLIMIT_DATA), whole \
              stacks included.",
    }
    PLUGIN_RESTART {
        field: plugin_restart: Restart,
        kind: choices::RESTART,
        default: "never",
        unit: "",
        help: "Whether a plugin that failed (on-failure), or ended at all (always), is started again.",
        why: "A container restarts what exits, and shows that it did. In the host's own process a plugin can be started \
              again only when both of its workers have ended.",
    }
    PLUGIN_RESTART_MAX {
        field: plugin_restart_max: NonZeroUsize,
        kind: Positive { max: 1_000_000 },
        default: "10",
        unit: "restarts",
        help: "So many restarts in a row, then the run ends; after 60 s without a failure they are counted anew.",
        why: "The gaps between them grow from 0.25 s to 30 s: two minutes, after which it will not mend by itself.",
    }
    PLUGIN_STALL_S {
        field: plugin_stall: Option<Duration>,
        kind: OptionalSeconds { min: 0.1, max: 30.0 * DAY },
        default: "",
        unit: "s",
        help: "A plugin that sends, logs and registers nothing for so long is told, and restarted where that is on.",
        why: "Only the operator knows how seldom a sensor may speak.",
    }

    ["Batches"]
    PUSH_INTERVAL_S {
        field: push_interval: Duration,
        kind: Seconds { min: 0.1, max: DAY },
        default: "4",
        unit: "s",
        help: "A batch is cut and sent each time this has passed.",
        why: "The original's: a graph that refreshes every 5 s gets new points each time.",
    }
    BATCH_MAX_SAMPLES {
        field: batch_max_samples: NonZeroUsize,
        kind: Positive { max: 1_000_000 },
        default: "10000",
        unit: "samples",
        help: "A batch is cut earlier when it holds this many samples.",
        why: "Large enough that a request's own cost vanishes, small enough that a refused batch loses little.",
    }
    BATCH_MAX_BYTES {
        field: batch_max_bytes: usize,
        kind: Bytes { min: 1 << 10, max: 1 << 30 },
        default: "1MiB",
        unit: "",
        help: "A batch is cut earlier when its message, not yet compressed, is this long.",
        why: "A sample takes at most 20 bytes and a series its labels once, some 200: ten thousand samples of four \
              thousand series still fit, and so does the message behind a proxy that takes 1 MiB (nginx's default).",
    }
    ALLOW_OUT_OF_ORDER {
        field: allow_out_of_order: bool,
        kind: Switch,
        default: "0",
        unit: "",
        help: "1 sends samples that are older than what was batched for their series; 0 drops and counts them.",
        why: "Most receivers refuse such samples; 1 suits one with an out-of-order window.",
    }

    ["Delivery"]
    REMOTE_WRITE_URL {
        field: remote_write_url: TargetUrl,
        kind: HttpUrl,
        default: "http://prometheus:9090/api/v1/write",
        unit: "",
        help: "Where batches are sent. A user and a password in it become basic authentication.",
        why: "The original's: a Prometheus beside it in the same compose file or namespace. Logs show it without \
              credentials and query.",
    }
    REMOTE_WRITE_PROTOCOL {
        field: remote_write_protocol: negotiate::Choice,
        kind: choices::PROTOCOL,
        default: "auto",
        unit: "",
        help: "The version of remote write: 2.0 where the receiver knows it, else 1.0; or always this one.",
        why: "2.0 carries more and confirms what was written; receivers that don't know it are found out without loss.",
    }
    RETRY_ON_HTTP {
        field: retry_on_http: Vec<u16>,
        kind: Statuses,
        default: "",
        unit: "",
        help: "Refusals that are tried again like an outage, such as 401,403 where tokens are rotated.",
        why: "By the specification a refusal is final: it would be refused again.",
    }
    MAX_SAMPLE_AGE_S {
        field: max_sample_age: Option<Duration>,
        kind: OptionalSeconds { min: 1.0, max: 365.0 * DAY },
        default: "",
        unit: "s",
        help: "A batch whose newest sample is older than this is dropped rather than sent. Unset, age is no reason.",
        why: "Late samples are better than none, unless the receiver is known to refuse them.",
    }
    REMOTE_WRITE_TIMEOUT_S {
        field: remote_write_timeout: Duration,
        kind: Seconds { min: 0.1, max: 3_600.0 },
        default: "10",
        unit: "s",
        help: "A request that has no answer after this is given up and retried.",
        why: "A healthy receiver answers within a second; a loaded one should not get the same batch twice.",
    }
    MAX_RETRY_BATCHES {
        field: max_retry_batches: usize,
        kind: Count { max: 1_000_000 },
        default: "900",
        unit: "batches",
        help: "How many batches may wait in memory while the receiver fails; the oldest is dropped first, 0: no retry.",
        why: "An hour's outage at the default push interval.",
    }
    MAX_RETRY_BYTES {
        field: max_retry_bytes: usize,
        kind: Bytes { min: 0, max: 1 << 40 },
        default: "64MiB",
        unit: "",
        help: "How many bytes of compressed batches may wait in memory; the oldest is dropped first, 0: no retry.",
        why: "An outage never costs more memory than this, whatever the batches' size; an hour of a small sensor's \
              batches takes less.",
    }
    DRY_RUN {
        field: dry_run: bool,
        kind: Switch,
        default: "0",
        unit: "",
        help: "1 prints on standard output what would be pushed, a line for each sample, and pushes nothing.",
        why: "Whoever runs it wants samples pushed. A dry run reads no credentials and leaves a spool alone.",
    }

    ["Spool"]
    SPOOL_DIR {
        field: spool_dir: Option<PathBuf>,
        kind: OptionalDirectory,
        default: "",
        unit: "",
        help: "Where batches wait on disk until they are delivered, through a crash and a restart. Unset, in memory.",
        why: "A container's disk is lost with it: only a volume is worth a spool, and only the operator has one.",
    }
    SPOOL_MAX_BYTES {
        field: spool_max_bytes: usize,
        kind: Bytes { min: 1 << 20, max: 1 << 50 },
        default: "1GiB",
        unit: "",
        help: "How much of the disk the spool may take; the oldest batches make room.",
        why: "Ten readings a second of five series fill it in twelve days; it replaces MAX_RETRY_BATCHES and MAX_RETRY_BYTES.",
    }
    SPOOL_MAX_AGE_S {
        field: spool_max_age: Duration,
        kind: Seconds { min: 1.0, max: 3650.0 * DAY },
        default: "172800",
        unit: "s",
        help: "A batch whose newest sample is older than this is dropped from the spool.",
        why: "Two days last over a weekend; receivers seldom take what is older.",
    }
    SPOOL_FLUSH_S {
        field: spool_flush: Duration,
        kind: Seconds { min: 0.1, max: DAY },
        default: "1",
        unit: "s",
        help: "With a spool, batches are cut and written at least this often: what a crash may lose.",
        why: "A second of samples is little to lose, and a write a second is little to do.",
    }
    SPOOL_FSYNC {
        field: spool_fsync: bool,
        kind: Switch,
        default: "0",
        unit: "",
        help: "1: each batch is flushed to the disk itself, to survive a power cut too.",
        why: "A write survives the death of the process without it, and flushing wears cheap disks.",
    }

    ["Access"]
    REMOTE_WRITE_USERNAME {
        field: remote_write_username: Option<String>,
        kind: UserName,
        default: "",
        unit: "",
        help: "The user of basic authentication, instead of one in the URL.",
        why: "Most receivers inside a cluster ask for no credentials.",
    }
    REMOTE_WRITE_PASSWORD {
        field: remote_write_password: Option<Secret>,
        kind: Password,
        default: "",
        unit: "",
        help: "The password of basic authentication.",
        why: "There is no password that fits everywhere.",
        secret: true,
    }
    REMOTE_WRITE_PASSWORD_FILE {
        field: remote_write_password_file: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "A file that holds that password instead; read again when it changes.",
        why: "Secrets that are mounted as files can be rotated without a restart.",
    }
    REMOTE_WRITE_BEARER_TOKEN {
        field: remote_write_bearer_token: Option<Secret>,
        kind: Token,
        default: "",
        unit: "",
        help: "The token of bearer authentication, instead of a user and a password.",
        why: "There is no token that fits everywhere.",
        secret: true,
    }
    REMOTE_WRITE_BEARER_TOKEN_FILE {
        field: remote_write_bearer_token_file: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "A file that holds that token instead; read again when it changes.",
        why: "Secrets that are mounted as files can be rotated without a restart.",
    }
    REMOTE_WRITE_HEADERS {
        field: remote_write_headers: HeaderMap,
        kind: Headers,
        default: "",
        unit: "",
        help: "Headers that every request gets, as X-Scope-OrgID=team-a.",
        why: "A receiver for one tenant needs none. The form is that of OTEL_EXPORTER_OTLP_HEADERS. Values are \
              secrets, keys often stand there.",
        secret: true,
    }
    REMOTE_WRITE_HEADERS_FILE {
        field: remote_write_headers_file: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "A file that holds those headers instead, one a line too; read again when it changes.",
        why: "A key in a header can be rotated without a restart.",
    }
    TLS_CA_FILE {
        field: tls_ca_file: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "The only authorities whose certificates are believed, in PEM; read again when it changes.",
        why: "Unset, the system's are: those that OpenSSL's places, SSL_CERT_FILE or SSL_CERT_DIR hold.",
    }
    TLS_CERT_FILE {
        field: tls_cert_file: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "The certificate that a receiver may ask for, its chain behind it, in PEM; read again when it changes.",
        why: "Few receivers ask their clients for one.",
    }
    TLS_KEY_FILE {
        field: tls_key_file: Option<PathBuf>,
        kind: OptionalPath,
        default: "",
        unit: "",
        help: "The private key of that certificate, in PEM, not encrypted; read again when it changes.",
        why: "It belongs to TLS_CERT_FILE.",
    }
    HTTP_PROXY {
        field: http_proxy: Option<TargetUrl>,
        kind: Proxy,
        default: "",
        unit: "",
        help: "The proxy for a receiver behind http://. http_proxy does the same.",
        why: "Most receivers are in reach. A receiver on this machine is never asked for through a proxy.",
        secret: true,
        also: "http_proxy",
    }
    HTTPS_PROXY {
        field: https_proxy: Option<TargetUrl>,
        kind: Proxy,
        default: "",
        unit: "",
        help: "The proxy for a receiver behind https://. https_proxy does the same.",
        why: "Most receivers are in reach. The proxy sees their names, nothing else.",
        secret: true,
        also: "https_proxy",
    }
    NO_PROXY {
        field: no_proxy: String,
        kind: Hosts,
        default: "",
        unit: "",
        help: "Hosts that are asked without a proxy: example.org is its subdomains too. no_proxy does the same.",
        why: "A proxy, where one is set, is for all that lies outside of this machine.",
        also: "no_proxy",
    }

    ["Watching"]
    ADMIN_ADDR {
        field: admin_addr: Option<SocketAddr>,
        kind: Listen,
        default: "127.0.0.1:9464",
        unit: "",
        help: "Where the status page (/), /live, /ready and /metrics are served, and monitor-host health asks; off: nowhere.",
        why: "Readable on this machine alone, by its address or as localhost. The image sets 0.0.0.0:9464, because a container has \
              a network of its own. 9464 is the port that exporters of OpenTelemetry use.",
    }
    READY_MAX_AGE_S {
        field: ready_max_age: Option<Duration>,
        kind: OptionalSeconds { min: 0.1, max: 30.0 * DAY },
        default: "",
        unit: "s",
        help: "Ready means: the last delivery, and the oldest sample that waits, are not older than this. Unset, 3 pushes.",
        why: "Three push intervals, but a minute at least: a push that failed once is no reason to call anybody.",
    }
    SELF_METRICS {
        field: self_metrics: SelfMetrics,
        kind: choices::SELF,
        default: "both",
        unit: "",
        help: "Where the host's own metrics go: to /metrics (admin), to the receiver every 15 s (push), both, or off.",
        why: "Nobody can scrape a client behind NAT, and nobody notices when one that only pushes falls silent.",
    }
    JOB {
        field: job: String,
        kind: LabelValue,
        default: "",
        unit: "",
        help: "The label job of the host's own metrics when they are pushed. Unset, the plugin's name.",
        why: "All clients with one kind of sensor are one job.",
    }
    INSTANCE {
        field: instance: String,
        kind: LabelValue,
        default: "",
        unit: "",
        help: "The label instance of the host's own metrics when they are pushed. Unset, HOSTNAME or the machine's name.",
        why: "It tells the clients of a fleet apart. Two on one machine need one each.",
    }

    ["Process"]
    SHUTDOWN_TIMEOUT_S {
        field: shutdown_timeout: Duration,
        kind: Seconds { min: 0.1, max: 3_600.0 },
        default: "8",
        unit: "s",
        help: "From a SIGTERM or SIGINT to the exit: stop the plugin, drain the queues, one last push.",
        why: "Docker kills a container 10 s after it asked it to stop; this leaves 2 s.",
    }
    LOG_LEVEL {
        field: log_level: Level,
        kind: choices::LEVEL,
        default: "INFO",
        unit: "",
        help: "The least severe lines to write. CRITICAL shows what ERROR does.",
        why: "A healthy run writes a line now and then, not one a push.",
    }
    LOG_FORMAT {
        field: log_format: Format,
        kind: choices::FORMAT,
        default: "auto",
        unit: "",
        help: "human: for reading; json: one object a line; auto: human on a terminal, else json.",
        why: "Log collectors want objects, people do not.",
    }
}
