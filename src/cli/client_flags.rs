//! Flags of the commands that talk to a gateway: how to reach it, and what to send.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::UsageError;
use super::client::{ClientOptions, Url};
use super::flags::{Flag, Given, bad_value, one_of};
use crate::config::{Secret, parse_duration};
use crate::format::negotiate::PushFormat;

pub(super) const FORMAT: Flag = Flag {
    name: "--format",
    placeholder: "text|openmetrics|protobuf",
    repeated: false,
    help: "Format of the input. If not given it is text, or OpenMetrics if it ends in # EOF.",
};
/// What the timeout limits differs from command to command.
pub(super) const fn timeout_flag(help: &'static str) -> Flag {
    Flag { name: "--timeout", placeholder: "DURATION", repeated: false, help }
}
pub(super) const BASIC_AUTH: Flag = Flag {
    name: "--basic-auth-file",
    placeholder: "FILE",
    repeated: false,
    help: "User and password, as user:password in the first line of a file. The variable \
           TALLYGATE_BASIC_AUTH holds the same.",
};
pub(super) const BEARER_TOKEN: Flag = Flag {
    name: "--bearer-token-file",
    placeholder: "FILE",
    repeated: false,
    help: "A token, in the first line of a file. The variable TALLYGATE_BEARER_TOKEN holds the \
           same.",
};
pub(super) const CA_FILE: Flag = Flag {
    name: "--ca-file",
    placeholder: "FILE",
    repeated: false,
    help: "Trust the certificates in this file (PEM), and not those of the public authorities.",
};

/// The URL of the gateway, without the path of the push.
pub(super) fn bare_url(text: &str) -> Result<Url, UsageError> {
    Url::parse(text).map_err(|error| UsageError::Url(error.to_string()))
}

pub(super) fn format_of(given: &Given) -> Result<Option<PushFormat>, UsageError> {
    const FORMATS: [PushFormat; 3] =
        [PushFormat::Text, PushFormat::OpenMetrics, PushFormat::Protobuf];
    let word = given.parsed("--format", |word| one_of(word, &FORMATS.map(PushFormat::word)))?;
    Ok(FORMATS.into_iter().find(|format| Some(format.word()) == word))
}

pub(super) fn timeout(given: &Given) -> Result<Option<Duration>, UsageError> {
    given.parsed("--timeout", |text| match parse_duration(text) {
        Ok(timeout) if timeout < Duration::from_secs(1) => Err("at least 1s is needed".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    })
}

/// Credentials never come from arguments, which every user of a machine can read.
pub(super) fn client_options(
    given: &Given,
    environment: &[(String, String)],
) -> Result<ClientOptions, UsageError> {
    let secret = |flag: &Flag, variable: &str| -> Result<Option<String>, UsageError> {
        if let Some(file) = given.get(flag.name) {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| bad_value(flag.name, file, error))?;
            let line = text.lines().next().unwrap_or_default().trim();
            return match line {
                "" => Err(bad_value(flag.name, file, "its first line is empty")),
                line => Ok(Some(line.to_owned())),
            };
        }
        let set = environment.iter().find(|(name, _)| name == variable);
        Ok(set.map(|(_, value)| value.clone()).filter(|value| !value.is_empty()))
    };
    let basic = secret(&BASIC_AUTH, "TALLYGATE_BASIC_AUTH")?;
    let bearer = secret(&BEARER_TOKEN, "TALLYGATE_BEARER_TOKEN")?;
    let authorization = match (basic, bearer) {
        (Some(_), Some(_)) => return Err(UsageError::TwoCredentials),
        (Some(basic), None) => Some(format!("Basic {}", BASE64_STANDARD.encode(basic))),
        (None, Some(bearer)) => Some(format!("Bearer {bearer}")),
        (None, None) => None,
    };
    Ok(ClientOptions {
        authorization: authorization.map(Secret::new),
        ca_file: given.get("--ca-file").map(PathBuf::from),
    })
}
