//! Enters: how a request could be read, what is objected to, and what is planned. Leaves: its answer.
//!
//! Pure: stores nothing, counts nothing.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use monitor_proto::{EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, SAMPLES_WRITTEN_HEADER};

use super::answer::{Answer, Then};
use super::decode::{DecodeError, Protocol, Request, Totals};
use super::options::Protocols;

/// What the sender gets.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Answer(Answer),
    Drop,
    Hang,
}

/// A success that no fault has changed yet.
#[derive(Debug)]
pub(super) struct Deserved {
    pub(super) stores: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a request deserves if no fault is planned; `objection` is what a strict receiver refuses it for.
pub(super) fn deserved(
    protocols: Protocols,
    protocol: Option<Protocol>,
    request: &Result<Request, DecodeError>,
    objection: Option<&str>,
) -> Result<Deserved, Answer> {
    let v2 = protocol == Some(Protocol::V2);
    if v2 && protocols == Protocols::Legacy {
        return Ok(Deserved { stores: false, headers: Vec::new() });
    }
    let written = |totals| if v2 { written(totals) } else { Vec::new() };
    let request = request.as_ref().map_err(refusal)?;
    if let Some(objection) = objection {
        let mut answer = Answer::text(StatusCode::BAD_REQUEST, objection);
        answer.headers = written(Totals::default());
        return Err(answer);
    }
    Ok(Deserved { stores: true, headers: written(request.totals()) })
}

/// A planned success has to be deserved; all else that is planned goes before what is deserved.
pub(super) fn reply(planned: &Then, deserved: Result<Deserved, Answer>) -> Reply {
    match (planned, deserved) {
        (Then::Drop, _) => Reply::Drop,
        (Then::Hang, _) => Reply::Hang,
        (Then::Answer(planned), _) if !planned.status.is_success() => Reply::Answer(planned.clone()),
        (Then::Answer(planned), Ok(deserved)) => {
            let mut answer = planned.clone();
            answer.headers.extend(deserved.headers);
            Reply::Answer(answer)
        }
        (Then::Usual, Ok(deserved)) => {
            let mut answer = Answer::text(StatusCode::NO_CONTENT, "");
            answer.headers = deserved.headers;
            Reply::Answer(answer)
        }
        (Then::Usual | Then::Answer(_), Err(refused)) => Reply::Answer(refused),
    }
}

fn refusal(error: &DecodeError) -> Answer {
    let status = match error {
        DecodeError::ContentType(_) | DecodeError::Encoding(_) | DecodeError::Protocol(_) => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        DecodeError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Answer::text(status, error.to_string())
}

/// What 2.0 has a receiver say.
fn written(totals: Totals) -> Vec<(HeaderName, HeaderValue)> {
    [
        (SAMPLES_WRITTEN_HEADER, totals.samples),
        (HISTOGRAMS_WRITTEN_HEADER, totals.histograms),
        (EXEMPLARS_WRITTEN_HEADER, totals.exemplars),
    ]
    .map(|(name, count)| (HeaderName::from_static(name), HeaderValue::from(count)))
    .into()
}
