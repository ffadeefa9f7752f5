//! Passwords against their bcrypt hashes, and the memory of what was compared before.
//!
//! A run of bcrypt takes a tenth of a second or so; a pusher sends its password with each push. So
//! outcomes are remembered, under a keyed hash of user and password that says nothing without its
//! key, which is made at start and never leaves the process.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

use super::{Caller, Hidden, Policy, Refusal, Right};

/// A hash made by bcrypt: `$2a$`, `$2b$` or `$2y$`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: String,
    /// Two to the power of it is how much work a comparison is.
    cost: u32,
}

/// Why a text is no hash of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    #[error("a bcrypt hash is expected, such as htpasswd -nBC 10 NAME prints")]
    NotBcrypt,
    #[error("the cost {0} takes too long: accepted are hashes with a cost of up to {COST_MAX}")]
    Cost(u32),
}

/// Less is no bcrypt.
const COST_MIN: u32 = 4;
/// Some seconds on a slow core.
const COST_MAX: u32 = 16;

/// Wrong ones that are remembered; the right ones are as many as there are users.
const WRONG_MAX: usize = 1000;

impl PasswordHash {
    /// # Errors
    /// If it is none, or one that takes minutes.
    pub fn parse(text: &str) -> Result<PasswordHash, PasswordHashError> {
        let parts: bcrypt::HashParts = text.parse().map_err(|_| PasswordHashError::NotBcrypt)?;
        if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(PasswordHashError::NotBcrypt);
        }
        match parts.get_cost() {
            cost @ COST_MIN..=COST_MAX => Ok(PasswordHash { text: text.to_owned(), cost }),
            cost if cost > COST_MAX => Err(PasswordHashError::Cost(cost)),
            _ => Err(PasswordHashError::NotBcrypt),
        }
    }

    /// Well-formed, and of a password that was forgotten at once.
    fn nobody(cost: u32) -> PasswordHash {
        const DIGITS: &str = "NobodyHasThisPassword.8RHJ7/mkH/khEtRXFtEnf3L5NEfnedq";
        PasswordHash { text: format!("$2b${cost:02}${DIGITS}"), cost }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// All hashes, and what is known of passwords already.
pub(super) struct Passwords {
    /// With the index of the user.
    hashes: BTreeMap<String, (PasswordHash, usize)>,
    /// Compared with where there is no such user. It costs as much as the dearest of the others.
    nobody: PasswordHash,
    key: Option<hmac::Key>,
    memory: Mutex<Memory>,
    runs: AtomicU64,
}

#[derive(Default)]
struct Memory {
    right: HashSet<[u8; 32]>,
    wrong: HashSet<[u8; 32]>,
}

impl Passwords {
    pub(super) fn new(hashes: BTreeMap<String, (PasswordHash, usize)>) -> Passwords {
        let dearest = hashes.values().map(|(hash, _)| hash.cost).max();
        Passwords {
            hashes,
            nobody: PasswordHash::nobody(dearest.unwrap_or(10)),
            // Without randomness nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            memory: Mutex::default(),
            runs: AtomicU64::new(0),
        }
    }

    fn mark(&self, user: &str, password: &[u8]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        context.update(&(user.len() as u64).to_le_bytes());
        context.update(user.as_bytes());
        context.update(password);
        context.sign().as_ref().try_into().ok()
    }

    fn remembered(&self, mark: &[u8; 32]) -> Option<bool> {
        let memory = self.memory.lock();
        match (memory.right.contains(mark), memory.wrong.contains(mark)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    fn remember(&self, mark: [u8; 32], right: bool) {
        let mut memory = self.memory.lock();
        if right {
            memory.right.insert(mark);
        } else {
            if memory.wrong.len() >= WRONG_MAX {
                memory.wrong.clear();
            }
            memory.wrong.insert(mark);
        }
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("users", &self.hashes.keys()).finish_non_exhaustive()
    }
}

/// A password that is to be compared with the hash of its user.
#[derive(Debug)]
pub struct PasswordCheck {
    policy: Arc<Policy>,
    user: String,
    password: Hidden,
    mark: Option<[u8; 32]>,
    right: Right,
}

impl PasswordCheck {
    pub(super) fn new(
        policy: Arc<Policy>,
        user: String,
        password: Hidden,
        right: Right,
    ) -> PasswordCheck {
        let mark = policy.passwords.mark(&user, &password.0);
        PasswordCheck { policy, user, password, mark, right }
    }

    /// What came of it earlier, if it was asked before.
    pub(super) fn remembered(&self) -> Option<Result<Caller, Refusal>> {
        let right = self.policy.passwords.remembered(self.mark.as_ref()?)?;
        Some(self.outcome(right))
    }

    /// Takes long, on purpose, unless somebody else was quicker.
    ///
    /// # Errors
    /// If the password is wrong, or the user lacks the right.
    pub fn run(self) -> Result<Caller, Refusal> {
        if let Some(outcome) = self.remembered() {
            return outcome;
        }
        let passwords = &self.policy.passwords;
        let hash = passwords.hashes.get(&self.user).map_or(&passwords.nobody, |(hash, _)| hash);
        passwords.runs.fetch_add(1, Relaxed);
        let right = bcrypt::verify(&self.password.0, &hash.text).unwrap_or(false)
            && passwords.hashes.contains_key(&self.user);
        if let Some(mark) = self.mark {
            passwords.remember(mark, right);
        }
        self.outcome(right)
    }

    fn outcome(&self, right: bool) -> Result<Caller, Refusal> {
        match self.policy.passwords.hashes.get(&self.user) {
            Some((_, user)) if right => self.policy.allow(*user, self.right),
            _ => Err(Refusal::Wrong),
        }
    }
}

impl Policy {
    /// How often bcrypt has run.
    pub fn password_runs(&self) -> u64 {
        self.passwords.runs.load(Relaxed)
    }
}
