//! Enters: the arguments of `monitor-host receive`. Leaves: [`Options`]. Never opens anything.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::answer::Fault;

/// Which messages the receiver reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// Only remote write 1.0; 2.0 is answered 415.
    V1,
    /// Only remote write 2.0; 1.0 is answered 415.
    V2,
    /// Either.
    Both,
    /// Like a receiver that has never heard of 2.0: answers it 204, without the headers, and stores nothing.
    Legacy,
}

/// What `monitor-host receive` was told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// One JSON object a line on standard output instead of the table.
    pub json: bool,
    /// Answer 400 to samples out of order and to two values for one instant.
    pub strict: bool,
    /// Which messages are read.
    pub protocols: Protocols,
    /// Answers other than the usual, each in turn.
    pub answers: Vec<Fault>,
    /// Rows of the table.
    pub rows: usize,
    /// Series remembered at most; those beyond are stored and counted, but not shown and not checked for order.
    pub max_series: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9090".into(),
            json: false,
            strict: false,
            protocols: Protocols::Both,
            answers: Vec::new(),
            rows: 18,
            max_series: 100_000,
        }
    }
}

const ANSWER_HELP: &str = "\
Answer otherwise than usual, for some requests or some time (repeatable, each in turn)

SPEC is JSON, {\"status\":503,\"count\":3}, or short, status=503,count=3. Its keys, all optional:
  status       answer this; anything but 2xx stores nothing
  count        for so many requests
  for_s        for so many seconds; without count and for_s, until cleared
  retry_after  the Retry-After header, seconds or a date
  headers      an object of further headers
  body         the text of the answer
  delay_s      wait so many seconds first
  drop         true: read the request, then close the connection without an answer
  hang         true: never answer
  store        true: store the request although it is dropped or hung, and before the delay
While it runs: POST the JSON to /-/answer, DELETE /-/answer to clear, GET /-/stats for counts.";

/// The subcommand's arguments.
pub fn command() -> Command {
    Command::new("receive")
        .about("Receive remote write, show what arrives and check it: for demos, debugging and tests")
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .default_value("127.0.0.1:9090")
                .help("Address to listen on; port 0 takes a free one, and the first line printed names it"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print each sample and each request as a line of JSON instead of the table"),
        )
        .arg(
            Arg::new("protocol")
                .long("protocol")
                .value_name("WHICH")
                .value_parser(["1.0", "2.0", "both", "legacy"])
                .default_value("both")
                .help("Messages to read; legacy answers 204 to 2.0 and stores nothing, as receivers before 2.0 do"),
        )
        .arg(
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("Answer 400 to samples out of order and to a second value for one timestamp"),
        )
        .arg(
            Arg::new("answer")
                .long("answer")
                .value_name("SPEC")
                .action(ArgAction::Append)
                .help("Answer otherwise than usual: a JSON object or key=value,... (see --help)")
                .long_help(ANSWER_HELP),
        )
        .arg(
            Arg::new("rows")
                .long("rows")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..))
                .default_value("18")
                .help("Rows of the table; 18 fit a terminal of 24 lines"),
        )
        .arg(
            Arg::new("max-series")
                .long("max-series")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("100000")
                .help("Series to remember; what lies beyond is counted, but neither shown nor checked for order"),
        )
}

/// What the arguments mean, or one line that says which is wrong and why.
pub fn options(matches: &ArgMatches) -> Result<Options, String> {
    let answers = matches
        .get_many::<String>("answer")
        .into_iter()
        .flatten()
        .map(|spec| Fault::parse(spec).map_err(|error| format!("--answer {spec}: {error}")))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    let default = Options::default();
    Ok(Options {
        listen: matches.get_one::<String>("listen").cloned().unwrap_or(default.listen),
        json: matches.get_flag("json"),
        strict: matches.get_flag("strict"),
        protocols: match matches.get_one::<String>("protocol").map(String::as_str) {
            Some("1.0") => Protocols::V1,
            Some("2.0") => Protocols::V2,
            Some("legacy") => Protocols::Legacy,
            _ => Protocols::Both,
        },
        answers,
        rows: matches.get_one::<u16>("rows").map_or(default.rows, |&rows| rows.into()),
        max_series: matches.get_one::<u32>("max-series").map_or(default.max_series, |&series| series as usize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, String> {
        let matches = command()
            .try_get_matches_from(std::iter::once(&"receive").chain(arguments))
            .map_err(|error| error.to_string())?;
        options(&matches)
    }

    #[test]
    fn no_arguments_give_the_defaults() {
        command().debug_assert();
        assert_eq!(format!("{:?}", parsed(&[]).unwrap()), format!("{:?}", Options::default()));
    }

    #[test]
    fn each_argument_is_taken() {
        let options = parsed(&[
            "--listen=127.0.0.1:0",
            "--json",
            "--strict",
            "--protocol=legacy",
            "--rows=3",
            "--max-series=7",
            "--answer=status=503,count=2",
            r#"--answer=[{"drop":true},{"hang":true}]"#,
        ])
        .unwrap();
        assert_eq!(options.listen, "127.0.0.1:0");
        assert!(options.json && options.strict);
        assert_eq!(options.protocols, Protocols::Legacy);
        assert_eq!((options.rows, options.max_series, options.answers.len()), (3, 7, 3));
    }

    #[test]
    fn a_bad_answer_names_itself() {
        let error = parsed(&["--answer=stauts=503"]).unwrap_err();
        assert!(error.starts_with("--answer stauts=503: ") && !error.contains('\n'), "{error}");
    }
}
