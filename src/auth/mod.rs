//! Who may do what: users with passwords or tokens, their rights, and the labels that they are bound
//! to.
//!
//! A [`Policy`] is made from a list of [`Account`]s and never changes; a reload makes a new one.
//! [`Policy::identify`] is fast. Only a password that has not been seen before must be compared with
//! its bcrypt hash, which is slow on purpose: that is a [`PasswordCheck`], to be run on a thread that
//! may block.
//!
//! Timing does not reveal which names exist: an unknown user takes as many runs of bcrypt as a known
//! one, at the same cost, and all comparisons of secrets take constant time.

mod header;
mod password;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::model::LabelScope;
pub use header::{Credentials, HeaderError, parse as parse_header};
use password::Passwords;
pub use password::{Mark, PasswordCheck, PasswordHash, PasswordHashError, PasswordMemory};
pub use token::{TokenHash, TokenHashError};

/// Bytes that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Vec<u8>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// What a user may do. Every request needs one of these rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Push, and delete the groups that the user can push to.
    Push,
    /// Read everything that is stored, and the configuration: scrapes, the API, the page.
    Scrape,
    /// Remove what others have pushed, stop the gateway, reload its configuration.
    Admin,
    /// Ask whether the gateway is alive, and what there is on a path. Every user has this right.
    Probe,
}

impl Right {
    pub const ALL: [Right; 4] = [Right::Push, Right::Scrape, Right::Admin, Right::Probe];

    pub fn word(self) -> &'static str {
        match self {
            Right::Push => "push",
            Right::Scrape => "scrape",
            Right::Admin => "admin",
            Right::Probe => "probe",
        }
    }

    pub fn of_word(word: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.word() == word)
    }
}

/// A set of rights. The default is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(BTreeSet<Right>);

impl Rights {
    pub fn all() -> Rights {
        Right::ALL.into_iter().collect()
    }

    pub fn has(&self, right: Right) -> bool {
        self.0.contains(&right)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Rights {
        Rights(rights.into_iter().collect())
    }
}

/// A user, with secrets.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    /// Besides [`Right::Probe`], which every account has.
    pub rights: Rights,
    /// What pushes are bound to; `None` for no restriction.
    pub scope: Option<LabelScope>,
    pub password: Option<PasswordHash>,
    pub tokens: Vec<TokenHash>,
}

/// An account without its secrets.
#[derive(Debug)]
struct User {
    name: Arc<str>,
    rights: Rights,
    scope: Option<Arc<LabelScope>>,
}

/// The sender of a request that is allowed.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// `None` for a request without credentials, and if no credentials are needed.
    pub name: Option<Arc<str>>,
    /// What pushes and deletions of groups are bound to.
    pub scope: Option<Arc<LabelScope>>,
}

/// Why a request is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("credentials are needed: a user name with a password, or a token")]
    Missing,
    #[error("{0}")]
    Malformed(#[from] HeaderError),
    #[error("wrong credentials")]
    Wrong,
    #[error("this user lacks the right {}", .0.word())]
    Right(Right),
}

/// The result of looking at the header of a request.
#[derive(Debug)]
pub enum Identified {
    Caller(Caller),
    Refused(Refusal),
    /// A run of bcrypt is needed to decide.
    Ask(PasswordCheck),
}

/// Why some accounts cannot make up a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("there are two users {0:?}")]
    TwoUsers(String),
    #[error("users {0:?} and {1:?} have the same token")]
    SameToken(String, String),
}

/// All users, and what anybody may do without credentials.
#[derive(Debug)]
pub struct Policy {
    anonymous: Rights,
    users: Vec<User>,
    tokens: Vec<(TokenHash, usize)>,
    passwords: Passwords,
}

impl Policy {
    /// `anonymous` is what anybody may do without credentials. `memory` is that of the previous policy,
    /// or a new one.
    ///
    /// # Errors
    /// If two accounts cannot be told apart.
    pub fn new(
        accounts: Vec<Account>,
        anonymous: Rights,
        memory: PasswordMemory,
    ) -> Result<Policy, PolicyError> {
        let mut by_name = BTreeMap::new();
        let mut users: Vec<User> = Vec::new();
        let mut tokens: Vec<(TokenHash, usize)> = Vec::new();
        let mut hashes = BTreeMap::new();
        for Account { name, rights, scope, password, tokens: own } in accounts {
            let at = users.len();
            if by_name.insert(name.clone(), at).is_some() {
                return Err(PolicyError::TwoUsers(name));
            }
            for token in own {
                match tokens.iter().find(|(other, _)| *other == token) {
                    Some((_, other)) if *other != at => {
                        let other = users[*other].name.to_string();
                        return Err(PolicyError::SameToken(other, name));
                    }
                    Some(_) => {}
                    None => tokens.push((token, at)),
                }
            }
            if let Some(hash) = password {
                hashes.insert(name.clone(), (hash, at));
            }
            let rights = rights.0.into_iter().chain([Right::Probe]).collect();
            users.push(User { name: name.into(), rights, scope: scope.map(Arc::new) });
        }
        Ok(Policy { anonymous, users, tokens, passwords: Passwords::new(hashes, memory) })
    }

    /// Decides whether the sender of a request has `right`. `header` is the value of `Authorization`.
    pub fn identify(self: &Arc<Policy>, header: Option<&[u8]>, right: Right) -> Identified {
        let found = match header.map(parse_header) {
            None if self.anonymous.has(right) => return Identified::Caller(Caller::default()),
            None => Err(Refusal::Missing),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(Credentials::Bearer(token))) => self.by_token(&token).ok_or(Refusal::Wrong),
            Some(Ok(Credentials::Basic { user, password })) => {
                let check = PasswordCheck::new(self.clone(), user, password, right);
                return match check.recall() {
                    Some(right) => check.outcome(right).into(),
                    None => Identified::Ask(check),
                };
            }
        };
        found.and_then(|user| self.allow(user, right)).into()
    }

    /// Whether any user has a token.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Compares with all tokens, so that timing reveals nothing.
    fn by_token(&self, token: &Hidden) -> Option<usize> {
        let hash = TokenHash::of(&token.0);
        let matching = self.tokens.iter().filter(|(other, _)| other.is_same(&hash));
        matching.fold(None, |_, (_, user)| Some(*user))
    }

    fn allow(&self, user: usize, right: Right) -> Result<Caller, Refusal> {
        let user = self.users.get(user).ok_or(Refusal::Wrong)?;
        match user.rights.has(right) {
            true => Ok(Caller { name: Some(user.name.clone()), scope: user.scope.clone() }),
            false => Err(Refusal::Right(right)),
        }
    }
}

impl From<Result<Caller, Refusal>> for Identified {
    fn from(result: Result<Caller, Refusal>) -> Identified {
        match result {
            Ok(caller) => Identified::Caller(caller),
            Err(refusal) => Identified::Refused(refusal),
        }
    }
}

#[cfg(test)]
mod tests;
