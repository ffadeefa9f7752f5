//! Checks expositions in files and on standard input by pushing them to a gateway within this process.
//! It has no limits and no rules, so what it refuses, every gateway refuses.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::Timestamps;
use crate::format::negotiate::PushFormat;
use crate::format::openmetrics;
use crate::gateway::{Gateway, PushError, PushRequest, Pushed, Settings};
use crate::model::{GaugeRule, Grouping};
use crate::telemetry::Telemetry;

/// What is to be pushed.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) body: Vec<u8>,
    pub(super) format: PushFormat,
}

/// Why something cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("{name}: {error}")]
    Read { name: String, error: io::Error },
    #[error("{name}: {error}")]
    Refused { name: String, error: PushError },
    #[error("only files in the text format can be pushed together")]
    NotTogether,
}

/// How an exposition is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check<'a> {
    pub(super) grouping: &'a Grouping,
    /// `None` to detect it.
    pub(super) format: Option<PushFormat>,
    pub(super) merge: Option<GaugeRule>,
    pub(super) timestamps: Timestamps,
}

const STANDARD_INPUT: &str = "standard input";

/// All files as one push. `-`, or no file at all, stands for `input`.
///
/// # Errors
/// If anything cannot be read, or would be refused.
pub(super) fn read(
    files: &[PathBuf],
    input: &mut dyn Read,
    check: Check<'_>,
) -> Result<(Input, Pushed), InputError> {
    let inputs = read_each(files, input, check.format)?;
    for (name, input) in &inputs {
        check.run(name, input)?;
    }
    let together = inputs.len() > 1;
    if together && inputs.iter().any(|(_, input)| input.format != PushFormat::Text) {
        return Err(InputError::NotTogether);
    }
    let mut all = Input { body: Vec::new(), format: PushFormat::Text };
    for (_, mut input) in inputs {
        all.format = input.format;
        if all.body.last().is_some_and(|byte| *byte != b'\n') {
            all.body.push(b'\n');
        }
        all.body.append(&mut input.body);
    }
    let pushed = check.run(if together { "all files together" } else { STANDARD_INPUT }, &all)?;
    Ok((all, pushed))
}

/// Each with its name.
pub(super) fn read_each(
    files: &[PathBuf],
    input: &mut dyn Read,
    format: Option<PushFormat>,
) -> Result<Vec<(String, Input)>, InputError> {
    let standard = [PathBuf::from("-")];
    let files = if files.is_empty() { &standard[..] } else { files };
    let read = |file: &PathBuf| {
        let (name, body) = if file == Path::new("-") {
            let mut body = Vec::new();
            (STANDARD_INPUT.to_owned(), input.read_to_end(&mut body).map(|_| body))
        } else {
            (file.display().to_string(), fs::read(file))
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => return Err(InputError::Read { name, error }),
        };
        let format = format.unwrap_or(match openmetrics::has_eof(&body) {
            true => PushFormat::OpenMetrics,
            false => PushFormat::Text,
        });
        Ok((name, Input { body, format }))
    };
    files.iter().map(read).collect()
}

impl Check<'_> {
    /// # Errors
    /// If it would be refused.
    pub(super) fn run(&self, name: &str, input: &Input) -> Result<Pushed, InputError> {
        let settings = Settings { timestamps: self.timestamps, ..Settings::default() };
        let gateway = Gateway::new(settings, Arc::new(Telemetry::new(0)));
        let request = PushRequest {
            merge: self.merge,
            ..PushRequest::new(self.grouping, input.format, &input.body)
        };
        let name = name.to_owned();
        gateway.push(&request).map_err(|error| InputError::Refused { name, error })
    }
}
